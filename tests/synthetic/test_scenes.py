import json
from itertools import islice

import numpy as np
import pytest
import torch

from mediakit.errors import MediaError
from mediakit.io import read_video, write_audio, write_video
from mediakit.synthetic.landscapes import LANDSCAPES, draw_landscape
from mediakit.synthetic.scenes import Scenes

SHORT = {"size": (64, 80), "seconds": 1.0, "fps": 4}


def picture(clip, number=0):
    return next(islice(clip.frames(), number, None))


def hasler_suesstrunk(image):
    """Colourfulness of a uint8 image (3, H, W), signed, after Hasler and Süsstrunk (2003)."""
    r, g, b = image.double()
    rg, yb = r - g, (r + g) / 2 - b
    spread = (rg.var(unbiased=False) + yb.var(unbiased=False)) ** 0.5
    return float(spread + 0.3 * (rg.mean() ** 2 + yb.mean() ** 2) ** 0.5)


def test_the_default_is_four_groups_of_three():
    scenes = Scenes()
    assert list(scenes.groups) == ["water", "forest", "street", "sky"]
    assert [len(members) for members in scenes.groups.values()] == [3] * 4
    assert sorted(name for members in scenes.groups.values() for name in members) == scenes.classes
    clip = scenes.clip(0)
    assert picture(clip).shape == (3, 128, 128)
    sound = clip.sound()
    assert sound.waveform.shape == (1, 160_000)
    assert sound.rate == 16_000
    assert clip.length == 80


def test_every_round_of_clips_holds_each_class_once():
    scenes = Scenes(seed=3)
    for turn in range(3):
        assert sorted(scenes.clip(12 * turn + place).label for place in range(12)) == scenes.classes
    labels = [scenes.clip(i).label for i in range(36)]
    assert labels[:12] != labels[12:24]


def test_groups_and_hues_are_the_same_for_every_seed_and_split():
    one, other = Scenes(seed=1), Scenes(seed=2, split="test")
    assert one.groups == other.groups
    assert one.hues == other.hues


@pytest.mark.parametrize("index", range(6))
def test_the_same_seed_gives_the_same_bytes(index, tmp_path):
    files = []
    for name in ("a.mp4", "b.mp4"):
        clip = Scenes(seed=7, groups=6, **SHORT).clip(index)
        write_video(tmp_path / name, clip.frames(), clip.fps, audio=clip.sound(), threads=1)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_another_seed_index_or_split_gives_another_scene():
    clips = [Scenes(seed=0, **SHORT).clip(0), Scenes(seed=1, **SHORT).clip(0), Scenes(split="test", **SHORT).clip(0)]
    clips += [clip for i in range(1, 40) if (clip := Scenes(**SHORT).clip(i)).label == clips[0].label][:1]
    grays = [clip.gray_and_ab(0)[0] for clip in clips]
    sounds = [clip.sound().waveform for clip in clips]
    for a in range(len(clips)):
        for b in range(a):
            assert (grays[a] - grays[b]).abs().mean() > 2
            assert (sounds[a] - sounds[b]).abs().mean() > 1e-3


@pytest.mark.parametrize("group", LANDSCAPES)
def test_the_class_alone_changes_no_bit_of_gray(group):
    scenes = Scenes(seed=2, groups=list(LANDSCAPES), **SHORT)
    index = next(i for i in range(12) if scenes.clip(i).group == group)
    one, other = (scenes.clip(index, label) for label in scenes.groups[group])
    for number in (0, 3):
        (gray, ab), (same, changed) = one.gray_and_ab(number), other.gray_and_ab(number)
        assert torch.equal(gray, same)
        assert (ab - changed).abs().mean() > 8
    # Some of the picture keeps its colour: gray can tell that.
    still = (ab - changed).abs().amax(0) < 1e-3
    assert 0.08 < still.float().mean() < 0.75
    assert not torch.equal(one.sound().waveform, other.sound().waveform)


