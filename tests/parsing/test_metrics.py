"""The scores against a slow reading of their definition, published answers, and across batches and processes."""

from itertools import product
from typing import NamedTuple

import pytest
import slow_scores
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mediakit.errors import MediakitError
from mediakit.intervals import bootstrap_interval
from mediakit.parsing.annotations.tables import read_llp
from mediakit.parsing.metrics import (
    CLASS_SCORES,
    PROTOCOLS,
    SCORES,
    AVVPScore,
    avvp_scores,
    class_scores,
    decide,
    mean_scores,
    oracle_ladder,
    oracle_predictions,
    video_scores,
)
from mediakit.parsing.scoreboard import class_table, score_table


def draw(videos, seconds, classes, density, seed):
    """Four matrices of runs and specks, (N, T, K) uint8; truth and prediction have much in common."""
    generator = torch.Generator().manual_seed(seed)

    def chance(p):
        return torch.rand(videos, seconds, classes, generator=generator) < p

    true = [chance(density), chance(density)]
    return [(x ^ chance(0.2)).byte() for x in true] + [x.byte() for x in true]


def as_lists(matrices):
    """Videos as the slow reading wants them: classes of seconds."""
    return list(zip(*(x.transpose(1, 2).int().tolist() for x in matrices), strict=True))


def adversarial(seconds, classes, count, seed):
    """Videos whose four matrices are each one of: empty, full, alternating, a half, an edge, a hole, and their like."""
    second = torch.arange(seconds)
    half = seconds // 2
    patterns = torch.stack(
        [
            second < 0,
            second >= 0,
            second % 2 == 0,
            second % 2 == 1,
            second % 3 > 0,
            second < half,
            second >= half,
            second < (seconds + 1) // 2,
            second == 0,
            second == seconds - 1,
            second != half,
            (second >= seconds // 4) & (second < seconds // 4 + half),
        ]
    )
    chosen = torch.randint(len(patterns), (4, count, classes), generator=torch.Generator().manual_seed(seed))
    return list(patterns[chosen].transpose(2, 3))


CASES = {
    "LLP's size": lambda: draw(400, 10, 25, 0.05, 0),
    "dense": lambda: draw(200, 10, 25, 0.6, 1),
    "long": lambda: draw(50, 61, 7, 0.5, 2),
    "one second": lambda: draw(200, 1, 4, 0.5, 3),
    "one class": lambda: draw(300, 10, 1, 0.3, 4),
    "two seconds": lambda: draw(200, 2, 3, 0.5, 5),
    "many classes": lambda: draw(20, 10, 120, 0.1, 6),
    "adversarial": lambda: adversarial(10, 6, 400, 7),
    "adversarial, odd": lambda: adversarial(7, 3, 230, 8),
}


@pytest.mark.parametrize("name", CASES)
def test_scores_equal_the_slow_reading_to_the_last_bit(name):
    matrices = CASES[name]()
    videos = as_lists(matrices)
    assert video_scores(*matrices).tolist() == [slow_scores.score_video(*video) for video in videos]
    assert list(avvp_scores(*matrices).values()) == slow_scores.score_videos(videos)


def test_the_cases_are_two_thousand_videos():
    assert sum(len(case()[0]) for case in CASES.values()) == 2000


def test_every_pair_of_two_sequences_of_six_seconds():
    sequences = torch.tensor(list(product([0, 1], repeat=6)))
    pred, true = (x.flatten(0, 1)[:, :, None] for x in torch.broadcast_tensors(sequences[:, None], sequences))
    nothing = torch.zeros_like(pred)
    videos = as_lists((pred, nothing, true, nothing))
    assert len(videos) == 4096
    assert video_scores(pred, nothing, true, nothing).tolist() == [slow_scores.score_video(*v) for v in videos]


@pytest.mark.parametrize(
    ("pred", "true", "f"),
    [
        ("1100000000", "1111000000", 1.0),  # IoU 2/4: just enough
        ("1110000000", "0111000000", 1.0),  # IoU 2/4 where neither holds the other
        ("1110000000", "1111111000", 0.0),  # IoU 3/7
        ("1111001111", "1111111111", 0.0),  # IoU 4/10 twice
        ("1111101111", "1111111111", 2 / 3),  # IoU 5/10 and 4/10: one of two predictions, the truth is found
        ("1011111111", "1111111111", 2 / 3),
        ("1111111111", "0000000000", 0.0),
        ("0000000000", "0000000000", 1.0),
    ],
)
def test_events_by_hand(pred, true, f):
    pred, true = (torch.tensor([[int(c)] for c in text])[None] for text in (pred, true))
    nothing = torch.zeros_like(pred)
    assert avvp_scores(pred, nothing, true, nothing)["event_audio"] == 100 * f


def test_one_video_by_hand():
    pred_audio = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]])[None]
    pred_visual = torch.tensor([[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]])[None]
    true_audio = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]])[None]
    true_visual = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]])[None]
    # Seconds, class 0: audio 2 hits of 2 and 3, visual and both 1 of 1 and 3. Class 1: audio 0 of 1 and 0, visual 1 of
    # 1 and 1, both 0 of 1 and 0. Events, class 0: audio hits with IoU 2/3, visual and both miss with 1/3.
    audio, visual, av = (4 / 5 + 0) / 2, (2 / 4 + 1) / 2, (2 / 4 + 0) / 2
    expected = [audio, visual, av, (audio + visual + av) / 3, (2 * 3 / 9 + 2 / 3) / 2]
    audio, visual, av = (1 + 0) / 2, (0 + 1) / 2, (0 + 0) / 2
    expected += [audio, visual, av, (audio + visual + av) / 3, (2 / 4 + 2 / 3) / 2]
    scores = avvp_scores(pred_audio, pred_visual, true_audio, true_visual)
    assert tuple(scores) == SCORES
    assert list(scores.values()) == pytest.approx([100 * x for x in expected])
    by_class = class_scores(pred_audio, pred_visual, true_audio, true_visual)
    assert by_class.f[0].tolist() == pytest.approx([80, 50, 50, 100, 0, 0])
    assert by_class.f[1, [0, 1, 3, 4]].tolist() == [0, 100, 0, 100]
    assert by_class.f[2].isnan().all()
    assert by_class.predicted.tolist() == [[2, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0] * 6]
    assert by_class.true.tolist() == [[3, 3, 3, 1, 1, 1], [0, 1, 0, 0, 1, 0], [0] * 6]


