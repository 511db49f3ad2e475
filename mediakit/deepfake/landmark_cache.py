"""Face tracks on disk, found again by the content of the video and by what tracked it.

A file is kept at ``FOLDER/SETTINGS/CONTENT.safetensors``, both names being SHA-256 digests, so a video that is moved,
renamed or copied is not tracked anew, and one that changes, or another detector, never gives old tracks.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mediakit.deepfake.index.records import VideoRecord
from mediakit.errors import MediaError, MediakitError, MissingPackageError
from mediakit.faces import open_detector, track_faces
from mediakit.io import sha256
from mediakit.io.files import StrPath
from mediakit.jobs import JobError, do_files, run_jobs
from mediakit.ledger import make_folder, write_json
from mediakit.tracks import FORMAT, FaceTracks

TRACKS = ".safetensors"
_SETTINGS = "settings.json"
_STALE = 3600.0  # seconds: no write takes as long, so a temporary file of that age has lost its writer


class LandmarkCache:
    """Gives the face tracks of videos: from disk where they are known, else by tracking, and then they are known.

    Any number of processes may use one folder at a time: files appear whole or not at all, and two that track the same
    video write the same bytes. An object may be sent to other processes.

    Args:
        folder: Where the tracks are kept; made when the first ones are.
        face_model: A ``face_landmarker.task`` file, where MediaPipe bundles no model.
        max_faces: Most faces looked for in a frame.
        min_confidence: Least confidence in [0, 1].
        min_duration: Tracks shorter than this many seconds are dropped.
        denoise: Also run the flow filter of `mediakit.denoise`, which measures how the flow fails, too.

    Attributes:
        failures: What went wrong by path, in this run only: `get` does not try these videos again.
    """

    def __init__(
        self,
        folder: StrPath,
        face_model: str | None = None,
        max_faces: int = 4,
        min_confidence: float = 0.5,
        min_duration: float = 0.2,
        denoise: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.options: dict[str, Any] = {
            "model": face_model,
            "max_faces": max_faces,
            "min_confidence": min_confidence,
            "min_duration": min_duration,
            "denoise": denoise,
        }
        self.failures: dict[str, str] = {}
        self._digests: dict[tuple[str, int, int], str] = {}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What tracks: the detector's card and the options, as plain values.

        Where MediaPipe is missing, those that the folder has for these options: a filled cache can be read anywhere.

        Raises:
            MissingPackageError: MediaPipe is not installed, and the folder does not tell.
            WeightsError: No face model is at hand.
        """
        model, options = self.options["model"], {k: v for k, v in self.options.items() if k != "model"}
        try:
            detector = open_detector(model, options["max_faces"], options["min_confidence"])
        except MissingPackageError:
            stored = [json.loads(path.read_text("utf-8")) for path in sorted(self.folder.glob(f"*/{_SETTINGS}"))]
            known = [settings for settings in stored if options.items() <= settings.items()]
            if len(known) != 1:
                raise
            return dict(known[0])
        detector.close()
        return {"format": FORMAT, **detector.card, **options}

    @cached_property
    def place(self) -> Path:
        """Folder of all tracks made with these settings."""
        return self.folder / hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]

    def path(self, video: StrPath) -> Path:
        """Where the tracks of a video lie, or would: of ready tracks (``.safetensors``) the file itself.

        Raises:
            MediaError: The video cannot be read.
        """
        video = Path(video)
        if video.suffix.lower() == TRACKS:
            return video
        try:
            status = video.stat()
            key = str(video), status.st_size, status.st_mtime_ns
        except OSError:
            key = str(video), -1, -1  # sha256 says what is wrong
        if key not in self._digests:
            self._digests[key] = sha256(video)
        return self.place / f"{self._digests[key]}{TRACKS}"

    def get(self, video: StrPath) -> FaceTracks:
        """Face tracks of a video; no face at all is no error but empty tracks.

        Args:
            video: A video, or ready tracks (``.safetensors``).

        Raises:
            MediaError: The video cannot be read or holds no pictures, or failed before in this run; the tracks cannot
                be written.
            MissingPackageError: The tracks are not there, and MediaPipe is not installed.
            WeightsError: No face model is at hand.
        """
        if problem := self.failures.get(str(Path(video))):
            raise MediaError(video, problem)
        path = self.path(video)
        if path == Path(video):
            return FaceTracks.load(path)
        with suppress(MediaError):  # what a failing disk has damaged is made anew
            return FaceTracks.load(path)
        tracks = track_faces(video, **self.options)
        self.prepare()
        tracks.save(path)
        return tracks

    def prepare(self) -> None:
        """Makes the folder of these settings and writes them down there.

        Raises:
            MediaError: It cannot be written.
        """
        make_folder(self.place)
        if not (self.place / _SETTINGS).exists():
            write_json(self.place / _SETTINGS, self.settings)


