"""Decoded clips on disk, found again by the content of their files and by what decoded them.

A clip is kept at ``FOLDER/SETTINGS/CO/CONTENT-START-END.safetensors``, the record of a file, written last, at
``FOLDER/SETTINGS/records/CO/CONTENT-WINDOWS.json``; names in capitals are digests and milliseconds. So a file that is
moved or renamed is not decoded anew, and one that changes never gives old clips.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mediakit.colorize.clips.decoding import Clip, Window, decode_clips
from mediakit.colorize.sound import RATE
from mediakit.errors import MediaError, MediakitError, require
from mediakit.io import sha256, write_bytes
from mediakit.jobs import do_files, run_jobs
from mediakit.ledger import make_folder, write_json

SCHEMA = "mediakit.clips/1"
_DIGESTS = "digests.json"


@dataclass(frozen=True)
class CachedClip:
    """A clip on disk.

    Attributes:
        file: Holds ``frames`` uint8 (K, 3, h, w) and ``waveform`` int16 (N,), mono at 16 kHz.
        start: Where it begins in its file, in seconds.
        end: Where it was to end.
        last: Where its pictures end.
        colorfulness: Of each frame.
        motion: Largest mean difference from the first picture, in gray levels of 255.
        sound: ``"present"``, ``"silent"``, ``"missing"`` or ``"undecodable"``.
    """

    file: Path
    start: float
    end: float
    last: float
    colorfulness: tuple[float, ...]
    motion: float
    sound: str


@dataclass(frozen=True)
class Wanted:
    """What is wanted of one file: windows, or None for the whole of it."""

    path: str
    windows: tuple[Window, ...] | None = None


@dataclass(frozen=True)
class CachedFile:
    """The clips of one file.

    Attributes:
        digest: SHA-256 of the file.
        clips: Those that have pictures.
        beyond: Windows beyond the last picture.
        warnings: What was wrong with the file.
    """

    digest: str
    clips: tuple[CachedClip, ...]
    beyond: tuple[Window, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class ClipCache:
    """A folder of decoded clips; any number of processes may use one at a time.

    Attributes:
        folder: The folder; made when the first clips are.
        size: Short side of the pictures.
        count: Pictures of a clip.
        seconds: Length of the clips that whole files are cut into.
    """

    folder: Path
    size: int = 256
    count: int = 5
    seconds: float = 10.0
    _digests: dict[str, list[Any]] = field(default_factory=dict, init=False, repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """What the clips depend on, beside their files."""
        return {"schema": SCHEMA, "size": self.size, "count": self.count, "seconds": self.seconds, "rate": RATE}

    @property
    def place(self) -> Path:
        """Folder of all clips made with these settings."""
        return self.folder / hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]

    def digest(self, path: str) -> str:
        """SHA-256 of a file; not computed anew while its size and time of change are the same.

        Raises:
            MediaError: The file cannot be read.
        """
        name = os.path.abspath(path)
        with suppress(OSError):
            status = os.stat(name)
            stamp = [status.st_size, status.st_mtime_ns]
            if self._digests.get(name, [])[:2] != stamp:
                self._digests[name] = [*stamp, sha256(path)]
            return str(self._digests[name][2])
        return sha256(path)  # says what is wrong

    def record_path(self, digest: str, windows: Sequence[Window] | None) -> Path:
        """Where the record of a file lies, or would."""
        spans = "whole" if windows is None else hashlib.sha256(repr(sorted(windows)).encode()).hexdigest()[:16]
        return self.place / "records" / digest[:2] / f"{digest}-{spans}.json"

    def look(self, digest: str, windows: Sequence[Window] | None) -> CachedFile | None:
        """The clips of a file, if all are there."""
        try:
            record = json.loads(self.record_path(digest, windows).read_text("utf-8"))
            return self.unpack(record)
        except (OSError, ValueError, KeyError, TypeError):  # no record, a damaged one, or what it tells of is gone
            return None

    def unpack(self, record: dict[str, Any]) -> CachedFile:
        """A record as it was written, as clips.

        Raises:
            OSError: A clip is gone.
            ValueError: A clip has another size than when it was written.
        """
        clips = []
        for entry in record["clips"]:
            entry = dict(entry)
            file, size = self.place / record["sha256"][:2] / entry.pop("file"), entry.pop("bytes")
            if file.stat().st_size != size:
                raise ValueError(f"{file} was cut off")
            clips.append(CachedClip(file, **{**entry, "colorfulness": tuple(entry["colorfulness"])}))
        beyond = tuple((start, end) for start, end in record["beyond"])
        return CachedFile(record["sha256"], tuple(clips), beyond, tuple(record["warnings"]))

    def remember(self) -> None:
        """Reads the digests that earlier runs computed."""
        with suppress(OSError, ValueError, TypeError):
            self._digests = {**json.loads((self.folder / _DIGESTS).read_text("utf-8")), **self._digests}

    def note(self) -> None:
        """Writes them for later runs.

        Raises:
            MediaError: The folder cannot be written.
        """
        write_json(self.folder / _DIGESTS, self._digests)


@dataclass(frozen=True)
class _Job:
    id: str
    path: str
    windows: tuple[Window, ...] | None
    digest: str
    cache: ClipCache


def fill_cache(
    wanted: Iterable[Wanted],
    cache: ClipCache,
    *,
    workers: int = 1,
    timeout: float | None = None,
    progress: bool = False,
) -> tuple[dict[str, CachedFile], list[tuple[str, str]]]:
    """Decodes all files whose clips the cache does not have yet, in worker processes.

    What is done stays done: a run that is stopped and started again goes on where it was. A file that fails, crashes a
    worker or takes longer than ``timeout`` costs itself alone; the next run tries it again. A script that calls this
    needs the guard ``if __name__ == "__main__":``, because worker processes import it.

    Args:
        wanted: What is wanted of each file, each path once.
        cache: Where the clips go.
        workers: Number of processes. The clips do not depend on it.
        timeout: Seconds after which a file is given up; None for never.
        progress: Whether to show progress with the time left on stderr.

    Returns:
        Clips by path, and path and problem of each file that failed, sorted.

    Raises:
        MediaError: The cache cannot be written.
        MediakitError: The disk is full, or workers cannot be started.
        ValueError: ``workers`` or ``timeout`` is out of range.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    files = list(wanted)
    write_json(cache.place / "settings.json", cache.settings)
    digests, failures = digest_files([file.path for file in files], cache, workers)
    known: dict[str, Any] = {}
    jobs: list[_Job] = []
    for file in files:
        if (digest := digests.get(file.path)) is None:
            continue
        if found := cache.look(digest, file.windows):
            known[file.path] = found
        else:
            plain = ClipCache(cache.folder, cache.size, cache.count, cache.seconds)  # without its memory
            jobs.append(_Job(file.path, file.path, file.windows, digest, plain))
    if jobs:
        with closing(run_jobs(_decode, jobs, workers=workers, timeout=timeout)) as work:
            failures += do_files(work, known, len(files) - len(failures), len(known), "clips", progress)
    return known, sorted(failures)


