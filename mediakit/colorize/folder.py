"""A folder of pictures and films in colours: in worker processes, resumable, and recorded."""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mediakit import __version__
from mediakit.colorize.clips.decoding import PHOTO_ENDINGS
from mediakit.colorize.image import Colorizer, describe, load_colorizer
from mediakit.colorize.predict import DEFAULTS, Options, colorize_file, kind_of, output_name
from mediakit.colorize.preview import model_facts, render, small_pair
from mediakit.colorize.result import SCHEMA, notice
from mediakit.errors import MediaError, MediakitError
from mediakit.extract import MEDIA_ENDINGS, find_media
from mediakit.io import check_readable, sha256, write_text
from mediakit.io.files import StrPath
from mediakit.jobs import do_files, run_jobs
from mediakit.ledger import claimed, make_folder, sweep, write_json

MANIFEST, PREVIEW = "colorize.json", "colorize.html"
"""What lies in the folder beside the coloured files."""
SHOWN = 24
"""Files on the preview page."""
_RECORDS = ".records"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other file will fare better
_SOUND_ENDINGS = (".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma")


@dataclass(frozen=True)
class FolderColoring:
    """How a run went.

    Attributes:
        out: The folder of coloured files.
        done: Files that are there now.
        resumed: How many of them were there before.
        failed: Relative path and problem of each that could not be coloured.
        skipped: Files that are neither pictures nor films by their ending.
        preview: The page; None where none was asked for.
    """

    out: Path
    done: int
    resumed: int
    failed: tuple[tuple[str, str], ...]
    skipped: int
    preview: Path | None


@dataclass(frozen=True)
class _Job:
    id: str
    path: str  # relative, with /
    folder: str
    out: str
    checkpoint: str
    device: str
    options: Options
    settings: str
    overwrite: bool


def colorize_folder(
    folder: StrPath,
    out: StrPath,
    checkpoint: StrPath,
    options: Options = DEFAULTS,
    *,
    device: str = "cpu",
    workers: int = 1,
    timeout: float | None = None,
    overwrite: bool = False,
    preview: bool = False,
    progress: bool = False,
) -> FolderColoring:
    """Colours all pictures and films in a folder and its sub-folders.

    Each keeps its place and its name; what is in a format that is not written gets one more ending (``old.gif.png``).
    ``colorize.json`` in ``out`` says what was done with each. Files that earlier runs finished are not done again as
    long as their content, the model and the options are the same. A file that fails, crashes a worker or takes longer
    than ``timeout`` costs itself alone.

    A script that calls this needs the guard ``if __name__ == "__main__":``, because worker processes import it.

    Args:
        folder: The files.
        out: Folder for the coloured ones; made if it is not there.
        checkpoint: Of a `.ColorizeModule`; each worker loads it once.
        options: How files are coloured.
        device: Where the networks go.
        workers: Number of processes.
        timeout: Seconds after which a file is given up; None for never.
        overwrite: Colour all anew, and replace files in ``out`` that are not from here.
        preview: Whether to write a page with the first files before and after, too.
        progress: Whether to show progress with the time left on stderr.

    Returns:
        What was done, and what failed.

    Raises:
        MediaError: The folder is missing or holds nothing to colour; ``out`` cannot be written, is the folder itself,
            or is in use by another run.
        WeightsError: ``checkpoint`` is no colorizer.
        ValueError: An option is out of range.
    """
    folder, out = Path(folder), Path(out)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if not folder.is_dir():
        raise MediaError(folder, "is not a folder" if folder.exists() else "does not exist", "Name a folder.")
    if folder.resolve() == out.resolve():
        raise MediaError(out, "is the folder of the originals, which stay as they are", "Name another one.")
    endings = [ending for ending in (*PHOTO_ENDINGS, *MEDIA_ENDINGS) if ending not in _SOUND_ENDINGS]
    sources, skipped = find_media(folder, out, endings)
    model = describe(load_colorizer(checkpoint, device), checkpoint)
    if options.guide is not None:
        model["guide_sha256"] = sha256(check_readable(options.guide))
    asked = {"model": model, "options": {k: v for k, v in asdict(options).items() if k != "guide"}}
    settings = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    with claimed(out):
        jobs = [
            _Job(id, path, str(folder), str(out), str(checkpoint), device, options, settings, overwrite)
            for id, path in sorted(sources.items())
        ]
        records = {} if overwrite else {job.id: found for job in jobs if (found := _finished(job)) is not None}
        resumed = len(records)
        work = run_jobs(_colorize, [job for job in jobs if job.id not in records], workers=workers, timeout=timeout)
        try:
            failures = do_files(work, records, len(jobs), resumed, "files", progress)
        finally:
            sweep(out, {_RECORDS, *(job.path.partition("/")[0] for job in jobs if "/" in job.path)})
        files = {record["path"]: record for record in records.values()}
        told = [{"path": path, "problem": problem} for path, problem in failures]
        manifest = {"schema": SCHEMA, "kind": "folder", "version": __version__, **asked, "files": files}
        write_json(out / MANIFEST, {**manifest, "failures": told})
        if preview:
            write_text(out / PREVIEW, _page(folder, out, files, failures, model))
    return FolderColoring(out, len(records), resumed, tuple(failures), skipped, out / PREVIEW if preview else None)