@pytest.mark.parametrize("group", LANDSCAPES)
def test_frames_have_the_true_lightness_and_hue(group):
    color = pytest.importorskip("skimage.color")
    scenes = Scenes(seed=5, groups=list(LANDSCAPES), size=(96, 96), seconds=1, fps=4)
    index = next(i for i in range(12) if scenes.clip(i).group == group)
    for label in scenes.groups[group]:
        clip = scenes.clip(index, label)
        gray, ab = (value.numpy() for value in clip.gray_and_ab(2))
        lab = np.stack([gray, *ab], -1).astype(np.float64)
        assert np.abs(color.rgb2lab(color.lab2rgb(lab)) - lab).max() < 0.02  # nothing clips
        back = color.rgb2lab(picture(clip, 2).permute(1, 2, 0).numpy())
        assert np.abs(back[..., 0] - gray).max() < 0.3  # half a step of three channels
        colourful = np.hypot(*ab) > 15
        turn = np.angle(np.exp(1j * (np.arctan2(back[..., 2], back[..., 1]) - np.arctan2(ab[1], ab[0]))))
        assert np.abs(np.rad2deg(turn[colourful])).max() < 6
        assert np.abs(np.rad2deg(turn[colourful])).mean() < 0.7


@pytest.mark.parametrize("group", LANDSCAPES)
def test_colours_are_those_of_the_class_and_saturated(group):
    scenes = Scenes(groups=list(LANDSCAPES), **SHORT)
    indices = [i for i in range(48) if scenes.clip(i).group == group]
    one, other = scenes.groups[group]
    vivid = []
    for index in indices:
        clip, changed = (scenes.clip(index, label) for label in (one, other))
        ab = clip.gray_and_ab(0)[1]
        refined = (ab - changed.gray_and_ab(0)[1]).norm(dim=0) > 30
        mean = ab[:, refined].mean(1)
        turn = (float(torch.rad2deg(torch.atan2(mean[1], mean[0]))) - scenes.hues[one] + 180) % 360 - 180
        assert abs(turn) < 12
        assert 22 < float(ab[:, refined].norm(dim=0).median()) < 60
        vivid.append(hasler_suesstrunk(picture(clip)))
    assert min(vivid) > 20


def test_gray_says_nothing_about_the_class_of_a_group():
    """Mean, spread and gradient of lightness of 30 scenes each for 2 classes: rank-sum tests see no difference."""
    stats = pytest.importorskip("scipy.stats")
    scenes = Scenes(seed=11, groups=["street"], classes=2, size=(48, 48), seconds=1, fps=1)
    numbers = {label: [] for label in scenes.classes}
    for index in range(60):
        clip = scenes.clip(index)
        gray = clip.gray_and_ab(0)[0]
        numbers[clip.label].append([gray.mean(), gray.std(), gray.diff(dim=0).abs().mean(), gray.diff().abs().mean()])
    a, b = (np.array(rows) for rows in numbers.values())
    assert len(a) == len(b) == 30
    for column in range(4):
        assert stats.mannwhitneyu(a[:, column], b[:, column]).pvalue > 0.01
        assert np.ptp(a[:, column]) > 0.1 * abs(a[:, column].mean())  # there is something to compare


def test_hue_from_the_group_refines_its_base():
    scenes = Scenes(hue_from="group", groups=4)
    for number, members in enumerate(scenes.groups.values()):
        turns = sorted((scenes.hues[name] - 90 * number + 180) % 360 - 180 for name in members)
        assert turns == pytest.approx([-25, 0, 25])


def test_a_scene_is_a_film():
    for index in range(6):
        clip = Scenes(groups=6, size=(64, 64), seconds=4, fps=8).clip(index)
        frames = [clip.gray_and_ab(number)[0] for number in (0, 1, 31)]
        assert 0.02 < (frames[1] - frames[0]).abs().mean() < 6
        assert (frames[2] - frames[0]).abs().mean() > 1.5 * (frames[1] - frames[0]).abs().mean()
    with pytest.raises(IndexError, match="has frames 0 to 31, not 32"):
        clip.gray_and_ab(32)


def test_files_hold_the_scene(tmp_path):
    clip = Scenes(**SHORT).clip(1)
    write_video(tmp_path / "a.mp4", clip.frames(), clip.fps, audio=clip.sound(), crf=4)
    frames = list(read_video(tmp_path / "a.mp4"))
    assert len(frames) == clip.length
    assert (frames[2].image.float() - picture(clip, 2).float()).abs().mean() < 4


