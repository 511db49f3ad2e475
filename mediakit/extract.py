"""A folder of media files to a folder of features: in several processes, resumable, and recorded in a manifest.

Every finished file leaves its features and then, last, a small record in ``OUT/.records``. A run that is killed at any
moment and started again ends with the same bytes as one that was left in peace, with any number of workers.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mediakit.encoders import AudioEncoder, ClipEncoder, FrameEncoder
from mediakit.errors import MediaError, MediakitError
from mediakit.features import ENDINGS
from mediakit.io import atomic_path, sha256
from mediakit.io.files import StrPath
from mediakit.jobs import do_files, run_jobs
from mediakit.ledger import claimed, finished, forget, made_path, settle, sweep, write_manifest, write_record
from mediakit.onepass import Encoders, extract_file

FEATURES = tuple(ENDINGS)

DEFAULT_ENCODERS: dict[str, tuple[str, str | None]] = {
    "audio": ("reference", "pretrained"),
    "frames": ("reference", "pretrained"),
    "clips": ("reference", "pretrained"),
}
"""Model and weights where no model is named: small networks whose weights come with the package."""

# fmt: off
MEDIA_ENDINGS = (
    ".3gp", ".aac", ".aif", ".aiff", ".asf", ".avi", ".flac", ".flv", ".m2ts", ".m4a", ".m4v", ".mkv", ".mov", ".mp3",
    ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".oga", ".ogg", ".ogv", ".opus", ".ts", ".vob", ".wav", ".webm", ".wma",
    ".wmv",
)
# fmt: on

_ENCODERS = {"audio": AudioEncoder, "frames": FrameEncoder, "clips": ClipEncoder}
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other file will fare better


@dataclass(frozen=True)
class Extraction:
    """How a run went.

    Attributes:
        out: The folder of features.
        done: Files whose features are there now.
        resumed: How many of them were there before.
        failed: Relative path and problem of each file that could not be used.
        skipped: Files that are not media by their ending.
    """

    out: Path
    done: int
    resumed: int
    failed: tuple[tuple[str, str], ...]
    skipped: int


@dataclass(frozen=True)
class _Settings:
    features: tuple[str, ...]
    models: tuple[tuple[str, str, str | None], ...]  # feature, model, weights
    seed: int
    frame_rate: float
    face_model: str | None
    max_faces: int


@dataclass(frozen=True)
class _Job:
    source: str
    path: str  # relative, with /
    id: str
    out: str
    settings: _Settings
    fingerprint: str
    use_damaged: bool


def extract_folder(
    folder: StrPath,
    out: StrPath,
    *,
    features: Sequence[str] = FEATURES,
    audio_model: str | None = None,
    audio_weights: str | None = None,
    frame_model: str | None = None,
    frame_weights: str | None = None,
    clip_model: str | None = None,
    clip_weights: str | None = None,
    seed: int = 0,
    frame_rate: float = 1.0,
    face_model: str | None = None,
    max_faces: int = 4,
    workers: int = 1,
    timeout: float | None = None,
    overwrite: bool = False,
    use_damaged: bool = False,
    progress: bool = False,
) -> Extraction:
    """Makes features of all media files in a folder and its sub-folders; see `mediakit.onepass.extract_file`.

    A file's id is its path inside the folder without its ending; files that differ by their ending alone keep it.
    Hidden files and folders are passed over, links to files are followed, links to folders are not. ``out`` may lie
    inside the folder: it is left out.

    Files that earlier runs finished are not done again, as long as their content, the settings and the encoders are the
    same; files that failed are tried again. If a source is gone, its features stay on disk, but the manifest lists its
    id under ``gone`` instead of among the files. A file that fails, crashes a worker or takes longer than ``timeout``
    costs itself alone: it is named in the summary, in ``manifest.json`` and in ``failures.csv``.

    A script that calls this needs the guard ``if __name__ == "__main__":``, because worker processes import it.

    Args:
        folder: The media files.
        out: Folder for the features (``audio/ID.npy``, ``frames/ID.npy``, ``clips/ID.npy``, ``faces/ID.safetensors``);
            made if it is not there.
        features: Which of audio, frames, clips, faces.
        audio_model: Network of `.AudioEncoder`; None for the reference network with its weights.
        audio_weights: Its weights: ``"pretrained"``, a tag or a file; None for random ones where a network is named.
        frame_model: Network of `.FrameEncoder`.
        frame_weights: Its weights.
        clip_model: Network of `.ClipEncoder`.
        clip_weights: Its weights.
        seed: Seed of random weights.
        frame_rate: Frames per second for the frame encoder.
        face_model: A ``face_landmarker.task`` file, where MediaPipe bundles no model.
        max_faces: Most faces looked for in a frame.
        workers: Number of processes. The features do not depend on it.
        timeout: Seconds after which a file is given up; None for never.
        overwrite: Replace all that earlier runs left in ``out``, whatever made it.
        use_damaged: Take what is intact of a damaged file (silence for lost sound, the last picture for lost pictures;
            fewer seconds, if its end is missing) and note that in the manifest; else it counts as failed.
        progress: Whether to show progress with the time left on stderr.

    Returns:
        What was done, and what failed.

    Raises:
        MediaError: The folder is missing or holds no media; ``out`` cannot be written, is the folder itself, or is in
            use by another run.
        MediakitError: ``out`` holds features of other encoders or settings, or an encoder cannot be built.
        ValueError: An option is out of range.
    """
    folder, out = Path(folder), Path(out)
    chosen = {"audio": (audio_model, audio_weights), "frames": (frame_model, frame_weights)}
    chosen["clips"] = (clip_model, clip_weights)
    settings = _checked(features, chosen, seed, frame_rate, face_model, max_faces)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    _check_places(folder, out)
    sources, skipped = find_media(folder, out)
    with claimed(out):
        description = _describe(settings)
        fingerprint = settle(out, description, overwrite)
        jobs = [
            _Job(str(folder / path), path, id, str(out), settings, fingerprint, use_damaged)
            for id, path in sorted(sources.items())
        ]
        records = _known(jobs, workers, progress)
        resumed = len(records)
        work = run_jobs(
            _extract,
            [job for job in jobs if job.id not in records],
            workers=workers,
            timeout=timeout,
            initializer=_encoders,
            initargs=(settings,),
        )
        try:
            failures = do_files(work, records, len(jobs), resumed, "files", progress)
        finally:
            sweep(out)  # workers that were stopped
        told = {"features": settings.features, "frame_rate": settings.frame_rate, "seed": seed, "max_faces": max_faces}
        write_manifest(out, description, told, records, failures)
    return Extraction(out, len(records), resumed, tuple(failures), skipped)


def find_media(
    folder: StrPath, out: StrPath | None = None, endings: Sequence[str] = MEDIA_ENDINGS
) -> tuple[dict[str, str], int]:
    """Finds the media files in a folder by their endings.

    Args:
        folder: The folder.
        out: A folder to leave out.
        endings: Of the files that are wanted, in lower case.

    Returns:
        Relative path (with ``/``) by id, and how many other files there are.

    Raises:
        MediaError: The folder cannot be listed or holds no media files.
    """
    folder = Path(folder)
    paths, others = [], 0
    avoided = None if out is None else Path(out).resolve()

    def complain(error: OSError) -> None:
        raise MediaError(error.filename, f"cannot be listed ({error.strerror})", "Change its permissions.") from error

    for place, folders, files in os.walk(folder, onerror=complain):
        folders[:] = [f for f in folders if not f.startswith(".") and Path(place, f).resolve() != avoided]
        for name in files:
            if not name.startswith("."):
                if Path(name).suffix.lower() in endings:
                    paths.append(Path(place, name).relative_to(folder))
                else:
                    others += 1
    if not paths:
        raise MediaError(folder, f"holds no media files ({others} others)", f"Known endings: {' '.join(endings)}.")
    names = {path.as_posix(): path.with_suffix("").as_posix() for path in paths}
    while clashes := {id for id, count in Counter(names.values()).items() if count > 1}:
        names = {path: path if id in clashes else id for path, id in names.items()}
    return {id: path for path, id in names.items()}, others


def _checked(
    features: Sequence[str],
    chosen: dict[str, tuple[str | None, str | None]],
    seed: int,
    frame_rate: float,
    face_model: str | None,
    max_faces: int,
) -> _Settings:
    if isinstance(features, str) or not features or not set(features) <= set(FEATURES):
        raise ValueError(f"features must be some of {', '.join(FEATURES)}, got {features!r}")
    if not 0 < frame_rate <= 1000:
        raise ValueError(f"frame_rate must be positive and at most 1000, got {frame_rate}")
    wanted = tuple(name for name in FEATURES if name in features)
    models = []
    for name in (n for n in wanted if n in chosen):
        model, weights = chosen[name]
        default, its_weights = DEFAULT_ENCODERS[name]
        models.append((name, model or default, its_weights if model is None and weights is None else weights))
    return _Settings(wanted, tuple(models), seed, float(frame_rate), face_model, max_faces)


def _check_places(folder: Path, out: Path) -> None:
    if not folder.is_dir():
        raise MediaError(folder, "is not a folder" if folder.exists() else "does not exist", "Name a folder of videos.")
    source, target = folder.resolve(), out.resolve()
    if source == target or any(source.is_relative_to(target / name) for name in FEATURES):
        raise MediaError(
            out, f"cannot take features of {folder}: they would lie among the videos", "Name another folder."
        )


@lru_cache(maxsize=1)
def _encoders(settings: _Settings) -> Encoders:
    built: dict[str, Any] = {}
    for name, model, weights in settings.models:
        built[name] = _ENCODERS[name](model, weights=weights, seed=settings.seed)
    return Encoders(**built)


def _describe(settings: _Settings) -> dict[str, Any]:
    """What makes each feature, as plain values; fails here if an encoder or the face model cannot be had."""
    encoders, rates = _encoders(settings), {"audio": 1.0, "frames": settings.frame_rate, "clips": 1.0}
    described: dict[str, Any] = {}
    for name, _, _ in settings.models:
        encoder = getattr(encoders, name)
        described[name] = {"encoder": encoder.card(), "rate": rates[name], "dim": encoder.dim}
    _encoders.cache_clear()  # this process only needs their cards
    if "faces" in settings.features:
        from mediakit.faces import open_detector

        detector = open_detector(settings.face_model, settings.max_faces)
        detector.close()
        described["faces"] = {"encoder": detector.card}
    return described


def _known(jobs: list[_Job], workers: int, progress: bool) -> dict[str, dict[str, Any]]:
    """The records of the files that earlier runs finished."""
    from tqdm import tqdm

    records = {}

    def look(job: _Job) -> dict[str, Any] | None:
        record = finished(Path(job.source), job.path, Path(job.out), job.id, job.fingerprint)
        return None if record and record["warnings"] and not job.use_damaged else record

    with ThreadPoolExecutor(workers) as threads:  # hashing lets other threads run
        try:
            found = threads.map(look, jobs)
            bar = tqdm(found, "earlier runs", len(jobs), unit=" files", disable=not progress, leave=False)
            for job, record in zip(jobs, bar, strict=True):
                if record is not None:
                    records[job.id] = record
        except BaseException:
            threads.shutdown(cancel_futures=True)  # else Ctrl-C would wait for all
            raise
    return records


def _extract(job: _Job) -> dict[str, Any] | str:
    """Makes and records the features of one file, in a worker; text if the run as a whole cannot go on."""
    source, out, settings = Path(job.source), Path(job.out), job.settings
    forget(out, job.id)
    try:
        record: dict[str, Any] = {"path": job.path, "sha256": sha256(source), "bytes": source.stat().st_size}
        found = extract_file(
            source,
            _encoders(settings),
            frame_rate=settings.frame_rate,
            faces="faces" in settings.features,
            face_model=settings.face_model,
            max_faces=settings.max_faces,
        )
    except MediaError as error:
        raise MediakitError(error.problem) from error
    told = [text.removeprefix(f"{source}: ").removesuffix(" What is intact was used.") for text in found.warnings]
    if told and not job.use_damaged:
        raise MediakitError(f"{told[0]} Use what is intact with --use-damaged (use_damaged=True).")
    record |= {"warnings": told, "seconds": found.seconds, "absent": found.absent, "features": {}}
    try:
        for name, array in found.arrays.items():
            record["features"][name] = {"shape": list(array.shape)}
            with atomic_path(made_path(out, name, job.id)) as temporary, temporary.open("wb") as file:
                np.save(file, array)
        if found.faces is not None:
            record["features"]["faces"] = {"tracks": len(found.faces.tracks)}
            found.faces.save(made_path(out, "faces", job.id))
        return write_record(out, job.id, record, job.fingerprint)
    except MediaError as error:
        if getattr(error.__cause__, "errno", None) in _DISK:
            return str(error)
        raise MediakitError(f"its features: {error.problem}") from error
