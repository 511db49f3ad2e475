"""Whole folders to features: the same bytes however they were made, and nothing lost to damage, crashes or kills."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import mediakit.extract
from mediakit import FeatureFolder, extract_folder
from mediakit.cli import main
from mediakit.errors import MediaError, MediakitError
from mediakit.extract import find_media
from mediakit.io import Audio, write_audio, write_video
from mediakit.jobs import run_jobs
from mediakit.ledger import claimed

FAST = {"features": ("audio", "frames"), "audio_model": "test_resnet", "frame_model": "test_resnet"}
WORDS = ["--features", "audio,frames", "--audio-model", "test_resnet", "--frame-model", "test_resnet", "-q"]
RATE = 16_000


def write_clip(path, seed, seconds=1.6):
    generator = torch.Generator().manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    count = round(seconds * 10)
    images = torch.randint(0, 255, (count, 3, 6, 8), generator=generator).float()
    images = torch.nn.functional.interpolate(images, (48, 64), mode="bilinear").to(torch.uint8)
    sound = Audio(0.1 * torch.randn(1, round(seconds * RATE), generator=generator), RATE, 0.0)
    write_video(path, images, 10, audio=sound, preset="ultrafast", threads=1)


def write_damaged(folder):
    """Five files that cannot be used, each in another way."""
    write_clip(folder / "truncated.mp4", 99)
    content = (folder / "truncated.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(content[: len(content) // 2])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("This is the page that says your download is not ready.\n")
    (folder / "header.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "nothing.srt.mkv").write_text("1\n00:00:00,000 --> 00:00:01,000\nNo pictures, no sound\n")
    return ["empty.mp4", "header.mp4", "nothing.srt.mkv", "text.mp4", "truncated.mp4"]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for n in range(5):
        write_clip(folder / ("sub" if n % 2 else "") / f"{n}.mp4", n)
    write_damaged(folder)
    (folder / "notes.txt").write_text("not media")
    return folder


@pytest.fixture(scope="module")
def undisturbed(films, tmp_path_factory):
    """Features made by one worker in one go."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    found = extract_folder(films, out, **FAST)
    assert (found.done, found.resumed, found.skipped) == (5, 0, 1)
    return out


def contents(out):
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def crash_on_two(job):
    if job.path == "2.mp4":
        os.kill(os.getpid(), signal.SIGSEGV)
    return mediakit.extract._extract(job)