def test_truth_and_table_tell_the_same():
    scenes = Scenes(split="val", **SHORT)
    clips = [scenes.clip(i) for i in range(3)]
    header, *rows = scenes.tables(clips)["clips.csv"].splitlines()
    assert header == "clip,group,label,split,timbre,recording"
    for clip, row in zip(clips, rows, strict=True):
        truth = clip.truth()
        assert row == f"{clip.id},{truth['group']},{truth['label']},val,{truth['timbre']},"
        assert json.loads(json.dumps(truth)) == truth
        assert truth["label"] in scenes.groups[truth["group"]]
        assert abs((truth["hue"] - scenes.hues[clip.label] + 180) % 360 - 180) <= 5


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Three classes of four recordings, each a tone of 0.3 s; class and fold in the name."""
    folder = tmp_path_factory.mktemp("tones")
    for number in range(12):
        path = folder / f"{'abc'[number % 3]}" / f"{1 + number // 3}-{number}.wav"
        path.parent.mkdir(exist_ok=True)
        time = torch.arange(4800) / 16_000
        write_audio(path, 0.3 * torch.sin(2 * torch.pi * (200 + 100 * number) * time)[None], 16_000)
    return folder


def test_recordings_of_folds_stay_in_their_split(tones):
    splits = {
        "train": Scenes(recordings=f"{tones}/*/[1-3]-*.wav", groups=1, **SHORT),
        "test": Scenes(split="test", recordings=f"{tones}/*/4-*.wav", groups=1, **SHORT),
    }
    used = {split: {scenes.clip(i).recording for i in range(60)} for split, scenes in splits.items()}
    assert len(used["train"]) == 9
    assert len(used["test"]) == 3
    assert not used["train"] & used["test"]
    clip = splits["train"].clip(0)
    assert f"/{clip.label}/" in clip.recording
    assert clip.timbre is None
    pitch = 200 + 100 * int(clip.recording.rsplit("-", 1)[1].removesuffix(".wav"))
    sound = clip.sound().waveform[0]
    assert sound.shape == (16_000,)
    assert int(torch.fft.rfft(sound).abs().argmax()) == pytest.approx(pitch, abs=2)


def test_a_recording_that_has_gone_silent_is_named(tones, tmp_path):
    path = tmp_path / "void.wav"
    write_audio(path, torch.zeros(1, 8000), 16_000)
    clip = Scenes(recordings={"void": [str(path)]}, groups=1, **SHORT).clip(0)
    with pytest.raises(MediaError, match=r"void\.wav: is silent"):
        clip.sound()


@pytest.mark.parametrize(("groups", "members"), [(5, 2), (2, 5), (4, 3)])
def test_real_recordings(shared_data, groups, members):
    pattern = str(shared_data / "esc10" / "*" / "[1-4]-*.ogg")
    scenes = Scenes(recordings=pattern, groups=groups, size=(32, 32), seconds=10)
    assert len(scenes.classes) == 10
    assert max(len(classes) for classes in scenes.groups.values()) == members
    held_out = Scenes(split="test", recordings=pattern.replace("[1-4]", "5"), groups=groups)
    assert held_out.groups == scenes.groups
    assert held_out.hues == scenes.hues
    for index in range(3):
        clip = scenes.clip(index)
        sound = clip.sound()
        assert sound.waveform.shape == (1, 160_000)
        assert float(sound.waveform.square().mean().sqrt()) > 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 7}, "number of group names must be 1 to 6, got 7"),
        ({"groups": ["moon"]}, "no group 'moon'; there are water"),
        ({"groups": []}, "at least one group"),
        ({"classes": ["siren", "trumpet"]}, "no class 'trumpet'"),
        ({"classes": 3}, "4 groups need at least as many classes, got 3"),
        ({"hue_from": "sound"}, "hue_from must be one of class, group"),
        ({"size": (16, 128)}, "size of at least 32 x 32"),
        ({"fps": 0}, "fps >= 1"),
        ({"seconds": 0}, "seconds > 0"),
        ({"split": "dev"}, "split must be one of"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Scenes(**options)


def test_wrong_clips_are_refused():
    scenes = Scenes()
    with pytest.raises(ValueError, match="index must be 0 or more"):
        scenes.clip(-1)
    foreign = next(name for name in scenes.classes if name not in scenes.groups[scenes.clip(0).group])
    with pytest.raises(ValueError, match="label must be one of"):
        scenes.clip(0, foreign)
    with pytest.raises(ValueError, match="no landscape 'moon'"):
        draw_landscape("moon", (64, 64), np.random.default_rng(0))


@pytest.mark.parametrize("size", [(32, 32), (40, 160), (160, 40), (97, 131)])
def test_any_size_and_shape_can_be_drawn(size):
    scenes = Scenes(groups=6, size=size, seconds=1, fps=1)
    for index in range(12):
        clip = scenes.clip(index)
        gray, ab = clip.gray_and_ab(0)
        assert gray.shape == size
        assert gray.isfinite().all()
        assert ab.isfinite().all()
        assert gray.std() > 4
