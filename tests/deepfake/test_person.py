"""A person's way of moving: descriptors of known motion, who is told from whom, p-values, files, the two commands."""

import json
import math
import re
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import stats

from mediakit import motion
from mediakit.cli import main
from mediakit.deepfake import person as person_module
from mediakit.deepfake.mannerisms import (
    BLOCKS,
    CHANNELS,
    NAMES,
    Windows,
    describe,
    describe_tracks,
    movements,
    readable,
)
from mediakit.deepfake.person import PersonModel, shrunk_covariance
from mediakit.errors import MediaError, MediakitError
from mediakit.synthetic.heads import TalkingHeads
from mediakit.tracks import FaceTrack, FaceTracks

FPS = 25
SECONDS = 4.0
TIME = torch.arange(300, dtype=torch.double) / 30


def read(values, name):
    return readable(name, float(values[NAMES.index(name)]))


def still():
    return torch.zeros(len(TIME), len(CHANNELS), dtype=torch.double)


def record(person, number, nod=0.0, seconds=12.0):
    """Tracks of a recording in which the head goes down (or up) with the mouth, on top of what all do."""
    clip = TalkingHeads(seed=3, kinds=("real",), identities=2, seconds=seconds).clip(person + 2 * number)
    mouth = clip.performance.expression[:, :1]
    angles = np.clip(clip.performance.angles + nod * (mouth - mouth.mean()) * [[-1, 0, 0.5]], -14, 14)
    clip.performance = replace(clip.performance, angles=angles)
    points = clip.tensors()["points"]
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(number)) * 0.2
    frames = len(points)
    track = FaceTrack(points + noise, torch.ones(frames, dtype=torch.bool), torch.arange(frames).double() / FPS)
    return FaceTracks((track,), (480, 480), frames, frames, 0)


@pytest.fixture(scope="module")
def recordings():
    return [record(0, number, 15.0) for number in range(7)]


@pytest.fixture(scope="module")
def model(recordings):
    return PersonModel.fit(recordings[:6], seconds=SECONDS)


def test_descriptors_of_a_sine():
    x = still()
    x[:, 0] = 5 * torch.sin(2 * math.pi * 1.5 * TIME)
    values = describe(x)
    assert len(values) == len(NAMES) == sum(map(len, BLOCKS.values())) == 99
    assert read(values, "range of pitch") == pytest.approx(5 / 2**0.5, rel=0.02)
    # The central difference over 1/15 s damps 1.5 Hz by sin(0.1 pi) / (0.1 pi).
    assert read(values, "tempo of pitch") == pytest.approx(1.5 * math.sin(0.1 * math.pi) / (0.1 * math.pi), rel=0.02)
    assert read(values, "asymmetry in time of pitch") == pytest.approx(0, abs=0.05)
    # An ellipse in three dimensions; with radius r the share is about that of phases that lie near each other.
    assert 0.05 < read(values, "recurrence of pitch") < 0.3
    assert read(values, "recurrence of roll") == 1  # nothing moves: always where it was
    assert read(values, "correlation of pitch with roll") == 0


def test_descriptors_tell_what_goes_together_and_when():
    draw = torch.Generator().manual_seed(0)
    wander = torch.randn(len(TIME) + 60, generator=draw, dtype=torch.double)
    wander = torch.nn.functional.conv1d(wander[None, None], torch.hann_window(13).double()[None, None])[0, 0]
    x = still()
    x[:, CHANNELS.index("mouth opening")] = 0.1 * wander[20 : 20 + len(TIME)]
    x[:, CHANNELS.index("brow height")] = 0.1 * wander[17 : 17 + len(TIME)]  # three frames, a tenth of a second, later
    x[:, CHANNELS.index("roll")] = -30 * wander[20 : 20 + len(TIME)]
    values = describe(x)
    assert read(values, "correlation of roll with mouth opening") < -0.96
    late = read(values, "correlation of speeds of brow height 0.1 s after the mouth")
    early = read(values, "correlation of speeds of brow height 0.1 s before the mouth")
    assert late > 0.96
    assert abs(early) < 0.6
    larger = x.clone()
    larger[:, 3:] *= 1.3  # another face's proportions
    assert torch.allclose(describe(larger), values, atol=0.05)


def test_asymmetry_sees_what_opens_fast_and_closes_slowly():
    saw = (TIME / 1.0) % 1
    x = still()
    x[:, 0], x[:, 1] = 10 * torch.minimum(saw / 0.8, (1 - saw) / 0.2), 10 * torch.minimum(saw / 0.2, (1 - saw) / 0.8)
    values = describe(x)
    assert read(values, "asymmetry in time of pitch") < -0.5
    assert read(values, "asymmetry in time of yaw") == pytest.approx(
        -read(values, "asymmetry in time of pitch"), abs=0.1
    )


