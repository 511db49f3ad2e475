import csv
import io
import json
from collections import Counter

import numpy as np
import pytest
import torch

from mediakit.io import read_audio, read_video, write_video
from mediakit.synthetic.clip import random_stream
from mediakit.synthetic.events import CLASSES, EventClips

SMALL = {"seconds": 4, "size": (96, 128), "fps": 8, "rate": 8000}
PLAIN = {"noisy": False, "strays": 0.0, "shake": 0.0}


def rendered(clip):
    return torch.stack(list(clip.frames())), clip.sound().waveform


def test_the_same_seed_gives_the_same_bytes_in_memory_and_in_a_file(tmp_path):
    files = []
    for attempt in range(2):
        clip = EventClips(3, "val", **SMALL).clip(5)
        EventClips(3, "val", **SMALL).clip(attempt)  # the order of asking does not matter
        files.append(tmp_path / f"{attempt}.mp4")
        write_video(files[-1], clip.frames(), clip.fps, audio=clip.sound(), threads=1)
        frames, wave = rendered(clip)
        assert torch.equal(frames, rendered(clip)[0])
        assert torch.equal(wave, clip.sound().waveform)
    assert files[0].read_bytes() == files[1].read_bytes()
    decoded = torch.stack([frame.image for frame in read_video(files[0])])
    assert decoded.shape == (32, 3, 96, 128)
    assert (decoded.float() - frames.float()).abs().mean() < 6
    assert read_audio(files[0]).rate == 8000


def test_another_index_seed_or_split_gives_another_clip():
    clips = [
        EventClips(s, split, **SMALL).clip(i) for s, split, i in ((0, "train", 0), (0, "train", 1), (1, "train", 0))
    ]
    clips += [EventClips(0, split, **SMALL).clip(0) for split in ("val", "test")]
    assert [clip.id for clip in clips[:3]] == ["events-train-0-00000", "events-train-0-00001", "events-train-1-00000"]
    assert len({rendered(clip)[0].numpy().tobytes() for clip in clips}) == 5
    assert len({clip.sound().waveform.numpy().tobytes() for clip in clips}) == 5


def test_frames_and_sound_have_the_shape_and_range_that_was_asked_for():
    family = EventClips(**SMALL)
    for index in range(6):
        frames, wave = rendered(family.clip(index))
        assert frames.dtype == torch.uint8
        assert frames.shape == (32, 3, 96, 128)
        assert wave.shape == (1, 32000)
        assert wave.dtype == torch.float32
        assert 0.29 < wave.abs().max() < 0.96  # no clipping


def test_nothing_sounds_where_no_event_is_heard_and_each_event_does():
    family = EventClips(1, **{**SMALL, "seconds": 8}, **PLAIN)
    quiet = loud = 0
    for index in range(25):
        clip = family.clip(index)
        power = clip.sound().waveform[0].reshape(8, 8000).square().mean(1)
        heard = clip.labels().audio.bool().any(1)
        assert not power[~heard].any()
        assert (power[heard] > 0).all()
        quiet, loud = quiet + int((~heard).sum()), loud + int(heard.sum())
    assert quiet > 20
    assert loud > 20


def test_pixels_change_only_where_and_when_an_event_is_seen():
    family = EventClips(2, **{**SMALL, "seconds": 8}, **PLAIN)
    empty = shown = 0
    for index in range(12):
        clip = family.clip(index)
        frames = torch.stack(list(clip.frames()))
        seen = clip.labels().visual.bool().any(1).repeat_interleave(8)
        if seen.all():
            continue
        scene = frames[~seen][0]
        assert (frames[~seen] == scene).all()
        changed = (frames[seen] != scene).any(1)
        assert (changed.sum((1, 2)) > 40).all()
        near = torch.zeros(96, 128, dtype=torch.bool)
        y, x = torch.meshgrid(torch.arange(96), torch.arange(128), indexing="ij")
        for item in clip.occurrences:
            if item.seen:
                near |= torch.maximum((x - item.x).abs(), (y - item.y).abs()) <= 0.7 * item.size + 2
        assert not (changed & ~near).any()
        empty, shown = empty + int((~seen).sum()), shown + int(seen.sum())
    assert empty > 50
    assert shown > 50


def test_each_event_moves():
    for index in range(10):
        clip = EventClips(4, **SMALL, **PLAIN).clip(index)
        frames = torch.stack(list(clip.frames()))
        for event in clip.events:
            if event.modality == "visual":
                part = frames[event.onset * 8 : event.offset * 8]
                assert (part[1:] != part[:-1]).any()


def test_labels_tables_and_truth_agree():
    family = EventClips(7, "test")
    clips = [family.clip(index) for index in range(40)]
    tables = family.tables(clips)
    assert set(tables) == {"weak.csv", "audio.csv", "visual.csv"}
    weak = {
        row["filename"]: row["event_labels"] for row in csv.DictReader(io.StringIO(tables["weak.csv"]), delimiter="\t")
    }
    assert list(weak) == [clip.id for clip in clips]
    grids = {modality: {clip.id: np.zeros((10, 12), np.uint8) for clip in clips} for modality in ("audio", "visual")}
    for modality, grid in grids.items():
        for row in csv.DictReader(io.StringIO(tables[f"{modality}.csv"]), delimiter="\t"):
            onset, offset = int(row["onset"]), int(row["offset"])
            assert 0 <= onset < offset <= 10
            cells = grid[row["filename"]][onset:offset, CLASSES.index(row["event_labels"])]
            assert not cells.any()  # events of one class do not overlap
            cells[:] = 1
    for clip in clips:
        labels = clip.labels()
        for modality in grids:
            assert np.array_equal(getattr(labels, modality).numpy(), grids[modality][clip.id])
        present = (labels.audio | labels.visual).any(0)
        assert weak[clip.id].split(",") == [name for name, there in zip(CLASSES, present, strict=True) if there]
        assert json.loads(json.dumps(clip.truth()))["events"] == [event._asdict() for event in clip.events]