def digest_files(
    paths: Sequence[str], cache: ClipCache, workers: int = 1
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """SHA-256 of files by path, and path and problem of those that cannot be read; the cache remembers them.

    Raises:
        MediaError: The cache cannot be written.
    """
    make_folder(cache.folder)
    cache.remember()
    found = digest_all(paths, workers, cache.digest)
    cache.note()
    return found


def digest_all(
    paths: Sequence[str], workers: int = 1, digest: Callable[[str], str] = sha256
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """SHA-256 of files by path, and path and problem of those that cannot be read.

    Args:
        paths: The files.
        workers: Number of threads.
        digest: What computes it.
    """

    def look(path: str) -> str | MediaError:
        try:
            return digest(path)
        except MediaError as error:
            return error

    with ThreadPoolExecutor(workers) as threads:  # hashing lets other threads run
        try:
            found = dict(zip(paths, threads.map(look, paths), strict=True))
        except BaseException:
            threads.shutdown(cancel_futures=True)  # else Ctrl-C would wait for all
            raise
    digests = {path: value for path, value in found.items() if isinstance(value, str)}
    return digests, [(path, value.problem) for path, value in found.items() if isinstance(value, MediaError)]


def _decode(job: _Job) -> CachedFile | str:
    """Decodes the clips of one file, in a worker; text if the run as a whole cannot go on."""
    cache = job.cache
    try:
        found = decode_clips(job.path, job.windows, size=cache.size, count=cache.count, seconds=cache.seconds)
    except MediaError as error:
        raise MediakitError(error.problem) from error
    try:
        record = {
            "sha256": job.digest,
            "clips": [_write(clip, job) for clip in found.clips],
            "beyond": found.beyond,
            "warnings": found.warnings,
        }
        write_json(cache.record_path(job.digest, job.windows), record)
    except MediaError as error:  # where one cannot be written, the others cannot
        return str(error)
    return cache.unpack(json.loads(json.dumps(record)))


def _write(clip: Clip, job: _Job) -> dict[str, Any]:
    save = require("safetensors.torch", "The cache of clips", "safetensors").save
    sound = (clip.waveform.clamp(-1, 1) * 32767).round().to(torch.int16)
    data = save({"frames": clip.frames, "waveform": sound})
    name = f"{job.digest}-{round(clip.start * 1000):08d}-{round(clip.end * 1000):08d}.safetensors"
    file = job.cache.place / job.digest[:2] / name
    make_folder(file.parent)
    write_bytes(file, data)
    facts = {key: getattr(clip, key) for key in ("start", "end", "last", "colorfulness", "motion", "sound")}
    return {"file": name, "bytes": len(data), **facts}
