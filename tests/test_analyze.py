"""The one pass over a file: every frame decoded once, and summaries that agree with independent readings."""

import numpy as np
import pytest
import torch

import mediakit.analyze
from mediakit.analyze import analyze_file, summarize_track
from mediakit.io import read_video
from mediakit.mesh import N_POINTS
from mediakit.tracks import FaceTrack


@pytest.fixture
def decoded(monkeypatch):
    """Counts the frames that `analyze` takes from the decoder."""
    seen = []

    def counting(path, **options):
        for frame in read_video(path, **options):
            seen.append(frame.index)
            yield frame

    monkeypatch.setattr(mediakit.analyze, "read_video", counting)
    return seen


def test_frames_are_decoded_once_for_everything(shared_data, decoded):
    pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    found = analyze_file(shared_data / "media" / "friday.mp4")
    assert decoded == list(range(185))
    assert found.pictures.frames == found.packets.frames == 185
    if found.faces is None:
        pytest.skip(found.absent["faces"])
    assert found.faces.frames == 185
    assert found.faces.frames_with_face == 105  # as the folder's README counts
    assert found.pictures.gray


def test_flower_has_no_face_and_a_silent_track(shared_data):
    pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    found = analyze_file(shared_data / "media" / "flower.mp4")
    assert found.sound.silent
    assert found.sound.peak_db is None
    assert not found.pictures.gray
    if found.faces is None:
        pytest.skip(found.absent["faces"])
    assert found.faces.tracks == ()


@pytest.mark.parametrize("name", ["friday", "stream-of-water", "chaplin", "nasa_13013"])
def test_levels_are_ffmpegs(shared_data, name):
    av = pytest.importorskip("av")
    path = shared_data / "media" / f"{name}.mp4"
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", rate=16_000)
        parts = [f.to_ndarray() for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    wave = np.concatenate(parts, axis=1)
    sound = analyze_file(path, faces=False).sound
    assert sound.rms_db == pytest.approx(10 * np.log10(np.mean(wave.astype(np.float64) ** 2)), abs=0.1)
    assert sound.peak_db == pytest.approx(20 * np.log10(np.abs(wave).max()), abs=0.5)


def head(count: int) -> torch.Tensor:
    """A rigid cloud with a face's landmarks in place, in pixels, moving to the right."""
    rng = np.random.default_rng(0)
    shape = rng.uniform([-60, -80, -40], [60, 80, 0], (N_POINTS, 3))
    shape[33], shape[263] = (-50, -20, 0), (50, -20, 0)
    shape[10], shape[152] = (0, -90, 0), (0, 90, 0)
    moving = shape + np.arange(count)[:, None, None] * np.array([0.5, 0, 0]) + np.array([200, 200, 0])
    return torch.from_numpy(moving).float()


def test_a_rigid_head_has_one_pose_and_one_expression():
    count = 1500
    track = FaceTrack(head(count), torch.ones(count, dtype=torch.bool), torch.arange(count, dtype=torch.float64) / 30)
    found = summarize_track(track, key_times=(0.0, 10.0, 1000.0))
    assert found.interocular_px == pytest.approx(100, abs=1e-3)
    assert len(found.time) == len(found.pose) == len(found.expression) == 500  # thinned by three
    assert float(found.time[0]) == pytest.approx(1 / 30)  # the mean of three frames
    assert found.pose.std(0).max() < 1e-2
    assert found.expression.std(0).max() < 1e-4
    assert sorted(found.boxes) == [0.0, 10.0]
    assert torch.equal(found.boxes[10.0], track.points[300, :, :2])
