"""`mediakit analyze` as a user meets it: good files, odd files, damaged files, full disks."""

import json
import os
import re
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mediakit.cli import main
from mediakit.demo import demo_frames
from mediakit.io import Audio, write_audio, write_image, write_video

RATE = 16_000


def pictures(count: int, height: int = 48, width: int = 64):
    """Frames whose brightness rises."""
    return (torch.full((3, height, width), 40 + 4 * n, dtype=torch.uint8) for n in range(count))


def tone(seconds: float) -> Audio:
    time = torch.arange(round(seconds * RATE)) / RATE
    return Audio(0.3 * torch.sin(2 * torch.pi * 440 * time)[None], RATE, 0.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    write_video(path, pictures(50), 25, audio=tone(2.0))
    return path


def run(folder: Path, *words: object) -> int:
    return main(
        ["analyze", *map(str, words), "-q", "-o", str(folder / "page.html"), "--json", str(folder / "page.json")]
    )


def only_errs(folder: Path, capfd, path: Path, *words: object) -> str:
    """One line on stderr that names the file, exit status 2, nothing written."""
    before = sorted(p.name for p in folder.iterdir())
    assert run(folder, path, *words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"mediakit: {path}")
    assert sorted(p.name for p in folder.iterdir()) == before
    return line


def findings(folder: Path) -> dict:
    return json.loads((folder / "page.json").read_text())


def text_of(page: Path) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.read_text().partition("</style>")[2]))


def test_a_whole_clip(clip, tmp_path, capfd):
    assert run(tmp_path, clip) == 0
    assert capfd.readouterr() == (f"{tmp_path / 'page.json'}\n{tmp_path / 'page.html'}\n", "")
    found = findings(tmp_path)
    assert found["schema"] == "mediakit.analysis/1"
    assert found["file"]["packets"]["frames"] == found["pictures"]["frames"] == 50
    assert found["pictures"]["gray"] is True
    assert found["sound"]["rms_db"] == pytest.approx(-13.5, abs=0.3)
    page = text_of(tmp_path / "page.html")
    assert "A black-and-white video of 2.0 seconds, 64 × 48 pixels at 25 frames per second, with sound." in page
    if found["faces"] is None:  # a MediaPipe without its model
        assert "ships no face model" in page
    else:
        assert found["faces"]["tracks"] == []
        assert "No face was found" in page
    assert page.count("and none was given") == 3


def test_the_page_asks_nothing_from_the_network(clip, tmp_path):
    run(tmp_path, clip)
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "url(" not in page
    assert "<script" not in page


