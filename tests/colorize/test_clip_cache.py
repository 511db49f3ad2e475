import json
import os

import pytest
import torch
from little_films import film, tone
from safetensors.torch import load_file

from mediakit.colorize.clips import cache as cache_module
from mediakit.colorize.clips.cache import ClipCache, Wanted, digest_files, fill_cache
from mediakit.colorize.clips.decoding import decode_clips
from mediakit.jobs import JobError


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    film(folder / "a.mp4", ("red", 3), sound=tone(3.0))
    film(folder / "b.mp4", ("blue", 2))
    (folder / "broken.mp4").write_bytes(b"\0" * 1000)
    return folder


@pytest.fixture
def at_once(monkeypatch):
    """Jobs run in this process; returns the paths that were decoded."""
    done = []

    def run(function, items, **options):
        for item in items:
            done.append(os.path.basename(item.path))
            try:
                yield item, function(item)
            except Exception as error:
                yield item, JobError(str(error))

    monkeypatch.setattr(cache_module, "run_jobs", run)
    return done


def wanted(films):
    return [Wanted(str(films / name)) for name in ("a.mp4", "b.mp4", "broken.mp4", "gone.mp4")]


def test_clips_come_back_as_they_were_decoded(films, tmp_path):
    cache = ClipCache(tmp_path / "cache", size=24, count=3, seconds=1.5)
    found, failures = fill_cache(wanted(films), cache, workers=2)
    assert [path for path, _ in failures] == [str(films / "broken.mp4"), str(films / "gone.mp4")]
    assert failures[1][1] == "does not exist"
    direct = decode_clips(films / "a.mp4", size=24, count=3, seconds=1.5).clips
    kept = found[str(films / "a.mp4")].clips
    assert len(kept) == len(direct) == 2
    for one, other in zip(kept, direct, strict=True):
        tensors = load_file(one.file)
        assert torch.equal(tensors["frames"], other.frames)
        assert (tensors["waveform"] / 32767 - other.waveform.clamp(-1, 1)).abs().max() < 1 / 65000
        names = ("start", "end", "last", "colorfulness", "motion", "sound")
        assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
    assert found[str(films / "b.mp4")].clips[0].sound == "missing"


def test_a_second_run_decodes_what_is_missing_and_no_more(films, tmp_path, at_once):
    cache = ClipCache(tmp_path, size=16, count=1)
    first, _ = fill_cache(wanted(films), cache)
    assert sorted(at_once) == ["a.mp4", "b.mp4", "broken.mp4"]
    at_once.clear()
    again, _ = fill_cache(wanted(films), ClipCache(tmp_path, size=16, count=1))
    assert at_once == ["broken.mp4"]  # what failed is tried again
    assert again == first
    at_once.clear()
    first[str(films / "a.mp4")].clips[0].file.write_bytes(b"cut off")
    mended, _ = fill_cache(wanted(films)[:2], ClipCache(tmp_path, size=16, count=1))
    assert at_once == ["a.mp4"]
    assert mended == {path: first[path] for path in mended}


def test_other_settings_windows_and_contents_are_other_clips(films, tmp_path, at_once):
    path = str(films / "a.mp4")
    sizes = [fill_cache([Wanted(path)], ClipCache(tmp_path, size=size))[0][path].clips[0].file for size in (16, 24)]
    assert sizes[0].parent.parent != sizes[1].parent.parent
    windows = fill_cache([Wanted(path, ((0.5, 1.0), (1.0, 2.0)))], ClipCache(tmp_path, size=16))[0][path]
    assert [(clip.start, clip.end) for clip in windows.clips] == [(0.5, 1.0), (1.0, 2.0)]
    assert at_once == ["a.mp4"] * 3


def test_a_moved_film_is_found_by_its_content(films, tmp_path, at_once):
    cache = ClipCache(tmp_path / "cache", size=16)
    fill_cache([Wanted(str(films / "a.mp4"))], cache)
    at_once.clear()
    moved = tmp_path / "moved.mp4"
    moved.write_bytes((films / "a.mp4").read_bytes())
    found, _ = fill_cache([Wanted(str(moved))], cache)
    assert found[str(moved)].clips
    assert at_once == []
    moved.write_bytes((films / "b.mp4").read_bytes())
    changed, _ = fill_cache([Wanted(str(moved))], cache)
    assert changed[str(moved)].digest != found[str(moved)].digest


def test_contents_are_hashed_once(films, tmp_path, monkeypatch):
    path = str(films / "a.mp4")
    known, problems = digest_files([path, str(films / "gone.mp4")], ClipCache(tmp_path))
    assert problems == [(str(films / "gone.mp4"), "does not exist")]
    monkeypatch.setattr(cache_module, "sha256", lambda path: pytest.fail("hashed again"))
    assert digest_files([path], ClipCache(tmp_path)) == (known, [])


def test_records_hold_no_absolute_paths(films, tmp_path, at_once):
    fill_cache([Wanted(str(films / "a.mp4"))], ClipCache(tmp_path, size=16))
    (record,) = tmp_path.glob("*/records/*/*.json")
    assert str(films) not in record.read_text()
    assert json.loads(record.read_text())["clips"][0]["sound"] == "present"


def test_workers_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="workers must be at least 1"):
        fill_cache([], ClipCache(tmp_path), workers=0)