@dataclass(frozen=True)
class _Job:
    id: str
    path: str
    target: str
    options: dict[str, Any]


def fill_cache(
    records: Iterable[VideoRecord],
    cache: LandmarkCache,
    *,
    workers: int = 1,
    timeout: float | None = None,
    progress: bool = False,
) -> list[tuple[str, str]]:
    """Tracks all videos that the cache does not know yet, in worker processes.

    What is done stays done: a run that is stopped and started again goes on where it was. A video that fails, crashes a
    worker or takes longer than ``timeout`` costs itself alone: it is named, `LandmarkCache.get` refuses it in this run,
    and the next run tries it again. A script that calls this needs the guard ``if __name__ == "__main__":``, because
    worker processes import it.

    Args:
        records: The videos; ready tracks among them are only checked.
        cache: Where the tracks go.
        workers: Number of processes. The tracks do not depend on it.
        timeout: Seconds after which a video is given up; None for never.
        progress: Whether to show progress with the time left on stderr.

    Returns:
        Path and problem of each video that failed, sorted.

    Raises:
        MediaError: The cache cannot be written.
        MediakitError: The disk is full, or workers cannot be started.
        MissingPackageError: Videos are not tracked yet, and MediaPipe is not installed.
        WeightsError: No face model is at hand.
        ValueError: ``workers`` or ``timeout`` is out of range.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    paths = list(dict.fromkeys(str(record.path) for record in records))
    cache.failures = {path: problem for path, problem in cache.failures.items() if path not in paths}  # tried again
    if any(not path.lower().endswith(TRACKS) for path in paths):
        cache.prepare()
    looked = dict(zip(paths, _look(paths, cache, workers), strict=True))
    known: dict[str, Any] = {path: True for path, found in looked.items() if found is None}
    jobs = [_Job(path, path, str(to), cache.options) for path, to in looked.items() if isinstance(to, Path)]
    unreadable = [(_Job(path, path, "", {}), found) for path, found in looked.items() if isinstance(found, JobError)]
    with closing(run_jobs(_track, jobs, workers=workers, timeout=timeout)) as work:
        try:
            failures = do_files(_chain(unreadable, work), known, len(paths), len(known), "videos", progress)
        finally:
            _sweep(cache.folder)
    cache.failures |= dict(failures)
    return failures


def _look(paths: list[str], cache: LandmarkCache, workers: int) -> list[Path | JobError | None]:
    """Of each video the file that its tracks are to go to; None if they are there."""

    def look(path: str) -> Path | JobError | None:
        try:
            target = cache.path(path)
            if str(target) == path:
                FaceTracks.load(target)
            return None if target.is_file() else target
        except MediaError as error:
            return JobError(error.problem)

    with ThreadPoolExecutor(workers) as threads:  # hashing lets other threads run
        try:
            return list(threads.map(look, paths))
        except BaseException:
            threads.shutdown(cancel_futures=True)  # else Ctrl-C would wait for all
            raise


def _chain(first: list[tuple[_Job, JobError]], work: Iterable[tuple[_Job, Any]]) -> Generator[tuple[_Job, Any]]:
    yield from first
    yield from work


def _track(job: _Job) -> bool | str:
    """Tracks one video, in a worker; text if the run as a whole cannot go on."""
    if Path(job.target).is_file():  # the same film under another name, or another process was faster
        return True
    try:
        tracks = track_faces(job.path, **job.options)
    except MediaError as error:
        raise MediakitError(error.problem) from error
    try:
        tracks.save(job.target)
    except MediaError as error:  # where one cannot be written, the others cannot
        return str(error)
    return True


def _sweep(folder: Path) -> None:
    """Removes temporary files of workers that were stopped, but none that another process may be writing."""
    for path in folder.glob(f"*/.*{TRACKS}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE:
                path.unlink()