KNOWN = {
    "2020": {
        "nothing": "0.5 10.1 14.5 8.4 0.0 | 0.5 10.1 14.5 8.4 0.0",
        "weak labels everywhere": "76.1 60.3 52.6 63.0 71.7 | 63.0 55.8 44.7 54.5 61.6",
        "modality labels everywhere": "80.1 89.8 82.8 84.2 82.0 | 66.2 83.7 71.4 73.8 68.3",
    },
    "2024": {
        "nothing": "0.5 10.1 14.5 8.4 0.0 | 0.5 10.1 14.5 8.4 0.0",
        "weak labels everywhere": "76.1 60.3 52.6 63.0 71.7 | 63.0 55.8 44.7 54.5 61.6",
        "modality labels everywhere": "80.1 89.8 82.8 84.2 82.0 | 66.1 83.7 71.4 73.7 68.3",
    },
}


@pytest.mark.parametrize("version", KNOWN)
def test_known_answers_on_real_annotations(shared_data, version):
    truth = read_llp(shared_data / "llp", "test", version)
    ladder = oracle_ladder(truth.audio, truth.visual, truth.labels)
    printed = {name: [f"{score:.1f}" for score in row.values()] for name, row in ladder.items()}
    assert printed == {name: row.replace("| ", "").split() for name, row in KNOWN[version].items()}


def test_real_weak_labels_are_not_quite_those_of_the_dense_ones(shared_data):
    truth = read_llp(shared_data / "llp", "test")
    seen = truth.audio.any(1) | truth.visual.any(1)
    assert int((seen != truth.labels.bool()).any(1).sum()) == 54
    assert oracle_ladder(truth.audio, truth.visual)["weak labels everywhere"]["segment_audio"] == pytest.approx(
        77.0, abs=0.05
    )


def test_oracle_predictions_by_hand():
    audio = torch.tensor([[[1, 0, 0], [0, 0, 0]]])
    visual = torch.tensor([[[0, 0, 0], [0, 1, 0]]])
    rows = oracle_predictions(audio, visual)
    assert [x.any().item() for x in rows["nothing"]] == [False, False]
    assert [x.int().tolist() for x in rows["weak labels everywhere"]] == [[[[1, 1, 0]] * 2]] * 2
    assert [x.int().tolist() for x in rows["modality labels everywhere"]] == [[[[1, 0, 0]] * 2], [[[0, 1, 0]] * 2]]
    given = oracle_predictions(audio, visual, torch.tensor([[0.0, 0.0, 1.0]]))["weak labels everywhere"]
    assert [x.int().tolist() for x in given] == [[[[0, 0, 1]] * 2]] * 2
    with pytest.raises(ValueError, match=r"labels must be \(1, 3\), got \(2, 3\)"):
        oracle_predictions(audio, visual, torch.ones(2, 3))


