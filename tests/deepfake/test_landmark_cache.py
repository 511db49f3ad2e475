"""The cache of face tracks: found again by content, safe with many users, resumable, honest about failures."""

import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mediakit.deepfake import landmark_cache
from mediakit.deepfake.index import VideoRecord
from mediakit.deepfake.landmark_cache import LandmarkCache, fill_cache
from mediakit.errors import MediaError, MissingPackageError
from mediakit.faces import track_faces
from mediakit.io import write_video
from mediakit.tracks import FaceTrack, FaceTracks

mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
pytestmark = pytest.mark.skipif(not hasattr(mediapipe, "solutions"), reason="this MediaPipe bundles no FaceMesh")


def record(path):
    return VideoRecord(path.stem, path, 0, None, "folder", "real", "", path.stem)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A face, the same film under another name, a film without a face, and one that is no film."""
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("films")
    face = torch.from_numpy(data.astronaut()[:240, 100:340].copy()).permute(2, 0, 1)
    write_video(folder / "face.mp4", [face] * 6, 25, crf=18, preset="ultrafast", threads=1)
    shutil.copy(folder / "face.mp4", folder / "again.mp4")
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (6, 3, 64, 64), np.uint8))
    write_video(folder / "nobody.mp4", noise, 25, preset="ultrafast", threads=1)
    (folder / "text.mp4").write_text("This is no film.")
    return folder


@pytest.fixture(scope="module")
def filled(films, tmp_path_factory):
    """A cache that has been filled, and what failed."""
    cache = LandmarkCache(tmp_path_factory.mktemp("cache") / "new" / "folder")
    return cache, fill_cache([record(path) for path in sorted(films.iterdir())], cache)


@pytest.fixture
def untracked(monkeypatch):
    """No video may be tracked."""

    def refuse(*args, **kwargs):
        raise AssertionError("a video that is known was tracked again")

    monkeypatch.setattr(landmark_cache, "track_faces", refuse)


def equal(one, other):
    return len(one.tracks) == len(other.tracks) and all(
        torch.equal(a.points, b.points) and torch.equal(a.time, b.time)
        for a, b in zip(one.tracks, other.tracks, strict=True)
    )


def test_what_is_cached_is_what_the_tracker_gives(films, filled, untracked):
    cache, _ = filled
    tracks = cache.get(films / "face.mp4")
    assert equal(tracks, track_faces(films / "face.mp4"))
    assert len(tracks.tracks) == 1
    assert equal(cache.get(str(films / "again.mp4")), tracks)
    assert tracks.detector["name"] == "mediapipe.solutions.face_mesh"
    # one file for both names
    assert cache.path(films / "face.mp4") == cache.path(films / "again.mp4")
    assert sorted(path.suffix for path in cache.place.iterdir()) == [".json", ".safetensors", ".safetensors"]


def test_no_face_is_no_failure(films, filled, untracked):
    cache, _ = filled
    tracks = cache.get(films / "nobody.mp4")
    assert tracks.tracks == ()
    assert (tracks.frames, tracks.frames_with_face) == (6, 0)


def test_a_film_that_fails_is_named_and_not_tried_again_in_this_run(films, filled, untracked):
    cache, failures = filled
    ((path, problem),) = failures
    assert path == str(films / "text.mp4")
    with pytest.raises(MediaError, match=r"text\.mp4: "):
        cache.get(films / "text.mp4")
    assert cache.failures == {path: problem}
    assert pickle.loads(pickle.dumps(cache)).failures == cache.failures
    assert LandmarkCache(cache.folder).failures == {}


def test_a_second_run_does_only_what_is_left(films, filled, monkeypatch):
    given = []

    def look(function, items, **options):
        given.extend(job.path for job in items)
        yield from ()

    monkeypatch.setattr(landmark_cache, "run_jobs", look)
    later = LandmarkCache(filled[0].folder)
    assert fill_cache([record(path) for path in films.iterdir()], later) == []
    assert given == [str(films / "text.mp4")]
    given.clear()
    other = LandmarkCache(filled[0].folder, max_faces=2)
    fill_cache([record(films / "face.mp4")], other)
    assert given == [str(films / "face.mp4")]  # another detector's tracks do not count
    assert other.place != later.place


def test_content_counts_not_the_name(films, filled, untracked, tmp_path):
    cache = LandmarkCache(filled[0].folder)
    moved = shutil.copy(films / "face.mp4", tmp_path / "moved.mp4")
    assert len(cache.get(moved).tracks) == 1
    with Path(moved).open("ab") as film:
        film.write(b"\0")
    with pytest.raises(AssertionError, match="tracked again"):
        cache.get(moved)


def test_tracks_without_a_cache_file_are_made_and_kept(films, tmp_path, monkeypatch):
    cache = LandmarkCache(tmp_path / "cache")
    made = cache.get(films / "face.mp4")
    monkeypatch.setattr(landmark_cache, "track_faces", None)
    assert equal(cache.get(films / "face.mp4"), made)


def test_a_damaged_cache_file_is_made_anew(films, tmp_path, monkeypatch):
    cache = LandmarkCache(tmp_path)
    path = cache.path(films / "face.mp4")
    cache.prepare()
    path.write_bytes(b"torn")
    fresh = FaceTracks((), (64, 64), 6, 0, 0, (), {})
    monkeypatch.setattr(landmark_cache, "track_faces", lambda *args, **options: fresh)
    assert cache.get(films / "face.mp4").tracks == ()
    assert FaceTracks.load(path).size == (64, 64)


def test_ready_tracks_are_read_as_they_are(tmp_path, untracked):
    points = torch.rand(5, 478, 3)
    track = FaceTrack(points, torch.ones(5, dtype=torch.bool), torch.arange(5) / 25.0)
    FaceTracks((track,), (64, 64), 5, 5, 0).save(tmp_path / "good.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"torn")
    cache = LandmarkCache(tmp_path / "cache")
    failures = fill_cache([record(path) for path in sorted(tmp_path.glob("*.safetensors"))], cache)
    assert failures == [(str(tmp_path / "bad.safetensors"), "is no file of face tracks")]
    assert torch.equal(cache.get(tmp_path / "good.safetensors").tracks[0].points, points)
    assert not cache.folder.exists()


def test_two_at_once(films, tmp_path, monkeypatch):
    """Both track the same film before either has written it."""
    both = threading.Barrier(2, timeout=20)
    tracks = FaceTracks((), (64, 64), 6, 0, 0, (), {})

    def track(*args, **options):
        both.wait()
        return tracks

    monkeypatch.setattr(landmark_cache, "track_faces", track)
    threads = [threading.Thread(target=LandmarkCache(tmp_path).get, args=[films / "face.mp4"]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both.broken
    (place,) = tmp_path.iterdir()
    assert sorted(path.name[-12:] for path in place.iterdir()) == [".safetensors", "ettings.json"]
    assert LandmarkCache(tmp_path).get(films / "face.mp4").size == (64, 64)


@pytest.mark.slow
def test_two_processes_at_once(films, tmp_path):
    """Two runs that fill one folder do not disturb each other."""
    code = (
        "import sys, pathlib\n"
        "from mediakit.deepfake.index import VideoRecord\n"
        "from mediakit.deepfake.landmark_cache import LandmarkCache, fill_cache\n"
        "if __name__ == '__main__':\n"
        "    paths = sorted(pathlib.Path(sys.argv[1]).iterdir())\n"
        "    records = [VideoRecord(p.stem, p, 0, None, 'folder', 'real', '', p.stem) for p in paths]\n"
        "    print(len(fill_cache(records, LandmarkCache(sys.argv[2]), workers=2)))\n"
    )
    (tmp_path / "run.py").write_text(code)
    command = [sys.executable, str(tmp_path / "run.py"), str(films), str(tmp_path / "cache")]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate(timeout=240)[0].strip() for run in runs] == ["1", "1"]
    cache = LandmarkCache(tmp_path / "cache")
    assert len(list(cache.place.iterdir())) == 3
    assert len(cache.get(films / "face.mp4").tracks) == 1


def test_a_filled_cache_is_read_without_mediapipe(films, filled, untracked, monkeypatch, tmp_path):
    def missing(*args):
        raise MissingPackageError("no mediapipe here")

    monkeypatch.setattr(landmark_cache, "open_detector", missing)
    assert len(LandmarkCache(filled[0].folder).get(films / "face.mp4").tracks) == 1
    for cache in (LandmarkCache(tmp_path), LandmarkCache(filled[0].folder, max_faces=1)):
        with pytest.raises(MissingPackageError):
            cache.get(films / "face.mp4")


def test_a_cache_that_cannot_be_written(films, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot be written"):
        fill_cache([record(films / "face.mp4")], LandmarkCache(tmp_path / "file"))
    with pytest.raises(ValueError, match="workers must be at least 1"):
        fill_cache([], LandmarkCache(tmp_path), workers=0)


def test_only_old_temporary_files_are_swept(films, filled):
    old, new = (filled[0].place / f".{digit * 16}.safetensors" for digit in "0f")
    for path, age in ((old, 7200), (new, 0)):
        path.write_bytes(b"")
        os.utime(path, (time.time() - age,) * 2)
    fill_cache([record(films / "face.mp4")], filled[0])
    assert not old.exists()
    assert new.exists()  # another process may be writing it
    new.unlink()


def test_a_missing_film(filled, tmp_path):
    with pytest.raises(MediaError, match=r"gone\.mp4: does not exist"):
        LandmarkCache(filled[0].folder).get(tmp_path / "gone.mp4")
    cache = LandmarkCache(filled[0].folder)
    assert fill_cache([record(tmp_path / "gone.mp4")], cache) == [(str(tmp_path / "gone.mp4"), "does not exist")]