def test_what_is_written(films, undisturbed):
    folder = FeatureFolder(undisturbed)
    assert folder.ids == ("0", "2", "4", "sub/1", "sub/3")
    folder.check()
    assert folder.load("sub/3", "audio").shape == (2, 96)
    manifest = folder.manifest
    entry = manifest["files"]["sub/3"]
    assert entry["sha256"] == hashlib.sha256((films / "sub" / "3.mp4").read_bytes()).hexdigest()
    assert entry["features"]["audio"]["sha256"] == contents(undisturbed)["audio/sub/3.npy"]
    assert (entry["path"], entry["seconds"], entry["absent"]) == ("sub/3.mp4", 2, {})
    assert manifest["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    failed = [failure["path"] for failure in manifest["failures"]]
    assert failed == ["empty.mp4", "header.mp4", "nothing.srt.mkv", "text.mp4", "truncated.mp4"]
    rows = (undisturbed / "failures.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["path", *failed]
    text = (undisturbed / "manifest.json").read_text() + (undisturbed / "failures.csv").read_text()
    assert str(films) not in text
    assert str(Path.cwd()) not in text


def test_two_workers_give_the_same_bytes_from_another_place(films, undisturbed, tmp_path, monkeypatch):
    shutil.copytree(films, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    found = extract_folder("elsewhere", "out", **FAST, workers=2)
    assert [path for path, _ in found.failed] == [
        failure["path"] for failure in FeatureFolder(undisturbed).manifest["failures"]
    ]
    assert contents(tmp_path / "out") == contents(undisturbed)


@pytest.mark.parametrize(
    "group",
    [pytest.param(True, id="the whole group", marks=pytest.mark.slow), pytest.param(False, id="the parent alone")],
)
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(films, undisturbed, tmp_path, group):
    out = tmp_path / "out"
    words = ["extract", str(films), "--out", str(out), "--workers", "1", *WORDS]
    process = subprocess.Popen([sys.executable, "-m", "mediakit", *words], start_new_session=True)
    while not list((out / "audio").rglob("[0-9].npy")) and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
    process.wait()
    assert not (out / "manifest.json").exists()
    (out / "audio" / f".{'0' * 16}.npy").write_bytes(b"half an array")
    found = extract_folder(films, out, **FAST)
    assert found.done == 5
    assert contents(out) == contents(undisturbed)


def test_nothing_is_done_twice(films, undisturbed, tmp_path):
    out, source = tmp_path / "out", tmp_path / "films"
    shutil.copytree(undisturbed, out)
    shutil.copytree(films, source)
    for name in FeatureFolder(out).manifest["failures"]:
        (source / name["path"]).unlink()
    before = {path: path.stat().st_mtime_ns for path in (out / "audio").rglob("*.npy")}
    found = extract_folder(source, out, **FAST)
    assert (found.done, found.resumed, found.failed) == (5, 5, ())
    assert before == {path: path.stat().st_mtime_ns for path in (out / "audio").rglob("*.npy")}
    assert not (out / "failures.csv").exists()
    # Another film of the same length, a lost feature, a cut feature, a film that is gone, one that has gone bad.
    write_clip(source / "0.mp4", 77)
    (out / "audio" / "sub" / "1.npy").unlink()
    (out / "frames" / "2.npy").write_bytes(b"")
    (source / "sub" / "3.mp4").unlink()
    (source / "4.mp4").write_text("gone bad")
    found = extract_folder(source, out, **FAST)
    assert (found.done, found.resumed, [path for path, _ in found.failed]) == (3, 0, ["4.mp4"])
    folder = FeatureFolder(out)
    assert folder.ids == ("0", "2", "sub/1")
    folder.check()
    assert folder.manifest["gone"] == ["sub/3"]
    assert (out / "audio" / "sub" / "3.npy").exists()
    assert not (out / "audio" / "4.npy").exists()
    same = {"2": True, "sub/1": True, "0": False}
    assert {id: contents(out)[f"audio/{id}.npy"] == contents(undisturbed)[f"audio/{id}.npy"] for id in same} == same


def test_a_native_crash_costs_one_file(films, tmp_path, monkeypatch):
    monkeypatch.setattr(mediakit.extract, "run_jobs", lambda _, *args, **kw: run_jobs(crash_on_two, *args, **kw))
    found = extract_folder(films, tmp_path / "out", **FAST)
    assert found.done == 4
    assert ("2.mp4", "its process died of SIGSEGV") in found.failed
    assert len(found.failed) == 6


def test_damaged_files_are_used_on_demand_only(films, undisturbed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    problem = dict(map(dict.values, FeatureFolder(out).manifest["failures"]))["truncated.mp4"]
    assert re.fullmatch(
        r"the video is incomplete: it was cut off at 0\.\d+ s of 1\.60 s\. Use .*--use-damaged.*", problem
    )
    assert not (out / "frames" / "truncated.npy").exists()
    found = extract_folder(films, out, **FAST, use_damaged=True)
    assert (found.done, found.resumed) == (6, 5)
    entry = FeatureFolder(out).manifest["files"]["truncated"]
    assert entry["seconds"] == 1
    assert entry["warnings"][0].startswith("the video is incomplete: it was cut off")
    assert FeatureFolder(out).load("truncated", "frames").shape == (1, 96)


def test_other_encoders_and_settings_do_not_mix(films, undisturbed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    before = contents(out)
    with pytest.raises(MediakitError, match=r"seed 0, sha256 \w{8}\).*seed 1, sha256 \w{8}\).*--overwrite"):
        extract_folder(films, out, **FAST, seed=1)
    with pytest.raises(MediakitError, match=r"frames features there have rate 1\.0, but 2\.0 is asked for"):
        extract_folder(films, out, **FAST, frame_rate=2)
    with pytest.raises(MediakitError, match="holds audio, frames, but audio are asked for"):
        extract_folder(films, out, features=["audio"], audio_model="test_resnet")
    assert contents(out) == before
    source = tmp_path / "films"
    write_clip(source / "a.mp4", 5)
    (out / "frames" / "leftover.npy").touch()
    extract_folder(source, out, features=["frames"], frame_model="test_resnet", frame_rate=2, overwrite=True)
    assert FeatureFolder(out).load("a", "frames").shape == (4, 96)
    assert {name for name in contents(out) if not name.startswith(".")} == {"frames/a.npy", "manifest.json"}


@pytest.mark.slow
def test_all_four_features(tmp_path):
    write_clip(tmp_path / "films" / "a.mp4", 0)
    write_audio(tmp_path / "films" / "song.wav", torch.zeros(1, RATE), RATE)
    try:
        found = extract_folder(
            tmp_path / "films", tmp_path / "out", audio_model="test_resnet", frame_model="test_resnet"
        )
    except MediakitError as error:
        if "ships no face model" not in str(error):
            raise
        pytest.skip("this MediaPipe ships no face model")
    assert found.done == 2
    folder = FeatureFolder(tmp_path / "out")
    folder.check()
    assert folder.load("a", "clips").shape == (2, 320)
    assert folder.tracks("a").frames == 16
    assert folder.manifest["files"]["song"]["absent"] == dict.fromkeys(("frames", "clips", "faces"), "has no pictures")


@pytest.mark.slow
def test_a_file_that_takes_too_long(tmp_path, capfd):
    write_clip(tmp_path / "films" / "long.mp4", 0, 60.0)
    words = ["extract", str(tmp_path / "films"), "--out", str(tmp_path / "out"), "--timeout", "0.1", *WORDS]
    assert main(words) == 1
    assert f"{tmp_path / 'films' / 'long.mp4'}: it took longer than 0.1 s and was stopped" in capfd.readouterr().err


def test_command_line(films, undisturbed, tmp_path, capfd):
    shutil.copytree(undisturbed, tmp_path / "out")
    words = [word for word in WORDS if word != "-q"]
    assert main(["extract", str(films), "--out", str(tmp_path / "out"), "--workers", "1", *words]) == 1
    out, err = capfd.readouterr()
    _, _, err = err.rpartition("\r")
    assert re.search(r"files: 100%.*10/10 \[.*, 5 failed, 5 from earlier runs\]", err.splitlines()[0])
    assert len(err.splitlines()[1:]) == 5
    assert f"mediakit: {films / 'text.mp4'}: is not a media file (it looks like text)" in err.splitlines()
    assert (
        out == f"{tmp_path / 'out'}: features of 5 files (5 of them from earlier runs), 5 failed, 1 other passed over\n"
    )
    assert main(["extract", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert capfd.readouterr().err == f"mediakit: {tmp_path / 'none'}: does not exist. Name a folder of videos.\n"
    for wrong in (["--features", "audio,smell"], ["--frame-rate", "0"], ["--workers", "0"]):
        with pytest.raises(SystemExit) as caught:
            main(["extract", str(films), "--out", str(tmp_path / "out"), *wrong])
        assert caught.value.code == 2


def test_places_that_do_not_go(films, tmp_path):
    source = tmp_path / "films"
    with pytest.raises(MediaError, match="does not exist"):
        extract_folder(source, tmp_path / "out")
    source.mkdir()
    (source / "notes.txt").touch()
    with pytest.raises(MediaError, match=r"holds no media files \(1 others\)"):
        extract_folder(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(MediaError, match="would lie among the videos"):
        extract_folder(films, films)
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="cannot be written"):
        extract_folder(films, tmp_path / "file")
    (tmp_path / "llp" / "audio").mkdir(parents=True)
    with pytest.raises(MediaError, match=r"audio: is there already"):
        extract_folder(films, tmp_path / "llp", **FAST)
    with claimed(tmp_path / "busy"), pytest.raises(MediaError, match="another process"):
        extract_folder(films, tmp_path / "busy")


@pytest.mark.parametrize(
    "options", [{"features": "audio"}, {"features": ["smell"]}, {"frame_rate": 0}, {"workers": 0}, {"features": []}]
)
def test_options_out_of_range(films, tmp_path, options):
    with pytest.raises(ValueError, match="must be"):
        extract_folder(films, tmp_path / "out", **options)


def test_ids(tmp_path):
    names = ["a.mp4", "a.WAV", "a.mp4.mkv", "b.c.mp4", "d/a.mov", "d/.hidden.mp4", ".git/x.mp4", "out/x.mp4", "é b.mp3"]
    for name in [*names, "readme.md", "d/cover.jpg"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    found, others = find_media(tmp_path, tmp_path / "out")
    assert found == {
        "a.mp4": "a.mp4",
        "a.WAV": "a.WAV",
        "a.mp4.mkv": "a.mp4.mkv",
        "b.c": "b.c.mp4",
        "d/a": "d/a.mov",
        "é b": "é b.mp3",
        "link": "link.mp4",
    }
    assert others == 2


def test_defaults_go_with_the_default_network_only(monkeypatch):
    monkeypatch.setitem(mediakit.extract.DEFAULT_ENCODERS, "audio", ("reference", "pretrained"))

    def models(model, weights):
        return mediakit.extract._checked(["audio"], {"audio": (model, weights)}, 0, 1.0, None, 4).models[0][1:]

    assert models(None, None) == ("reference", "pretrained")
    assert models(None, "mine.pt") == ("reference", "mine.pt")
    assert models("resnet18", None) == ("resnet18", None)


def test_help_is_instant():
    code = (
        "from mediakit.cli import main\ntry:\n    main(['extract', '--help'])\nexcept SystemExit:\n    pass\n"
        "import sys\nassert not {'torch', 'numpy', 'pebble', 'tqdm'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_ninety_five_good_and_five_bad(tmp_path):
    for n in range(95):
        write_clip(tmp_path / "films" / f"{n:02d}.mp4", n)
    bad = write_damaged(tmp_path / "films")
    found = extract_folder(tmp_path / "films", tmp_path / "out", **FAST, workers=2)
    assert found.done == 95
    assert [path for path, _ in found.failed] == bad


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path):
    def peak(seconds):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        noise = 0.1 * torch.randn(1, seconds * RATE, generator=torch.Generator().manual_seed(0))
        write_audio(folder / "noise.wav", noise, RATE)
        code = (
            "import resource\nfrom mediakit.onepass import Encoders, extract_file\n"
            "from mediakit.encoders import AudioEncoder\n"
            f"extract_file({str(folder / 'noise.wav')!r}, Encoders(AudioEncoder('test_resnet')))\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout) / 1024

    assert peak(3600) < peak(120) + 60  # MB; the waveform of an hour alone has 230


def test_numbers_are_plain(undisturbed):
    array = np.load(undisturbed / "audio" / "0.npy")
    assert (array.dtype, array.flags.c_contiguous) == (np.float32, True)
    assert json.loads((undisturbed / "manifest.json").read_text())["schema"] == "mediakit.features/1"


def test_random_weights_are_warned_of(tmp_path, capsys):
    (tmp_path / "films").mkdir()
    write_audio(tmp_path / "films" / "tone.wav", torch.zeros(1, 16_000), 16_000)
    words = ["extract", str(tmp_path / "films"), "--features", "audio", "--workers", "1", "-q", "--out"]
    assert main([*words, str(tmp_path / "one"), "--audio-model", "test_resnet"]) == 0
    assert "warning: test_resnet has random weights; --audio-weights pretrained" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "two")]) == 0
    assert "random" not in capsys.readouterr().err
