"""The memory of a folder of features: a file counts as done only while everything about it is as it was."""

import json
import os

import numpy as np
import pytest

from mediakit.errors import MediaError, MediakitError
from mediakit.io import sha256
from mediakit.ledger import claimed, finished, forget, made_path, settle, sweep, write_manifest, write_record

CARD = {"name": "FrameEncoder(resnet18)", "weights": "none", "seed": 0, "sha256": "ab" * 32}
DESCRIPTION = {"frames": {"encoder": CARD, "rate": 1.0, "dim": 3}}


@pytest.fixture
def done(tmp_path):
    """A folder with one finished file, and what asks whether it is finished."""
    source, out = tmp_path / "film.mp4", tmp_path / "out"
    source.write_bytes(b"pictures")
    out.mkdir()
    settings = settle(out, DESCRIPTION, overwrite=False)
    np.save(made_path(out, "frames", "sub/film"), np.ones((2, 3), np.float32))
    record = {"path": "sub/film.mp4", "bytes": 8, "sha256": sha256(source), "features": {"frames": {"shape": [2, 3]}}}
    write_record(out, "sub/film", record, settings)
    return source, out, settings


def ask(done, path="sub/film.mp4"):
    source, out, settings = done
    return finished(source, path, out, "sub/film", settings)


def test_a_finished_file_has_its_record(done):
    record = ask(done)
    stored = done[1] / "frames" / "sub" / "film.npy"
    assert record["features"]["frames"] == {"shape": [2, 3], "bytes": 152, "sha256": sha256(stored)}
    assert record["versions"]["numpy"] == np.__version__
    assert ask(done, "sub/film.mkv") is None


@pytest.mark.parametrize("change", ["content", "length", "feature", "size", "record", "half a record", "settings"])
def test_whatever_changes_undoes_it(done, change):
    source, out, settings = done
    record, stored = out / ".records" / "sub" / "film.json", out / "frames" / "sub" / "film.npy"
    match change:
        case "content":
            stamp = source.stat()
            source.write_bytes(b"PICTURES")
            os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        case "length":
            source.write_bytes(b"pictures and more")
        case "feature":
            stored.unlink()
        case "size":
            stored.write_bytes(stored.read_bytes()[:-1])
        case "record":
            record.unlink()
        case "half a record":
            record.write_text(record.read_text()[:40])
        case "settings":
            settings = "0" * 64
    assert ask((source, out, settings)) is None


def test_forgetting(done):
    forget(done[1], "sub/film")
    assert ask(done) is None
    assert [p.name for p in done[1].rglob("*") if p.is_file()] == [".settings.json"]
    forget(done[1], "sub/film")


def test_a_renamed_weight_file_is_the_same_encoder(done):
    renamed = {"frames": {**DESCRIPTION["frames"], "encoder": {**CARD, "weights": "mine.pt", "seed": None}}}
    assert settle(done[1], renamed, overwrite=False) == done[2]
    other = {"frames": {**DESCRIPTION["frames"], "encoder": {**CARD, "sha256": "cd" * 32}}}
    with pytest.raises(MediakitError, match=r"made by .*abababab.*, but .*cdcdcdcd.* is expected"):
        settle(done[1], other, overwrite=False)
    assert settle(done[1], other, overwrite=True) != done[2]
    assert not (done[1] / "frames").exists()


def test_sweeping_takes_temporary_files_only(done):
    kept = [done[1] / "frames" / name for name in (".mine.npy", ".0123456789abcdef", "0123456789abcdef.npy")]
    gone = [done[1] / "frames" / "sub" / ".0123456789abcdef.npy", done[1] / ".fedcba9876543210.json"]
    for path in kept + gone:
        path.touch()
    sweep(done[1])
    assert [path.exists() for path in kept + gone] == [True] * 3 + [False] * 2


def test_the_manifest(done):
    out = done[1]
    record = ask(done)
    older = {**record, "versions": {**record["versions"], "torch": "2.6.0"}}
    odd = os.fsdecode(b"caf\xe9.mp4")
    write_manifest(out, DESCRIPTION, {"seed": 0}, {"sub/film": record, "b": older}, [(odd, 'is "odd", very')])
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["versions"]["torch"] == ", ".join(sorted(["2.6.0", record["versions"]["torch"]]))
    assert manifest["gone"] == []
    assert "settings" not in manifest["files"]["b"]
    assert (out / "failures.csv").read_bytes() == b'path,problem\ncaf\xe9.mp4,"is ""odd"", very"\n'
    write_manifest(out, DESCRIPTION, {"seed": 0}, {}, [])
    assert json.loads((out / "manifest.json").read_text())["gone"] == ["sub/film"]
    assert not (out / "failures.csv").exists()


def test_one_process_at_a_time(tmp_path):
    out = tmp_path / "out"
    with claimed(out), pytest.raises(MediaError, match="in use: another process"), claimed(out):
        pass
    with claimed(tmp_path / "out"):
        pass


def test_a_manifest_of_others_is_left_alone(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(MediakitError, match=r"manifest\.json: is there already, and not from `mediakit extract`"):
            settle(tmp_path, DESCRIPTION, overwrite=overwrite)
    assert (tmp_path / "manifest.json").read_text() == "{}"
