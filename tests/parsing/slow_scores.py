"""The scores of audio-visual video parsing as a reader of the papers would write them down: lists, loops, no tensors.

A video is a list of classes, each a list of seconds, 0 or 1. The tests hold ours to it, the benchmark times it.
"""

from math import fsum


def events_of(seconds):
    """Runs of consecutive positive seconds, each as the list of its seconds."""
    events, current = [], []
    for second, positive in enumerate(seconds):
        if positive:
            current.append(second)
        elif current:
            events.append(current)
            current = []
    if current:
        events.append(current)
    return events


def matches(one, other):
    """Whether two events overlap with IoU >= 0.5."""
    overlap = len([second for second in one if second in other])
    return overlap >= 0.5 * (len(one) + len(other) - overlap)


def count_segments(pred, true):
    """TP, FP, FN of one class, in seconds."""
    tp = fp = fn = 0
    for p, t in zip(pred, true, strict=True):
        if p and t:
            tp += 1
        elif p:
            fp += 1
        elif t:
            fn += 1
    return tp, fp, fn


def count_events(pred, true):
    """TP, FP, FN of one class, in events."""
    pred_events, true_events = events_of(pred), events_of(true)
    tp = fp = fn = 0
    for p in pred_events:
        if any(matches(p, t) for t in true_events):
            tp += 1
        else:
            fp += 1
    for t in true_events:
        if not any(matches(t, p) for p in pred_events):
            fn += 1
    return tp, fp, fn


def mean_f(counts):
    """Mean F over the classes that occur in prediction or truth, 1 if none does."""
    total, occurring = 0.0, 0
    for tp, fp, fn in counts:
        if tp + fp + fn > 0:
            total += 2 * tp / (2 * tp + fp + fn)
            occurring += 1
    return total / occurring if occurring else 1.0


def both(audio, visual):
    """The seconds at which a class is in both modalities."""
    return [[a * v for a, v in zip(*rows, strict=True)] for rows in zip(audio, visual, strict=True)]


def score_video(pred_audio, pred_visual, true_audio, true_visual):
    """The ten scores of one video, segment level first: A, V, AV, Type, Event."""
    scores = []
    for count in (count_segments, count_events):
        audio = [count(p, t) for p, t in zip(pred_audio, true_audio, strict=True)]
        visual = [count(p, t) for p, t in zip(pred_visual, true_visual, strict=True)]
        pairs = zip(both(pred_audio, pred_visual), both(true_audio, true_visual), strict=True)
        av = [count(p, t) for p, t in pairs]
        pooled = [tuple(x + y for x, y in zip(*counts, strict=True)) for counts in zip(audio, visual, strict=True)]
        a, v, w = mean_f(audio), mean_f(visual), mean_f(av)
        scores += [a, v, w, (a + v + w) / 3, mean_f(pooled)]
    return scores


def score_videos(videos):
    """Means over videos in percent; each video is (pred_audio, pred_visual, true_audio, true_visual)."""
    rows = [score_video(*video) for video in videos]
    return [100 * fsum(column) / len(rows) for column in zip(*rows, strict=True)]