matrices_of_any_shape = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(arrays(bool, shape).map(torch.from_numpy), min_size=4, max_size=4)
)


@settings(max_examples=150, deadline=None)
@given(matrices_of_any_shape, st.randoms(use_true_random=False))
def test_what_must_not_matter_does_not(matrices, random):
    pred_audio, pred_visual, true_audio, true_visual = matrices
    scores = video_scores(*matrices)
    # Prediction and truth, the direction of time, and silence behind the end.
    assert torch.equal(video_scores(true_audio, true_visual, pred_audio, pred_visual), scores)
    assert torch.equal(video_scores(*(x.flip(1) for x in matrices)), scores)
    assert torch.equal(video_scores(*(torch.cat([x, torch.zeros_like(x)], 1) for x in matrices)), scores)
    # Audio and picture change places.
    swapped = video_scores(pred_visual, pred_audio, true_visual, true_audio)
    torch.testing.assert_close(swapped, scores[:, [1, 0, 2, 3, 4, 6, 5, 7, 8, 9]], rtol=0, atol=1e-15)
    # The order of the videos, exactly, and of the classes.
    order = random.sample(range(len(scores)), len(scores))
    assert avvp_scores(*(x[order] for x in matrices)) == mean_scores(scores)
    order = random.sample(range(pred_audio.shape[2]), pred_audio.shape[2])
    torch.testing.assert_close(video_scores(*(x[..., order] for x in matrices)), scores, rtol=0, atol=1e-15)
    assert set(avvp_scores(true_audio, true_visual, true_audio, true_visual).values()) == {100.0}


class Output(NamedTuple):
    frame_logits: torch.Tensor
    video_prob: torch.Tensor
    audio_prob: torch.Tensor
    visual_prob: torch.Tensor


def output_of(frame_prob, video, audio, visual):
    """One video of one second: probabilities (2, K) of the second and (K,) of the video."""
    return Output(torch.tensor(frame_prob).logit()[None, None], *(torch.tensor([x]) for x in (video, audio, visual)))


# One class for each of the eight ways in which video, audio and visual pass or not; the second itself always passes.
EIGHT = list(product([0.4, 0.5], repeat=3))


@pytest.mark.parametrize(
    ("protocol", "audio_asks", "visual_asks"), [("mmcse", 0, 2), ("han", 0, 0), ("jomold", 1, 2), ("raw", None, None)]
)
def test_each_protocol_asks_its_own_probability(protocol, audio_asks, visual_asks):
    output = output_of([[0.9] * 8] * 2, *map(list, zip(*EIGHT, strict=True)))
    for got, asks in zip(decide(output, protocol), (audio_asks, visual_asks), strict=True):
        assert got.shape == (1, 1, 8)
        assert got.dtype == torch.bool
        assert got.flatten().tolist() == [asks is None or way[asks] >= 0.5 for way in EIGHT]


def test_a_second_must_pass_itself_and_half_is_enough():
    output = output_of([[0.5, 0.49, 0.51], [0.2, 0.5, 0.8]], [1.2] * 3, [0.5] * 3, [0.5] * 3)
    for protocol in PROTOCOLS:
        audio, visual = decide(output, protocol)
        assert audio.flatten().tolist() == [True, False, True]
        assert visual.flatten().tolist() == [False, True, True]


def test_thresholds_for_each_class_and_modality():
    output = output_of([[0.3, 0.3], [0.3, 0.3]], [0.9, 0.9], [0.46, 0.44], [0.2, 0.6])
    audio, visual = decide(output, "jomold", 0.25, torch.tensor([[0.45, 0.45], [0.1, 0.7]]))
    assert (audio.flatten().tolist(), visual.flatten().tolist()) == ([True, False], [True, False])
    audio, visual = decide(output, "raw", torch.tensor([0.2, 0.4]))
    assert (audio.flatten().tolist(), visual.flatten().tolist()) == ([True, False], [True, False])
    audio, visual = decide(output, "raw", torch.tensor([[0.2, 0.4], [0.4, 0.2]]))
    assert (audio.flatten().tolist(), visual.flatten().tolist()) == ([True, False], [False, True])


def test_logits_of_half_precision_are_not_rounded_up_to_the_threshold():
    logits = torch.full((1, 1, 2, 1), -0.001, dtype=torch.bfloat16)
    assert logits.sigmoid().max() == 0.5  # what naive arithmetic would decide on
    one = torch.ones(1, 1)
    assert not any(x.any() for x in decide(Output(logits, one, one, one)))


