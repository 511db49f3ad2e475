"""`mediakit.io.mux`: interleaving, and failures that leave nothing behind."""

import os
import subprocess
import sys

import av
import numpy as np
import pytest
import torch

from mediakit.errors import MediaError
from mediakit.io import Audio, probe, read_audio, write_video


@pytest.fixture
def images(clip_pixels):
    return torch.from_numpy(clip_pixels(count=12)).permute(0, 3, 1, 2)


def test_streams_are_interleaved_as_they_come(tmp_path, images):
    """No packet lies more than a second before one that it follows (FFmpeg by itself sees to ten seconds)."""
    sound = Audio(torch.zeros(1, 30 * 16000), 16000, 0.0)
    write_video(tmp_path / "a.mkv", (images[n % 12] for n in range(300)), 10, audio=sound)
    with av.open(str(tmp_path / "a.mkv")) as container:
        times = [float(p.pts * p.time_base) for p in container.demux() if p.size]
    assert len(times) > 400
    assert np.diff(times).min() > -1.0


def test_frames_are_taken_one_by_one(tmp_path, images):
    """x264 looks ahead about 50 frames; were all 400 gathered first, nothing would lie on disk before the last."""
    sizes = []
    noise = torch.randint(0, 256, (12, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def frames():
        for n in range(400):
            if n == 399:
                sizes.extend(path.stat().st_size for path in tmp_path.iterdir())
            yield noise[n % 12]

    write_video(tmp_path / "a.ts", frames(), 25, crf=30, preset="ultrafast")
    assert len(sizes) == 1
    assert sizes[0] > 0.7 * (tmp_path / "a.ts").stat().st_size


def test_copied_sound_keeps_its_place(tmp_path, images, encode_with_av, clip_pixels):
    """The clock of the source starts at ten seconds, and its sound half a second after its pictures."""
    samples = 0.5 * np.sin(np.arange(16000) / 5)[None].astype(np.float32)
    sound = {"samples": samples, "rate": 16000, "start": 168000}
    source = encode_with_av(tmp_path / "a.ts", [{"pixels": clip_pixels(count=25), "pts": range(250, 275)}], [sound])
    write_video(tmp_path / "a.mp4", list(images), 25, audio_from=source)
    loud = [(read_audio(tmp_path / name).waveform[0].abs() > 0.1).nonzero()[0].item() for name in ("a.ts", "a.mp4")]
    assert loud[1] == pytest.approx(loud[0], abs=20)
    assert loud[0] == pytest.approx(8000, abs=1100)


def test_empty_sound_adds_no_stream(tmp_path, images):
    write_video(tmp_path / "a.mp4", list(images), 25, audio=Audio(torch.zeros(1, 0), 16000, 0.0))
    assert probe(tmp_path / "a.mp4").audio == ()


@pytest.mark.parametrize(
    ("wave", "message"),
    [(torch.full((1, 99), torch.nan), "finite"), (torch.ones(1, 99, dtype=torch.int16), r"float in \[-1, 1\]")],
)
def test_sound_must_be_finite_floats(tmp_path, images, wave, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", list(images), 25, audio=Audio(wave, 16000, 0.0))
    assert os.listdir(tmp_path) == []


def test_encoders_keep_silent(tmp_path, images, capfd):
    for codec in ("libx264", "libx265"):
        write_video(tmp_path / "a.mp4", list(images), 25, codec=codec)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "elsewhere"), ValueError("bad"), MediaError("b.mp4", "is broken")]
)
def test_errors_of_the_frames_pass_through_and_leave_the_old_file(tmp_path, images, error):
    def frames():
        yield from images
        raise error

    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(type(error)) as caught:
        write_video(path, frames(), 25)
    assert caught.value is error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.xyz", {}, "names no container"),
        ("a", {}, "names no container"),
        ("absent/a.mp4", {}, "No such file or directory"),
        ("a.webm", {}, "cannot hold libx264"),
        ("a.mp4", {"codec": "nonsense"}, "cannot hold nonsense"),
        ("a.mp4", {"preset": "nonsense"}, "cannot be encoded"),
        ("a.mp4", {"pix_fmt": "rgb48le"}, "cannot be encoded"),
        ("a.mp4", {"audio_from": "missing.mp4"}, "missing.mp4: does not exist"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, images, name, options, message):
    with pytest.raises(MediaError, match=message):
        write_video(tmp_path / name, list(images), 25, **options)
    assert os.listdir(tmp_path) == []


FULL = """
import os, resource, sys, torch
from mediakit.errors import MediaError
from mediakit.io import write_audio, write_video, recompress, read_video
folder, source, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
random = torch.Generator().manual_seed(0)
images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=random) for _ in range(25)]
jobs = {
    "a.mp4": lambda path: write_video(path, images, 25, preset="ultrafast"),
    "a.mkv": lambda path: write_video(path, images, 25, preset="ultrafast"),
    "a.wav": lambda path: write_audio(path, torch.zeros(2, 200000), 44100),
    "b.mp4": lambda path: recompress(source, path, crf=0, preset="ultrafast"),
}
for name, job in jobs.items():
    path = os.path.join(folder, name)
    open(path, "w").write("old")
    try:
        job(path)
        print("no error")
    except MediaError as error:
        assert str(error).startswith(path + ": cannot be written"), error
        print(error.problem)
    assert open(path).read() == "old", name
assert sorted(os.listdir(folder)) == sorted(jobs)
"""


def run_full(folder, tmp_path, limit, prefix=()):
    source = tmp_path / "source.mp4"
    random = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=random) for _ in range(25)]
    write_video(source, images, 25, preset="ultrafast")
    command = [*prefix, sys.executable, "-c", FULL, str(folder), str(source), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_too_large_a_file_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    lines = run_full(tmp_path / "folder", tmp_path, 60_000)
    assert lines == ["cannot be written (File too large)"] * 4


def test_a_full_disk_leaves_nothing(tmp_path):
    """A file system of 60 kB, in a mount namespace of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = f'mount -t tmpfs -o size=60k none "{folder}" && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small file system can be mounted here ({error})")
    lines = run_full(folder, tmp_path, 0, prefix)
    assert lines == ["cannot be written (No space left on device)"] * 4