def _record_path(job: _Job) -> Path:
    return Path(job.out, _RECORDS, f"{job.path}.json")


def _finished(job: _Job) -> dict[str, Any] | None:
    """The record of a file that is done: same content and settings, and the coloured file in its place."""
    try:
        record = dict(json.loads(_record_path(job).read_text("utf-8")))
        done = Path(job.out, record["out"]).stat().st_size == record["bytes"] and record["settings"] == job.settings
        return record if done and record["source"] == sha256(Path(job.folder, job.path)) else None
    except (OSError, ValueError, KeyError, TypeError, MediaError):  # no record, or what it tells of is gone
        return None


@lru_cache(maxsize=1)
def _model(checkpoint: str, device: str) -> tuple[Colorizer, dict[str, Any]]:
    module = load_colorizer(checkpoint, device)
    return module, describe(module, checkpoint)


def _colorize(job: _Job) -> dict[str, Any] | str:
    """Colours and records one file, in a worker; text if the run as a whole cannot go on."""
    source = Path(job.folder, job.path)
    try:
        digest, name = sha256(source), output_name(job.path, kind_of(source), job.options.bits)
        target = Path(job.out, name)
        if target.exists() and not _record_path(job).exists() and not job.overwrite:
            raise MediaError(target, "is there already, and not from `mediakit colorize`", "Name another folder.")
        make_folder(target.parent)
        module, model = _model(job.checkpoint, job.device)
        result = colorize_file(module, source, target, job.options, model=model).to_dict()
        record = {
            "path": job.path,
            "out": name,
            "bytes": target.stat().st_size,
            "source": digest,
            "settings": job.settings,
            "result": {key: value for key, value in result.items() if key not in ("model", "schema", "version")},
        }
        write_json(_record_path(job), record)
        return record
    except MediaError as error:
        if getattr(error.__cause__, "errno", None) in _DISK:
            return str(error)
        raise MediakitError(str(error).removeprefix(f"{source}: ")) from error


def _page(
    folder: Path, out: Path, files: dict[str, Any], failures: list[tuple[str, str]], model: dict[str, Any]
) -> str:
    pairs = []
    for path, record in sorted(files.items())[:SHOWN]:
        result = record["result"]
        still = result["kind"] == "image"
        guided = result["guided"] if still else result["shots"][0]["guided"]
        by = "the picture alone" if guided["by"] == "nothing" else f"the {guided['by']}"
        pairs.append(small_pair(folder / path, out / record["out"], still, path, f"{path} · guided by {by}"))
    more = f"; the first {len(pairs)} are shown" if len(pairs) < len(files) else ""
    return render(
        folder.name,
        f"{len(files)} {'file' if len(files) == 1 else 'files'} in guessed colours{more}.",
        notice(()),
        [f"{path}: {problem}" for path, problem in failures],
        pairs,
        facts=model_facts(model),
    )