def test_movements_follow_the_truth():
    clip = TalkingHeads(seed=3, kinds=("real",), seconds=6.0).clip(0)
    (track,) = record(0, 0, seconds=6.0).tracks
    x, seen, time = movements(replace(track, points=clip.tensors()["points"]))
    assert seen.all()
    rotation = clip.tensors()["rotation"].double()
    truth = motion.euler_angles(motion.mean_rotation(rotation).mT @ rotation)
    for k in range(3):
        assert np.corrcoef(x[:, k], np.interp(time, clip.performance.time, truth[:, k]))[0, 1] > 0.98
    jaw = np.interp(time, clip.performance.time, clip.performance.expression[:, 0])
    assert np.corrcoef(x[:, CHANNELS.index("jaw drop")], jaw)[0, 1] > 0.9


def test_windows_are_of_the_longest_face_and_of_seen_frames_only(recordings):
    (track,) = recordings[0].tracks
    tracks = replace(recordings[0], tracks=(track, replace(track, time=track.time + 1)))
    windows = describe_tracks(tracks, SECONDS)
    assert windows.start.tolist() == [0, 2, 4, 6]  # 11.96 s: the window from 8 s would miss a frame
    assert windows.left_out == 1
    after = replace(recordings[0], tracks=(track, replace(track, time=track.time + 100)))
    assert describe_tracks(after, SECONDS).start.tolist() == [0, 2, 4, 6, 100, 102, 104, 106]
    hidden = replace(track, valid=track.valid & (track.time > 3))
    assert describe_tracks(replace(recordings[0], tracks=(hidden,)), SECONDS).start.tolist() == [4, 6]


def test_covariance_equals_scikit_learn():
    covariance = pytest.importorskip("sklearn.covariance", reason="scikit-learn, which librosa brings")
    for samples, numbers in ((12, 40), (200, 5)):
        x = torch.randn(samples, numbers, generator=torch.Generator().manual_seed(samples)).double()
        x[:, 1] += 2 * x[:, 0]
        other, _ = covariance.ledoit_wolf(x.numpy(), assume_centered=True)
        assert torch.allclose(shrunk_covariance(x), torch.from_numpy(other), atol=1e-9)


def test_manner_is_told_and_looks_are_not(recordings, model):
    own, other_looks = model.score(recordings[6]), model.score(record(1, 6, 15.0))
    other_manner = model.score(record(0, 7, -15.0))
    assert own.verdict == "consistent"
    assert other_manner.verdict == "different"
    assert other_manner.distance > 2 * max(own.distance, other_looks.distance)
    assert other_looks.verdict != "different"
    # What is named first is what was changed: the head with the mouth.
    assert any(("pitch" in f.name or "roll" in f.name) and "mouth" in f.name for f in other_manner.findings)
    worst = other_manner.findings[0]
    assert not worst.low <= worst.value <= worst.high
    assert [window[:2] for window in own.windows] == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert own.distance == pytest.approx(np.mean([window[2] for window in own.windows]))


def test_p_values(model):
    few = replace(model, distances=torch.tensor([1.0, 1.2, 1.5, 0.9], dtype=torch.double))
    rank, p, how = few._p_values(1.3)
    assert rank == 2 / 5
    logs = np.log([1.0, 1.2, 1.5, 0.9])
    t = (math.log(1.3) - logs.mean()) / (logs.std(ddof=1) * math.sqrt(1 + 1 / 4))
    assert p == pytest.approx(1 - stats.t.cdf(t, 3))
    assert "too few" in how
    many = replace(model, distances=torch.arange(1, 20).double())
    assert [many._p_values(d)[1] for d in (0.5, 10.0, 99.0)] == [1, 11 / 20, 1 / 20]
    assert "by rank" in many._p_values(1)[2]


def test_few_genuine_recordings_are_called_different(monkeypatch):
    """Windows drawn from one law, recordings of several lengths: both p-values keep what they promise."""
    draw, numbers = torch.Generator().manual_seed(0), count()

    def drawn(tracks, seconds):
        windows = 1 + int(torch.randint(5, (), generator=draw))
        day = 0.7 * torch.randn(len(NAMES), generator=draw)
        values = (day + torch.randn(windows, len(NAMES), generator=draw)).double()
        return Windows(torch.arange(windows).double(), values, 60.0, 0)

    monkeypatch.setattr(person_module, "describe_tracks", drawn)
    monkeypatch.setattr(person_module, "_digest", lambda tracks: str(next(numbers)))
    for references, most in ((6, 0.09), (20, 0.09)):
        verdicts = []
        for _ in range(10):
            model = PersonModel.fit([None] * references, crf=0)
            verdicts += [model.score(None).verdict for _ in range(12)]
        assert verdicts.count("different") / len(verdicts) <= most
        assert verdicts.count("consistent") / len(verdicts) >= 0.6


