"""Clips as files: layout, tables, resuming, and the same bytes however they came about."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from mediakit.cli import main
from mediakit.errors import MediaError, MediakitError
from mediakit.io import read_audio, read_video
from mediakit.synthetic import corpus
from mediakit.synthetic.corpus import generate_clips, open_generator, read_truth
from mediakit.synthetic.heads import KINDS, TalkingHeads

pytest.importorskip("cv2")
pytest.importorskip("skimage")
pytest.importorskip("safetensors")

LOOK = {"seed": 4, "seconds": 1, "size": (96, 96), "fps": 8, "kinds": ("real", "jitter")}
WORDS = ["--seed", "4", "--seconds", "1", "--size", "96x96", "--fps", "8", "--kinds", "real,jitter", "-q"]


def files(folder):
    """Digest of every file by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four clips as one process makes them undisturbed."""
    folder = tmp_path_factory.mktemp("made") / "heads"
    assert generate_clips("heads", folder, 4, **LOOK) == folder / "videos"
    return folder


def test_layout_and_tables(made):
    ids = [
        f"{label}/heads-train-4-0000{n}-{kind}"
        for n in (0, 1)
        for label, kind in (("real", "real"), ("fake", "jitter"))
    ]
    expected = {f"videos/{id}.mp4" for id in ids} | {f"truth/{id}.json" for id in ids}
    expected |= {f"truth/{id}.safetensors" for id in ids} | {"manifest.json", "labels.csv"}
    found = files(made)
    assert set(found) == expected
    rows = list(csv.DictReader((made / "labels.csv").open()))
    assert [row["clip"] for row in rows] == ids
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["schema"] == "mediakit.synthetic/1"
    assert manifest["kind"] == "heads"
    assert manifest["options"]["size"] == [96, 96]
    assert "mediakit" in manifest["versions"]
    assert [clip["id"] for clip in manifest["clips"]] == ids
    assert all(clip["sha256"] == found[f"videos/{clip['id']}.mp4"] for clip in manifest["clips"])


def test_the_files_hold_the_clips(made):
    clip = TalkingHeads(**LOOK).clip(3)
    frames = [frame.image for frame in read_video(made / "videos" / f"{clip.id}.mp4")]
    drawn = list(clip.frames())
    assert len(frames) == len(drawn) == 8
    assert (torch.stack(frames).double() - torch.stack(drawn).double()).abs().mean() < 6
    assert read_audio(made / "videos" / f"{clip.id}.mp4").rate == 16_000
    truth = read_truth(made, clip.id)
    for name, value in clip.tensors().items():
        assert torch.equal(truth["tensors"][name], value)
    del truth["tensors"]
    assert truth == json.loads(json.dumps(clip.truth()))


def test_finished_clips_are_kept_and_more_are_added(made, tmp_path, monkeypatch):
    folder = tmp_path / "heads"
    shutil.copytree(made, folder)
    videos = sorted(folder.rglob("*.mp4"))
    times = {path: path.stat().st_mtime_ns for path in videos}
    videos[0].write_bytes(b"half a clip")
    shutil.rmtree(folder / "truth" / "real")
    damaged = [videos[0], *(path for path in videos if path.parent.name == "real")]
    generate_clips("heads", folder, 4, **LOOK)
    assert files(folder) == files(made)
    assert all(path.stat().st_mtime_ns == t for path, t in times.items() if path not in damaged)

    def refuse(*_, **__):
        raise AssertionError("nothing is left to make")

    monkeypatch.setattr(corpus, "_write", refuse)
    generate_clips("heads", folder, 4, **LOOK)
    assert files(folder) == files(made)


def test_other_settings_in_the_same_folder_are_refused(made):
    before = files(made)
    with pytest.raises(MediaError, match=r"made otherwise \(seed 4 there, 5 now\)"):
        generate_clips("heads", made, 4, **{**LOOK, "seed": 5})
    with pytest.raises(MediaError, match="made otherwise"):
        generate_clips("scenes", made, 4)
    assert files(made) == before


def test_fewer_clips_leave_the_others_and_temporary_files_go(made, tmp_path):
    folder = tmp_path / "heads"
    shutil.copytree(made, folder)
    (folder / "videos" / "fake" / ".0123456789abcdef.mp4").write_bytes(b"of a run that was killed")
    generate_clips("heads", folder, 2, **LOOK)
    assert files(folder) == files(made)
    options = json.loads((folder / "manifest.json").read_text())["options"]
    assert (options["seed"], options["split"], options["identities"]) == (4, "train", 12)  # defaults too


def test_a_strange_manifest_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(MediaError, match="not the manifest"):
        generate_clips("heads", tmp_path, 1, **LOOK)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["manifest.json"]


def test_wrong_arguments_leave_nothing_behind(tmp_path):
    out = tmp_path / "out"
    for kind, count, options, message in (
        ("puppets", 1, {}, "kind must be one of"),
        ("heads", 0, {}, "count must be"),
        ("heads", 1, {"kinds": ("face_blend",)}, "test split only"),
    ):
        with pytest.raises(ValueError, match=message):
            generate_clips(kind, out, count, **options)
    with pytest.raises(TypeError):
        open_generator("heads", hue=3)
    assert not out.exists()


def test_truth_that_is_not_there_or_is_damaged_is_one_error(made, tmp_path):
    with pytest.raises(MediaError, match="nobody"):
        read_truth(made, "real/nobody")
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "x.json").write_text("[1")
    with pytest.raises(MediaError, match="not the truth"):
        read_truth(tmp_path, "x")


def test_a_clip_that_fails_is_named(tmp_path, monkeypatch):
    def fail(job):
        raise RuntimeError("out of paint")

    monkeypatch.setattr(corpus, "_write", fail)
    with pytest.raises(MediakitError):
        generate_clips("heads", tmp_path / "out", 1, **LOOK)


def test_the_command_makes_the_same_bytes_with_two_workers(made, tmp_path, capsys):
    out = tmp_path / "heads"
    assert main(["generate", "heads", "--out", str(out), "--count", "4", "--workers", "2", *WORDS]) == 0
    assert capsys.readouterr().out.strip() == str(out / "videos")
    ours, theirs = files(made), files(out)
    # The words of the command are lists where the call had tuples; as JSON they are the same.
    assert theirs == ours


def test_an_interrupted_run_ends_as_an_undisturbed_one(made, tmp_path):
    out = tmp_path / "heads"
    words = [sys.executable, "-m", "mediakit", "generate", "heads", "--out", str(out), "--count", "4", "--workers", "1"]
    run = subprocess.Popen([*words, *WORDS], env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        limit = time.monotonic() + 60
        while not list(out.rglob("truth/*/*.json")) and time.monotonic() < limit and run.poll() is None:
            time.sleep(0.01)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert list(out.rglob("truth/*/*.json"))
    assert files(out) != files(made)
    generate_clips("heads", out, 4, **LOOK)
    assert files(out) == files(made)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["heads", "--kinds", "face_blend"], "generate heads: face_blend is for the test split only"),
        (["heads", "--kinds", "puppet"], "no kind 'puppet'"),
        (["scenes", "--groups", "99"], "generate scenes: "),
    ],
)
def test_the_command_tells_wrong_values_in_one_line(tmp_path, capsys, words, message):
    out = tmp_path / "out"
    status = main(["generate", *words, "--out", str(out), "-q"])
    error = capsys.readouterr().err
    assert status == 2
    assert message in error
    assert re.fullmatch(r"mediakit: .*\n", error)
    assert not out.exists()


@pytest.mark.parametrize("words", [["puppets", "--out", "x"], ["heads"], ["heads", "--out", "x", "--size", "12"]])
def test_the_command_refuses_wrong_words(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["generate", *words])
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_help_names_every_kind_of_talking_head(capsys):
    with pytest.raises(SystemExit):
        main(["generate", "heads", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"some of {', '.join(KINDS[:6])} and, for the test split only, {', '.join(KINDS[6:])}" in text
