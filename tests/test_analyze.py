"""The one pass over a file: every frame decoded once, and summaries that agree with independent readings."""

import numpy as np
import pytest

import mediakit.analyze
from mediakit.analyze import analyze_file
from mediakit.io import read_video


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