def test_nothing_to_compare_is_undetermined(recordings, model):
    (track,) = recordings[6].tracks
    nobody = replace(recordings[6], tracks=())
    brief = replace(track, **{name: getattr(track, name)[:60] for name in ("points", "valid", "time")})
    photograph = replace(track, points=track.points[:1].expand_as(track.points).clone())
    for tracks, words in (
        (nobody, "no face was found"),
        (replace(nobody, tracks=(brief,)), "2.4 s at most, and 4 s"),
        (replace(nobody, tracks=(photograph,)), "nothing in it moves"),
        (recordings[2], "the reference reference 3 itself"),
    ):
        result = model.score(tracks)
        assert result.verdict == "undetermined"
        assert words in result.reason
        assert result.p_value is None
        assert str(result).startswith("undetermined: ")
        json.dumps(result.to_dict())


def test_what_cannot_be_learned_is_refused(recordings):
    with pytest.raises(MediakitError, match="2 recordings say too little"):
        PersonModel.fit(recordings[:2])
    with pytest.raises(MediakitError, match=r"^b: the face is followed for 12\.0 s at most, and 20 s"):
        PersonModel.fit([record(0, 9, seconds=21.0), *recordings[:2]], names=["a", "b", "c"], seconds=20.0)
    with pytest.raises(MediakitError, match=r"^reference 3: is the same recording as reference 1"):
        PersonModel.fit([*recordings[:2], recordings[0]], seconds=SECONDS, crf=0)
    with pytest.raises(ValueError, match="seconds must be at least 2"):
        PersonModel.fit(recordings[:3], seconds=1.0)
    with pytest.raises(ValueError, match="longer"):
        PersonModel.fit(recordings[:4], names=["a", "b", "c"], seconds=SECONDS, crf=0)
    with pytest.raises(MediakitError, match="1 recording says too little"):
        PersonModel.fit(iter(()), names=["a"])  # before anything is read
    with pytest.raises(ValueError, match="at least 60 rows"):
        describe(torch.zeros(59, 8))


def test_files(tmp_path, recordings, model):
    path = tmp_path / "person.safetensors"
    model.save(path)
    first = path.read_bytes()
    loaded = PersonModel.load(path)
    assert loaded.score(recordings[6]) == model.score(recordings[6])
    loaded.save(path)
    assert path.read_bytes() == first
    recordings[0].save(tmp_path / "tracks.safetensors")
    save_file({"center": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(first[:-50])
    (tmp_path / "older.safetensors").write_bytes(first.replace(b"mediakit.person/1", b"mediakit.person/0"))
    for name in ("tracks", "other", "cut", "older"):
        with pytest.raises(MediaError, match=f"{name}.safetensors: is no model of a person"):
            PersonModel.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(MediaError, match="cannot be written"):
        model.save(tmp_path / "nowhere" / "person.safetensors")
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{n}.safetensors" for n in ("person", "tracks", "other", "cut", "older")
    }


def test_commands(tmp_path, recordings, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number, tracks in enumerate(recordings):
        tracks.save(f"{number}.safetensors")
    replace(recordings[0], tracks=()).save("nobody.safetensors")
    names = [f"{n}.safetensors" for n in range(6)]
    assert main(["enroll", *names[:2], "nobody.safetensors", "-o", "p.safetensors", "-q", "--seconds", "4"]) == 2
    assert capsys.readouterr().err == (
        "mediakit: nobody.safetensors: no face was found. Leave it out, or give another recording.\n"
    )
    assert not Path("p.safetensors").exists()
    assert main(["enroll", *names, "-o", "p.safetensors", "--seconds", "1"]) == 2
    assert "enroll: seconds must be at least 2" in capsys.readouterr().err
    assert main(["enroll", *names, "-o", "p.safetensors", "--seconds", "4"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("p.safetensors: how one person moves, from 6 recordings in windows of 4 s; 19 and more")
    assert err.splitlines()[-1] == "5.safetensors (6 of 6)"
    assert main(["verify", "6.safetensors", "--person", "p.safetensors", "--json", "found.json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("6.safetensors: consistent: a genuine recording of this person lies as far off with p = ")
    assert "farthest off: " in out
    found = json.loads(Path("found.json").read_text())
    assert found["verdict"] == "consistent"
    assert found["schema"] == "mediakit.person-result/1"
    assert main(["verify", "6.safetensors", "--person", "6.safetensors"]) == 2
    assert "is no model of a person" in capsys.readouterr().err
    assert main(["verify", "6.safetensors", "--person", "p.safetensors", "--json", "6.safetensors"]) == 2


def test_page(capsys):
    page = Path(__file__).parents[2] / "docs" / "api" / "deepfake-person.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    exec(compile(block, page.name, "exec"), {})
    assert capsys.readouterr().out.split() == re.findall(r"verdict\)  # (.*)", block)