def test_decisions_refuse_what_they_cannot_mean():
    output = output_of([[0.3, 0.3], [0.3, 0.3]], [0.9, 0.9], [0.9, 0.9], [0.9, 0.9])
    with pytest.raises(ValueError, match=r"no protocol 'hann'; take one of mmcse, han, jomold, raw"):
        decide(output, "hann")
    with pytest.raises(ValueError, match=r"^threshold must .* got shape \(3,\)"):
        decide(output, threshold=torch.ones(3))
    with pytest.raises(ValueError, match=r"^filter_threshold must .* \(2, 2\), got shape \(1, 2\)"):
        decide(output, filter_threshold=torch.ones(1, 2))
    with pytest.raises(MediakitError, match="gives NaN"):
        decide(output._replace(frame_logits=torch.full((1, 1, 2, 2), torch.nan)))


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("pred_audio", torch.full((2, 3, 4), 0.5), "pred_audio must hold 0 and 1 only, found 0.5; `decide`"),
        ("true_visual", torch.full((2, 3, 4), torch.nan), "true_visual must hold 0 and 1 only, found nan"),
        ("true_audio", torch.full((2, 3, 4), 2), "true_audio must hold 0 and 1 only, found 2"),
        ("pred_visual", torch.ones(3, 4), r"pred_visual must be \(videos, seconds, classes\), got shape \(3, 4\)"),
        ("true_audio", torch.ones(2, 0, 4), r"true_audio must be \(videos, .*\(2, 0, 4\)"),
        ("true_audio", torch.ones(2, 4, 3), r"shapes differ: pred_audio is \(2, 3, 4\), .*true_audio is \(2, 4, 3\)"),
    ],
)
def test_bad_matrices_are_named(name, bad, message):
    names = ("pred_audio", "pred_visual", "true_audio", "true_visual")
    arguments = dict.fromkeys(names, torch.ones(2, 3, 4)) | {name: bad}
    metric = AVVPScore(4)
    for function in (avvp_scores, video_scores, class_scores, metric.update):
        with pytest.raises(ValueError, match=message):
            function(**arguments)


def test_no_videos_have_no_score():
    nothing = [torch.zeros(0, 3, 4)] * 4
    assert video_scores(*nothing).shape == (0, 10)
    with pytest.raises(ValueError, match="no videos"):
        avvp_scores(*nothing)
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(ValueError, match="no videos"):
        AVVPScore(4).compute()


def test_tables_say_what_was_measured():
    matrices = draw(30, 10, 2, 0.2, 0)
    scores = video_scores(*matrices)
    rows = {"mmcse": scores, "nothing": video_scores(*oracle_predictions(*matrices[2:])["nothing"], *matrices[2:])}
    first, *_, model, nothing = score_table(rows, "LLP test, events of 2020").splitlines()
    assert first.startswith("LLP test, events of 2020: 30 videos;")
    assert "95%" in first
    words = model.replace("[", " ").replace("]", " ").replace(",", " ").split()
    low, high = bootstrap_interval(100 * scores)
    expected = [*avvp_scores(*matrices).values()]
    for index in (3, 8):  # the intervals stand behind the Type scores
        at = index + (index == 8) * 2 + 1
        expected[at:at] = [low[index].item(), high[index].item()]
    assert words == ["mmcse", *(f"{x:.1f}" for x in expected)]
    assert nothing.startswith("nothing ")
    with pytest.raises(ValueError, match=r"rows of the same videos, got \[29, 30\]"):
        score_table({"a": scores, "b": scores[1:]}, "x")
    with pytest.raises(ValueError, match="got none"):
        score_table({}, "x")


def test_the_table_of_classes():
    matrices = draw(30, 10, 2, 0.2, 0)
    matrices = [torch.cat([x, torch.zeros_like(x[..., :1])], -1) for x in matrices]
    by_class = class_scores(*matrices)
    assert by_class.f.shape == (3, len(CLASS_SCORES))
    *_, dog, _, absent = class_table(by_class, ("dog", "cat", "a bird")).splitlines()
    counts = [*by_class.predicted[0, 3:].tolist(), *by_class.true[0, 3:].tolist()]
    assert dog.split() == ["dog", *(f"{x:.1f}" for x in by_class.f[0].tolist()), *map(str, counts)]
    assert absent.split() == ["a", "bird", *"------", *"000000"]
    with pytest.raises(ValueError, match="of 3 classes, but 2 are named"):
        class_table(by_class, ("dog", "cat"))