def test_the_tables_have_the_format_of_the_published_ones(shared_data):
    ours = EventClips().tables([EventClips().clip(0)])
    for name, theirs in (("weak", "AVVP_train"), ("audio", "AVVP_eval_audio"), ("visual", "AVVP_eval_visual")):
        header = (shared_data / "llp" / f"{theirs}.csv").read_text().splitlines()[0]
        assert ours[f"{name}.csv"].splitlines()[0] == header


def test_clips_are_as_various_as_promised():
    clips = [EventClips().clip(index) for index in range(300)]
    per_clip = Counter(len({event.label for event in clip.events}) for clip in clips)
    assert set(per_clip) == {1, 2, 3, 4}
    assert {event.label for clip in clips for event in clip.events} == set(CLASSES)
    happenings = [item for clip in clips for item in clip.occurrences]
    modes = Counter((item.heard is not None, item.seen is not None) for item in happenings)
    assert modes[True, True] > 0.55 * len(happenings)
    assert min(modes[True, False], modes[False, True]) > 0.1 * len(happenings)
    assert any(item.heard != item.seen for item in happenings if item.heard and item.seen)
    assert {event.offset - event.onset for clip in clips for event in clip.events} == set(range(1, 11))
    again = [clip for clip in clips if len(clip.occurrences) > len({item.label for item in clip.occurrences})]
    assert 50 < len(again) < 200
    together = [clip.labels().audio.sum(1).max() for clip in clips]
    assert max(together) >= 3


def test_splits_share_no_kind_of_anything():
    kinds = {}
    for split in ("train", "val", "test"):
        clips = [EventClips(0, split).clip(index) for index in range(60)]
        kinds[split] = {("noise", clip.noise) for clip in clips}
        kinds[split] |= {(clip.backdrop, clip.photograph) for clip in clips if clip.backdrop == "photograph"}
        kinds[split] |= {(clip.backdrop,) for clip in clips if clip.backdrop != "photograph"}
        kinds[split] |= {kind for clip in clips for o in clip.occurrences for kind in (o.timbre, o.style)}
        kinds[split] |= {stray.name for clip in clips for stray in clip.strays}
    assert not kinds["train"] & kinds["val"]
    assert not kinds["train"] & kinds["test"]
    assert not kinds["val"] & kinds["test"]


def test_the_ratio_of_signal_to_noise_is_as_told():
    """Noise, found as the difference to the same clip without it, is as far below a sound of 0 dB as told."""
    checked = 0
    for index in range(12):
        clip = EventClips(5, **SMALL, strays=0.0, loudness=0.0, again=0.0).clip(index)
        clean = EventClips(5, **SMALL, strays=0.0, loudness=0.0, again=0.0, noisy=False).clip(index)
        assert clip.occurrences == clean.occurrences
        only = [item for item in clip.occurrences if item.heard]
        if len(only) != 1:
            continue
        (onset, offset), rate = only[0].heard, 8000
        noisy, pure = (c.sound().waveform[0].double() for c in (clip, clean))
        part = slice(onset * rate, offset * rate)
        # The scale of the pure sound within the noisy one, by least squares.
        scale = (noisy[part] @ pure[part]) / (pure[part] @ pure[part])
        noise = noisy - scale * pure
        ratio = 20 * torch.log10(scale * pure[part].square().mean().sqrt() / noise.square().mean().sqrt())
        assert float(ratio) == pytest.approx(clip.snr, abs=1.0)
        checked += 1
    assert checked >= 3


def test_the_mean_colour_says_nothing_about_the_class():
    stats = pytest.importorskip("scipy.stats")
    colours = {name: [] for name in CLASSES}
    family = EventClips(6, **{**SMALL, "seconds": 1, "fps": 2}, again=0.0)
    for index in range(200):
        clip = family.clip(index)
        colour = torch.stack(list(clip.frames())).double().mean((0, 2, 3))
        for event in clip.events:
            if event.modality == "visual":
                colours[event.label].append(colour.numpy())
    for channel in range(3):
        groups = [np.array(rows)[:, channel] for rows in colours.values()]
        assert stats.f_oneway(*groups).pvalue > 0.001


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0}, "seconds must be 1"),
        ({"rate": 4000}, "rate must be 8000"),
        ({"mismatch": 1.5}, "mismatch must be 0 to 1"),
        ({"snr_low": 30.0}, "snr_high - snr_low"),
        ({"size_low": 0.6}, "size_low"),
        ({"split": "all"}, "split must be"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EventClips(**options)


def test_a_negative_index_and_foreign_clips_are_refused():
    with pytest.raises(ValueError, match="index"):
        EventClips().clip(-1)
    with pytest.raises(TypeError, match="clips with events"):
        EventClips().tables([object()])


def test_one_second_is_enough():
    for index in range(20):
        clip = EventClips(0, "test", **{**SMALL, "seconds": 1}).clip(index)
        frames, wave = rendered(clip)
        assert len(frames) == 8
        assert wave.shape == (1, 8000)


def test_streams_are_independent_of_each_other():
    assert random_stream("events", 0, "train", 1).random() != random_stream("events", 0, "train", 11).random()