def test_identical_input_gives_identical_json(clip, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in ("a", "b"):
        run(tmp_path / folder, clip)
    assert (tmp_path / "a" / "page.json").read_bytes() == (tmp_path / "b" / "page.json").read_bytes()


def test_the_page_goes_beside_the_caller_by_default(clip, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["analyze", str(clip), "-q", "--no-faces"]) == 0
    assert capfd.readouterr().out == "clip.mp4.html\n"
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4.html"]


def test_progress_shows_time_left(clip, tmp_path, capfd):
    assert main(["analyze", str(clip), "--no-faces", "-o", str(tmp_path / "p.html")]) == 0
    err = capfd.readouterr().err
    assert re.search(r"pictures: 100%.*2 of 2 s.*left", err)


def test_sound_alone(tmp_path):
    write_audio(tmp_path / "tone.wav", tone(1.5).waveform, RATE)
    assert run(tmp_path, tmp_path / "tone.wav") == 0
    page = text_of(tmp_path / "page.html")
    assert "Sound alone, 1.5 seconds, without pictures." in page
    assert "The file has no pictures." in page


def test_pictures_alone(tmp_path):
    write_video(tmp_path / "mute.mp4", pictures(10), 10)
    assert run(tmp_path, tmp_path / "mute.mp4") == 0
    page = text_of(tmp_path / "page.html")
    assert "without sound" in page
    assert "The file has no sound track." in page


def test_a_silent_track_is_not_a_missing_one(tmp_path):
    write_video(tmp_path / "still.mp4", pictures(25), 25, audio=Audio(torch.zeros(1, RATE), RATE, 0.0))
    assert run(tmp_path, tmp_path / "still.mp4") == 0
    assert "The file has a sound track of 1.0 seconds, but it is silent" in text_of(tmp_path / "page.html")


@pytest.mark.parametrize(("count", "size"), [(1, (48, 64)), (3, (1, 1)), (1, (1, 1))])
def test_tiny_films(tmp_path, count, size):
    write_video(tmp_path / "tiny.mp4", pictures(count, *size), 25)
    assert run(tmp_path, tmp_path / "tiny.mp4") == 0
    assert findings(tmp_path)["pictures"]["size"] == [size[1], size[0]]


def test_a_photograph(tmp_path):
    image = torch.zeros(3, 30, 40, dtype=torch.uint8)
    image[0] = 220
    write_image(tmp_path / "red.png", image)
    assert run(tmp_path, tmp_path / "red.png") == 0
    page = text_of(tmp_path / "page.html")
    assert "A single colour picture, 40 × 30 pixels." in page
    assert "Duration" not in page
    assert "Bit rate" not in page


def test_missing_file_and_folder(tmp_path, capfd):
    assert "does not exist" in only_errs(tmp_path, capfd, tmp_path / "none.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert "is a folder" in only_errs(tmp_path, capfd, tmp_path / "folder.mp4")


def test_files_that_are_no_media(tmp_path, capfd):
    (tmp_path / "empty.mp4").touch()
    assert "zero bytes" in only_errs(tmp_path, capfd, tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("Dear diary, this is not a film.\n" * 20)
    assert "text" in only_errs(tmp_path, capfd, tmp_path / "text.mp4")
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 64)
    only_errs(tmp_path, capfd, tmp_path / "noise.mp4")


def boxes(data: bytes) -> dict[bytes, tuple[int, int]]:
    """Outermost boxes of an MP4: name -> (start, end)."""
    found, at = {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found[data[at + 4 : at + 8]] = (at, at + size)
        at += size
    return found


def test_a_recording_cut_off_before_its_index(clip, tmp_path, capfd):
    data = clip.read_bytes()
    parts = boxes(data)
    first, index, media = (data[slice(*parts[name])] for name in (b"ftyp", b"moov", b"mdat"))
    broken = tmp_path / "cut.mp4"
    broken.write_bytes((first + media + index)[: len(first) + len(media) // 2])
    assert "cut off" in only_errs(tmp_path, capfd, broken)


def test_a_download_cut_off_after_its_index(clip, tmp_path, capfd):
    data = clip.read_bytes()
    start, end = boxes(data)[b"mdat"]
    broken = tmp_path / "half.mp4"
    broken.write_bytes(data[: (start + end) // 2])
    assert run(tmp_path, broken) == 0
    found = findings(tmp_path)
    assert 0 < found["pictures"]["frames"] < 50
    assert any("half.mp4" in w for w in found["warnings"])
    page = text_of(tmp_path / "page.html")
    assert "half.mp4" in page
    assert re.search(r"The file is damaged: pictures could be read for \d\.\d seconds only\.", page)
    assert "mediakit: warning:" in capfd.readouterr().err


@contextmanager
def as_nobody(folder: Path):
    """Root may do everything, so become nobody for a while; others are ordinary users already."""
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_no_permission_to_read(clip, tmp_path, capfd):
    closed = tmp_path / "closed.mp4"
    closed.write_bytes(clip.read_bytes())
    closed.chmod(0)
    with as_nobody(tmp_path):
        assert "permission denied" in only_errs(tmp_path, capfd, closed)


def test_no_permission_to_write(clip, tmp_path, capfd):
    local, locked = tmp_path / "clip.mp4", tmp_path / "locked"
    local.write_bytes(clip.read_bytes())
    local.chmod(0o644)
    locked.mkdir(mode=0o555)
    with as_nobody(tmp_path):
        assert main(["analyze", str(local), "-q", "--no-faces", "-o", str(locked / "page.html")]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert str(locked / "page.html") in line
    assert "permission denied" in line.lower()
    assert list(locked.iterdir()) == []


def test_output_that_cannot_be(clip, tmp_path, capfd):
    for target, reason in ((tmp_path / "no" / "page.html", "no such file"), (tmp_path, "is a directory")):
        assert main(["analyze", str(clip), "-q", "--no-faces", "-o", str(target)]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert str(target) in line
        assert reason in line.lower()


def test_outputs_are_checked_before_the_work(clip, tmp_path, capfd, monkeypatch):
    import mediakit.analyze

    monkeypatch.setattr(mediakit.analyze, "analyze_file", lambda *_, **__: pytest.fail("worked in vain"))
    film, page = tmp_path / "film.mp4", tmp_path / "page.html"
    film.write_bytes(clip.read_bytes())
    for words, reason in {
        ("-o", str(film)): "it is the file to read",
        ("-o", str(page), "--json", str(page)): "it is named for another output, too",
        ("-o", str(tmp_path / "no" / "page.html")): "No such file or directory",
    }.items():
        assert main(["analyze", str(film), "-q", *words]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert reason in line
    assert film.read_bytes() == clip.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


def limited(arguments: list[str], limit: int) -> subprocess.CompletedProcess:
    """Runs mediakit in a process that may not write files longer than `limit` bytes."""

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "mediakit", *arguments], capture_output=True, text=True, preexec_fn=lower
    )


def test_a_missing_face_model_is_an_error_not_a_finding(clip, tmp_path, capfd):
    assert run(tmp_path, clip, "--face-model", tmp_path / "gone.task") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "gone.task: does not exist" in line
    assert list(tmp_path.iterdir()) == []


def test_a_portrait_has_its_face(tmp_path):
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("this MediaPipe bundles no face model")
    write_image(tmp_path / "portrait.jpg", next(demo_frames()).contiguous())
    assert run(tmp_path, tmp_path / "portrait.jpg") == 0
    found = findings(tmp_path)
    assert len(found["faces"]["tracks"]) == 1
    assert found["faces"]["dropped"] == 0
    page = text_of(tmp_path / "page.html")
    assert "1 face found." in page
    assert re.search(r"Face 1 Outer eye corners \d+ px apart; pitch", page)


def test_disk_full_leaves_the_earlier_page(clip, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("the finished page of yesterday")
    result = limited(["analyze", str(clip), "-q", "--no-faces", "-o", str(page)], 4096)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert f"{page}: cannot be written (File too large)" in line
    assert page.read_text() == "the finished page of yesterday"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_wrong_usage_is_status_2(capfd):
    for words in (["analyze"], ["unheard-of"], ["analyze", "x.mp4", "--max-faces", "0"]):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 2
    assert "usage: mediakit" in capfd.readouterr().err


def test_version(capfd):
    from mediakit import __version__

    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capfd.readouterr().out == f"mediakit {__version__}\n"
