"""What a folder of features remembers: who is writing to it, what made its features, which files are done.

``.records/ID.json`` is written after all features of a file; ``.records/.settings.json`` before the first of them;
``manifest.json`` and ``failures.csv`` at the end of a run. None of them holds times or absolute paths.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from mediakit import __version__
from mediakit.errors import MediaError, MediakitError
from mediakit.features import ENDINGS, SCHEMA, feature_path, identity, same_encoder
from mediakit.io import check_writable, sha256, write_bytes, write_text
from mediakit.io.files import cannot_write

_PACKAGES = ("av", "librosa", "mediapipe", "numpy", "opencv-python", "timm", "torch", "torchvision")
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.\w+")  # as atomic_path names them
_RECORDS = ".records"  # no id is hidden, so nothing in it can take the place of the settings
_SETTINGS = ".settings.json"


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Makes the folder and keeps other processes out; the system lets go of it however this process ends.

    Raises:
        MediaError: It cannot be written, or another process is at work in it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("ab")
    except OSError as error:
        raise cannot_write(out, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MediaError(
                out, "is in use: another process is at work in it", "Wait for it, or name another folder."
            ) from error
        except OSError as error:
            raise cannot_write(out / ".lock", error) from error
        check_writable(out / "manifest.json")
        yield


def settle(out: Path, description: dict[str, Any], overwrite: bool) -> str:
    """Writes down what will make the features, or makes sure that it is what made those that are there.

    Args:
        out: The folder of features, claimed.
        description: By feature: the ``encoder``'s card, and what else its values depend on.
        overwrite: Whether to delete what is there instead.

    Returns:
        A hash of the description, which binds records to it.

    Raises:
        MediakitError: Other encoders or settings made what is there.
    """
    file = out / _RECORDS / _SETTINGS
    if file.exists() and overwrite:
        for leftover in ("manifest.json", "failures.csv"):
            (out / leftover).unlink(missing_ok=True)
        for name in (*ENDINGS, _RECORDS):  # the records last: without them the rest would be taken for foreign
            shutil.rmtree(out / name, ignore_errors=True)
    if file.exists():
        _compare(out, json.loads(file.read_text("utf-8")), description)
        sweep(out)
    elif foreign := [name for name in (*ENDINGS, "manifest.json") if (out / name).exists()]:
        raise MediaError(
            out / foreign[0], "is there already, and not from `mediakit extract`", "Name another folder for the output."
        )
    else:
        write_json(file, description)
    entries = {name: {**entry, "encoder": identity(entry["encoder"])} for name, entry in description.items()}
    return hashlib.sha256(_dumps(entries).encode()).hexdigest()


def _compare(out: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    advice = "Name another folder for the output, or give --overwrite (overwrite=True) to replace all that is there."
    for name in found.keys() & wanted.keys():
        try:
            same_encoder(wanted[name]["encoder"], found[name]["encoder"], name)
        except MediakitError as error:
            raise MediakitError(f"{out}: {error} {advice}") from error
        for key in found[name].keys() - {"encoder"}:
            if found[name][key] != wanted[name][key]:
                raise MediakitError(
                    f"{out}: the {name} features there have {key} {found[name][key]}, but {wanted[name][key]} is asked "
                    f"for. {advice}"
                )
    if found.keys() != wanted.keys():
        raise MediakitError(
            f"{out}: holds {', '.join(sorted(found))}, but {', '.join(sorted(wanted))} are asked for. {advice}"
        )


def forget(out: Path, id: str) -> None:
    """Removes the record and the features of a file."""
    for path in (_record_path(out, id), *(feature_path(out, name, id) for name in ENDINGS)):
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def made_path(out: Path, feature: str, id: str) -> Path:
    """`feature_path`, in a folder that is there."""
    path = feature_path(out, feature, id)
    make_folder(path.parent)
    return path


def write_record(out: Path, id: str, record: dict[str, Any], settings: str) -> dict[str, Any]:
    """Writes down that a file is done: sizes and hashes of its features, as they lie on the disk, are added.

    Args:
        out: The folder of features.
        id: The file.
        record: ``path``, ``bytes`` and ``sha256`` of the source; ``features`` with a ``shape`` each; and what else
            belongs into the manifest.
        settings: What `settle` returned.

    Returns:
        The record as it was written.
    """
    for name, entry in record["features"].items():
        path = feature_path(out, name, id)
        entry |= {"bytes": path.stat().st_size, "sha256": sha256(path)}
    record = {**record, "settings": settings, "versions": versions()}
    write_json(_record_path(out, id), record)
    return record


def finished(source: Path, path: str, out: Path, id: str, settings: str) -> dict[str, Any] | None:
    """The record of a file if it is done: same settings, same content, features of the right size in their places."""
    try:
        record = json.loads(_record_path(out, id).read_text("utf-8"))
        fits = (
            record["settings"] == settings
            and record["path"] == path
            and record["bytes"] == source.stat().st_size
            and all(feature_path(out, n, id).stat().st_size == e["bytes"] for n, e in record["features"].items())
            and record["sha256"] == sha256(source)
        )
    except (OSError, ValueError, KeyError, MediaError):  # no record, a damaged one, or what it tells of is gone
        return None
    return record if fits else None


def write_manifest(
    out: Path,
    description: dict[str, Any],
    settings: dict[str, Any],
    records: dict[str, dict[str, Any]],
    failures: list[tuple[str, str]],
) -> None:
    """Writes ``manifest.json``, and ``failures.csv`` if there are any.

    Args:
        out: The folder of features.
        description: As for `settle`.
        settings: What else a reader may want to know.
        records: Of all files that are done, by id.
        failures: Relative path and problem of all that failed.
    """
    made_with: dict[str, set[str]] = {}
    for record in records.values():
        for package, version in record["versions"].items():
            made_with.setdefault(package, set()).add(version)
    place = out / _RECORDS
    recorded = {
        p.relative_to(place).as_posix().removesuffix(".json") for p in place.rglob("*.json") if p.name[0] != "."
    }
    manifest = {
        "schema": SCHEMA,
        "versions": {package: ", ".join(sorted(found)) for package, found in made_with.items()} or versions(),
        "settings": settings,
        "features": description,
        "files": {
            id: {key: value for key, value in record.items() if key not in ("settings", "versions")}
            for id, record in records.items()
        },
        "failures": [{"path": path, "problem": problem} for path, problem in failures],
        "gone": sorted(recorded - records.keys()),
    }
    file = out / "failures.csv"
    if failures:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([("path", "problem"), *failures])
        write_bytes(file, table.getvalue().encode("utf-8", "surrogateescape"))  # names may be of any bytes
    else:
        file.unlink(missing_ok=True)
    write_json(out / "manifest.json", manifest)


def sweep(out: Path, names: Iterable[str] = (*ENDINGS, _RECORDS)) -> None:
    """Removes the temporary files of a run that was killed, from a folder and some of those in it."""
    for folder in (out, *(out / name for name in names)):
        for path in folder.glob(".*") if folder == out else folder.rglob(".*"):
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of mediakit and of the packages that features depend on."""
    found = {"mediakit": __version__}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _record_path(out: Path, id: str) -> Path:
    return out / _RECORDS / f"{id}.json"


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=1) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Writes plain values to a file, equal ones as equal bytes, and makes its folder if need be."""
    make_folder(path.parent)
    write_text(path, _dumps(value))


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, where they are not there yet.

    Raises:
        MediaError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
