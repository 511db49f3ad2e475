"""A folder of films to an audio-visual data set for colorization: in several processes, resumable, and recorded.

Every finished film leaves its clips in ``OUT/videos`` and then, last, a record in ``OUT/.records``. A run that is
killed at any moment and started again ends with the same bytes as one that was left in peace, with any number of
workers.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

from mediakit.colorize.clips.cache import digest_all
from mediakit.colorize.clips.cutting import CutSettings, Piece, clip_name, cut_film
from mediakit.colorize.clips.decoding import NEARLY_GRAY, STILL
from mediakit.colorize.clips.readers import TABLE, check_folder, read_videos
from mediakit.colorize.clips.records import ClipRecord, check_sources, drop_copies, split_sources
from mediakit.colorize.clips.statistics import Clip, statistics_text, summarize
from mediakit.errors import MediaError, MediakitError
from mediakit.io import read_text, write_bytes, write_text
from mediakit.io.files import StrPath
from mediakit.jobs import do_files, run_jobs
from mediakit.ledger import claimed, sweep, versions, write_json

SCHEMA = "mediakit.clip-dataset/1"
_RECORDS = ".records"  # no id is hidden, so nothing in it can take the place of the settings
_SETTINGS = ".settings.json"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other film will fare better


@dataclass(frozen=True)
class Built:
    """How a run went.

    Attributes:
        out: The data set.
        films: Films that are done.
        resumed: How many of them were done before.
        failed: Relative path and problem of each that could not be read.
        statistics: What the data set holds, see `.summarize`.
    """

    out: Path
    films: int
    resumed: int
    failed: tuple[tuple[str, str], ...]
    statistics: dict[str, Any]

    def __str__(self) -> str:
        return statistics_text(self.statistics)


@dataclass(frozen=True)
class _Job:
    id: str
    source: str
    path: str  # relative, with /
    digest: str
    out: str
    settings: CutSettings


def build_clips(
    folder: StrPath,
    out: StrPath,
    *,
    seconds: float = 10.0,
    shortest: float = 2.0,
    min_colorfulness: float = NEARLY_GRAY,
    min_motion: float = STILL,
    size: int | None = None,
    crf: int = 18,
    label_folders: bool = False,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    workers: int = 1,
    timeout: float | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Built:
    """Makes a data set for audio-infused colorization from a folder of films.

    Films are cut at their shots; a shot gives clips of ``seconds``, the last one shorter. Left out and listed are clips
    that are nearly gray, still or silent, shots that are too short, and films that cannot be read, have no sound or are
    copies of others. No film is in two splits, and a film keeps the split that an earlier run gave it. What lies in
    ``out``:

    - ``videos/CLIP.mp4``: the clips, with their sound;
    - ``clips.csv``: clip, video, start, end (seconds in the video), label, split;
    - ``left_out.csv``: video, start, end, problem;
    - ``statistics.txt``, ``statistics.json``.

    Films that earlier runs finished are not cut again as long as their content is the same; what failed is tried again.
    A film that fails, crashes a worker or takes longer than ``timeout`` costs itself alone. The clips of a film that is
    gone stay on the disk, but not in the tables.

    A script that calls this needs the guard ``if __name__ == "__main__":``, because worker processes import it.

    Args:
        folder: The films, also in its sub-folders. Where all lie in ``train``, ``val`` and ``test``, these are the
            splits.
        out: Folder for the data set; made if it is not there.
        seconds: Length of a clip.
        shortest: Least length of a clip.
        min_colorfulness: Mean colourfulness (Hasler and Süsstrunk, 2003) below which a clip is nearly gray.
        min_motion: Largest mean difference from the first picture, in gray levels of 255, below which it is still.
        size: Short side of the pictures in pixels; None keeps that of the film.
        crf: Constant rate factor of H.264, 0 (lossless) to 51.
        label_folders: Whether the folder that a film lies in names its label.
        shares: Train, val and test, by number of films.
        seed: Another one gives another split.
        workers: Number of processes. The clips do not depend on it.
        timeout: Seconds after which a film is given up; None for never.
        overwrite: Replace all that earlier runs left in ``out``.
        progress: Whether to show progress with the time left on stderr.

    Returns:
        What was done, what failed, and what the data set holds.

    Raises:
        MediaError: The folder is missing or holds no films; ``out`` cannot be written, is the folder itself, or is in
            use by another run.
        MediakitError: ``out`` holds clips made otherwise.
        ValueError: An option is out of range.
    """
    folder, out = Path(folder), Path(out)
    settings = _checked(CutSettings(seconds, shortest, min_colorfulness, min_motion, size, crf), workers)
    split_sources([], shares, seed)  # refuses shares that are none before the work
    check_folder(folder)
    if folder.resolve().is_relative_to((out / "videos").resolve()) or folder.resolve() == out.resolve():
        raise MediaError(out, f"cannot take the clips of {folder}: they would lie among the films", "Name another one.")
    films, _ = read_videos(folder, label_folders, avoid=out)
    with claimed(out):
        _settle(out, settings, overwrite)
        paths = {film.id: _relative(film, folder) for film in films}
        contents, unreadable = digest_all([str(film.path) for film in films], workers)
        films, copies = drop_copies(films, contents)
        jobs = [
            _Job(film.id, str(film.path), paths[film.id], contents[str(film.path)], str(out), settings)
            for film in films
            if str(film.path) in contents
        ]
        records = {job.id: found for job in jobs if (found := _finished(job)) is not None}
        resumed = len(records)
        work = run_jobs(_cut, [job for job in jobs if job.id not in records], workers=workers, timeout=timeout)
        try:
            failures = do_files(work, records, len(jobs), resumed, "films", progress)
        finally:
            sweep(out, ("videos", _RECORDS))
        failures += [(Path(path).relative_to(folder).as_posix(), problem) for path, problem in unreadable]
        useless = [(record["path"], record["problem"]) for record in records.values() if record["problem"]]
        failed = sorted([*failures, *useless, *((paths[id], problem) for id, problem in copies)])
        clips = _split(out, films, records, shares, seed)
        statistics = summarize(clips, records, failed)
        _write_tables(out, clips, records, failed)
        write_json(out / "statistics.json", {"schema": SCHEMA, "settings": asdict(settings), **statistics})
        write_text(out / "statistics.txt", statistics_text(statistics) + "\n")
    return Built(out, len(records), resumed, tuple(sorted(failures)), statistics)


def _relative(film: ClipRecord, folder: Path) -> str:
    return film.path.relative_to(folder).as_posix()


def _checked(settings: CutSettings, workers: int) -> CutSettings:
    if not 0 < settings.shortest <= settings.seconds:
        raise ValueError(
            f"need 0 < shortest <= seconds, got shortest={settings.shortest} and seconds={settings.seconds}"
        )
    if settings.min_colorfulness < 0 or settings.min_motion < 0 or not 0 <= settings.crf <= 51:
        raise ValueError("min_colorfulness and min_motion must be 0 or more, crf 0 to 51")
    if settings.size is not None and settings.size < 16:
        raise ValueError(f"size must be at least 16 pixels, got {settings.size}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    return settings


def _settle(out: Path, settings: CutSettings, overwrite: bool) -> None:
    """Writes down how clips are made, or makes sure that those that are there were made alike."""
    file = out / _RECORDS / _SETTINGS
    advice = "Name another folder, or give --overwrite (overwrite=True) to replace all that is there."
    if file.exists() and overwrite:
        for name in (TABLE, "left_out.csv", "statistics.json", "statistics.txt"):
            (out / name).unlink(missing_ok=True)
        for name in ("videos", _RECORDS):  # the records last: without them the rest would be taken for foreign
            shutil.rmtree(out / name, ignore_errors=True)
    if file.exists():
        try:
            there, now = json.loads(file.read_text("utf-8")), asdict(settings)
            different = [f"{key} {there[key]} there, {now[key]} now" for key in now if there[key] != now[key]]
        except (OSError, ValueError, KeyError) as error:
            raise MediaError(file, "is damaged", advice) from error
        if different:
            raise MediakitError(f"{out}: holds clips made otherwise ({'; '.join(different)}). {advice}")
        sweep(out, ("videos", _RECORDS))
    elif (out / "videos").exists() or (out / TABLE).exists():
        raise MediaError(out, "holds clips that are not from `mediakit build-clips`", "Name another folder.")
    else:
        write_json(file, asdict(settings))


def _record_path(job: _Job) -> Path:
    return Path(job.out, _RECORDS, f"{job.id}.json")


def _finished(job: _Job) -> dict[str, Any] | None:
    """The record of a film if it is done: same content, clips of the right size in their places."""
    try:
        record = dict(json.loads(_record_path(job).read_text("utf-8")))
        sizes = {name: Path(job.out, "videos", f"{name}.mp4").stat().st_size for name in record["bytes"]}
        same = (record["path"], record["sha256"], record["bytes"]) == (job.path, job.digest, sizes)
        return record if same else None
    except (OSError, ValueError, KeyError, TypeError):  # no record, a damaged one, or what it tells of is gone
        return None


def _cut(job: _Job) -> dict[str, Any] | str:
    """Cuts one film, in a worker; text if the run as a whole cannot go on."""
    videos = Path(job.out, "videos")
    _forget(job)
    try:
        cut = cut_film(job.source, job.settings, videos, job.id)
        clips = [clip_name(job.id, piece) for piece in cut.pieces if not piece.problem]
        record = {
            "path": job.path,
            "sha256": job.digest,
            "pieces": [asdict(piece) for piece in cut.pieces],
            "bytes": {name: (videos / f"{name}.mp4").stat().st_size for name in clips},
            "problem": cut.problem,
            "warnings": list(cut.warnings),
            "versions": versions(),
        }
        write_json(_record_path(job), record)
        return record
    except MediaError as error:
        _forget(job)
        if getattr(error.__cause__, "errno", None) in _DISK:
            return str(error)
        raise MediakitError(error.problem) from error


def _forget(job: _Job) -> None:
    """Removes the record and the clips of a film."""
    _record_path(job).unlink(missing_ok=True)
    name = Path(job.out, "videos", job.id)
    for path in name.parent.glob(f"{escape(name.name)}-????????.mp4"):
        path.unlink(missing_ok=True)


def _split(
    out: Path, films: Sequence[ClipRecord], records: Mapping[str, dict[str, Any]], shares: Sequence[float], seed: int
) -> list[Clip]:
    """All clips with their splits: those of the folders, or those that earlier runs gave, or new ones."""
    known: dict[str, str] = {}
    with suppress(MediaError, KeyError):
        known = {row["video"]: row["split"] for row in csv.DictReader(read_text(out / TABLE).splitlines())}
    found = []
    for film in films:
        pieces = [Piece(**entry) for entry in records.get(film.id, {}).get("pieces", ())]
        source = records[film.id]["path"] if pieces else ""
        found += [(replace(film, id=clip_name(film.id, p), source=source), p) for p in pieces if not p.problem]
    clips = [record for record, _ in found]
    if any(clip.split is None for clip in clips):
        clips = split_sources(clips, shares, seed, known)
    check_sources(clips)
    return [Clip(clip, piece) for clip, (_, piece) in zip(clips, found, strict=True)]


def _write_tables(
    out: Path, clips: Sequence[Clip], records: Mapping[str, dict[str, Any]], failed: Sequence[tuple[str, str]]
) -> None:
    rows: list[tuple[Any, ...]] = [("clip", "video", "start", "end", "label", "split")]
    for record, piece in clips:
        times = f"{piece.start:.3f}", f"{piece.end:.3f}"
        rows.append((record.id, record.source, *times, record.label or "", record.split))
    left: list[tuple[Any, ...]] = [(path, "", "", problem) for path, problem in failed]
    for found in records.values():
        left += [(found["path"], "", "", text) for text in found["warnings"]]
        left += [
            (found["path"], f"{piece['start']:.3f}", f"{piece['end']:.3f}", piece["problem"])
            for piece in found["pieces"]
            if piece["problem"]
        ]
    for name, table in ((TABLE, rows), ("left_out.csv", [("video", "start", "end", "problem"), *sorted(left)])):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        write_bytes(out / name, text.getvalue().encode("utf-8", "surrogateescape"))  # names may be of any bytes
