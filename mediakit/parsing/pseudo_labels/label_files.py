"""Where pseudo-labels lie, and what their folder remembers.

``{audio,visual}/ID.npy`` are labels, ``similarities/{audio,visual}/ID.npy`` what they were made from, where that was
asked for. ``.records/ID.json`` is written after all arrays of a video; ``.records/.settings.json`` before the first.
None of them holds times or absolute paths.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mediakit.errors import MediaError, MediakitError
from mediakit.features import read_array
from mediakit.io import atomic_path, sha256
from mediakit.ledger import make_folder, sweep, versions, write_json
from mediakit.parsing.pseudo_labels.recipe import MODALITIES, pseudo_labels

SCHEMA = "mediakit.pseudo-labels/1"

Record = dict[str, Any]
Thresholds = Mapping[str, tuple[float, ...]]
"""One threshold per class, by modality."""

_RECORDS, _SETTINGS = ".records", ".settings.json"

FOLDERS = (*MODALITIES, "similarities", _RECORDS)
"""All that a folder of pseudo-labels holds besides its manifest."""

_NAMES = ("name", "weights", "seed")  # folders and files may be renamed: what counts is the hash of the weights
_ADVICE = "Name another folder for the output, or give --overwrite (overwrite=True) to replace all that is there."


def label_path(out: Path, modality: str, id: str) -> Path:
    """Where the pseudo-labels of a video lie: uint8 (T, K)."""
    return out / modality / f"{id}.npy"


def similarity_path(out: Path, modality: str, id: str) -> Path:
    """Where its similarities lie: float32 (T, K)."""
    return out / "similarities" / modality / f"{id}.npy"


def settle(out: Path, made: Mapping[str, Any], thresholds: Thresholds, overwrite: bool) -> str:
    """Writes down what will make the pseudo-labels, or makes sure that it is what made those that are there.

    Args:
        out: The folder, claimed.
        made: ``classes``, and under ``teachers`` the ``card`` and the ``prompts`` by modality.
        thresholds: One per class, by modality. Others than before pass where all similarities are there.
        overwrite: Whether to delete what is there instead.

    Returns:
        A hash of ``made``, which binds records to it.

    Raises:
        MediaError: Something else is there.
        MediakitError: Pseudo-labels made otherwise are there.
    """
    file = out / _RECORDS / _SETTINGS
    if file.exists():
        known = _read_json(file)
        if known.get("schema") != SCHEMA:
            raise MediaError(out, "holds features, not pseudo-labels", "Name another folder for the output.")
        if overwrite:
            (out / "manifest.json").unlink(missing_ok=True)
            for name in FOLDERS:  # the records last: without them the rest would be taken for foreign
                shutil.rmtree(out / name, ignore_errors=True)
        else:
            _compare(out, known["made"], made)
            if known["thresholds"] != listed(thresholds) and not all(
                r.get("similarities") for r in records(out).values()
            ):
                raise MediakitError(
                    f"{out}: the pseudo-labels there have other thresholds, and not all of their similarities are "
                    f"there to make them anew. {_ADVICE} With --similarities, thresholds can be changed at any time."
                )
            sweep(out, FOLDERS)
    elif foreign := [name for name in (*FOLDERS[:-1], "manifest.json") if (out / name).exists()]:
        raise MediaError(
            out / foreign[0], "is there already, and not from `mediakit pseudo-label`", "Name another output folder."
        )
    write_json(file, {"schema": SCHEMA, "made": made, "thresholds": listed(thresholds)})
    teachers = {
        modality: {**entry, "card": {k: v for k, v in entry["card"].items() if k not in _NAMES}}
        for modality, entry in made["teachers"].items()
    }
    return hashlib.sha256(json.dumps({**made, "teachers": teachers}, sort_keys=True).encode()).hexdigest()


def _compare(out: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if found["classes"] != wanted["classes"]:
        raise MediakitError(f"{out}: the pseudo-labels there are of other classes. {_ADVICE}")
    there, now = found["teachers"], wanted["teachers"]
    if there.keys() != now.keys():
        raise MediakitError(f"{out}: holds {' and '.join(there)} pseudo-labels, not {' and '.join(now)}. {_ADVICE}")
    for modality in now:
        card, other = now[modality]["card"], there[modality]["card"]
        if changed := sorted(k for k in card.keys() | other.keys() if k not in _NAMES and card.get(k) != other.get(k)):
            what = f"{changed[0]} {other.get(changed[0])} there, {card.get(changed[0])} now"
            raise MediakitError(
                f"{out}: the {modality} pseudo-labels there were made by {other['name']} with weights "
                f"{other['weights']}, which is not the same as {card['name']} with weights {card['weights']} ({what}). "
                f"{_ADVICE}"
            )
        if different := [
            f"{before!r} there, {after!r} now"
            for before, after in zip(there[modality]["prompts"], now[modality]["prompts"], strict=True)
            if before != after
        ]:
            raise MediakitError(f"{out}: the {modality} prompts are others ({different[0]}). {_ADVICE}")


def listed(thresholds: Thresholds) -> dict[str, list[float]]:
    """Thresholds as a record keeps them."""
    return {modality: list(values) for modality, values in thresholds.items()}


def records(out: Path) -> dict[str, Record]:
    """What is written down of each video that is done, by id; damaged records are passed over."""
    place, found = out / _RECORDS, {}
    for path in sorted(place.rglob("[!.]*.json")):
        with suppress(MediaError):
            found[path.relative_to(place).as_posix().removesuffix(".json")] = _read_json(path)
    return found


def finished(out: Path, record: Record | None, source: Path, path: str, fingerprint: str) -> bool:
    """Whether a video is done: same settings, same content, its files in their places and of the right size."""
    try:
        return (
            record is not None
            and record["fingerprint"] == fingerprint
            and record["path"] == path
            and record["bytes"] == source.stat().st_size
            and all((out / name).stat().st_size == entry["bytes"] for name, entry in record["files"].items())
            and record["sha256"] == sha256(source)
        )
    except (OSError, KeyError, MediaError):
        return False


def forget(out: Path, id: str) -> None:
    """Removes the record and the arrays of a video."""
    arrays = (where(out, name, id) for where in (label_path, similarity_path) for name in MODALITIES)
    for path in (out / _RECORDS / f"{id}.json", *arrays):
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def save(
    out: Path,
    id: str,
    record: Record,
    found: Mapping[str, Tensor | None],
    thresholds: Thresholds,
    classes: tuple[str, ...],
    similarities: bool,
) -> Record:
    """Writes the labels of a video, and last its record.

    Args:
        out: The folder.
        id: The video.
        record: ``path``, ``bytes``, ``sha256`` and ``fingerprint`` of the source, ``seconds``, the ``weak`` label as
            names of classes, and what else belongs into the manifest.
        found: Similarities (T, K) by modality; None where the video has no such thing, which labels nothing.
        thresholds: One per class, by modality.
        classes: K names.
        similarities: Whether to write the similarities, too.

    Returns:
        The record as it was written.
    """
    weak = torch.tensor([float(name in record["weak"]) for name in classes])
    paths, kept = [], {}
    for modality, values in found.items():
        if values is None:
            labels = torch.zeros(record["seconds"], len(classes), dtype=torch.uint8)
        else:
            labels = pseudo_labels(values, weak, torch.tensor(thresholds[modality], dtype=torch.float64))
        paths.append(_write(label_path(out, modality, id), labels))
        kept[modality] = {name: int(labels[:, k].sum()) for k, name in enumerate(classes) if name in record["weak"]}
        if similarities and values is not None:
            paths.append(_write(similarity_path(out, modality, id), values))
    files = {path.relative_to(out).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in paths}
    record = {
        **record,
        "similarities": similarities,
        "thresholds": listed(thresholds),
        "kept": kept,
        "files": files,
        "versions": versions() | _versions(),
    }
    write_json(out / _RECORDS / f"{id}.json", record)
    return record


def relabel(
    out: Path,
    id: str,
    record: Record,
    weak: Sequence[str],
    thresholds: Thresholds,
    classes: tuple[str, ...],
) -> Record | None:
    """Makes the labels of a video anew from its similarities; None where they are not intact."""
    found: dict[str, Tensor | None] = {}
    for modality in thresholds:
        path = similarity_path(out, modality, id)
        try:
            found[modality] = None if modality in record["absent"] else torch.from_numpy(read_array(path))
            if modality not in record["absent"] and sha256(path) != record["files"][_name(out, path)]["sha256"]:
                return None
        except (MediaError, KeyError):
            return None
    (out / _RECORDS / f"{id}.json").unlink(missing_ok=True)  # until its labels are again what a record says
    return save(out, id, {**record, "weak": list(weak)}, found, thresholds, classes, True)


def write_manifest(
    out: Path,
    made: Mapping[str, Any],
    thresholds: Thresholds,
    labels: str,
    files: Mapping[str, Record],
    failures: list[tuple[str, str]],
    unlabelled: list[str],
) -> None:
    """Writes ``manifest.json``: what made the pseudo-labels of which videos, and what became of the others."""
    made_with: dict[str, set[str]] = {}
    for record in files.values():
        for package, version in record["versions"].items():
            made_with.setdefault(package, set()).add(version)
    hidden = ("fingerprint", "versions", "thresholds")
    manifest = {
        "schema": SCHEMA,
        "versions": {name: ", ".join(sorted(found)) for name, found in made_with.items()} or versions() | _versions(),
        "labels": labels,
        **made,
        "thresholds": {
            modality: dict(zip(made["classes"], values, strict=True)) for modality, values in thresholds.items()
        },
        "files": {id: {k: v for k, v in record.items() if k not in hidden} for id, record in files.items()},
        "failures": [{"path": path, "problem": problem} for path, problem in failures],
        "unlabelled": unlabelled,
        "gone": sorted(records(out).keys() - files.keys()),
    }
    write_json(out / "manifest.json", manifest)


def _write(path: Path, values: Tensor) -> Path:
    make_folder(path.parent)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, values.numpy())
    return path


def _name(out: Path, path: Path) -> str:
    return path.relative_to(out).as_posix()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise MediaError(path, "cannot be read", "Remove the folder, or name another one.") from error
    return found if isinstance(found, dict) else {}


def _versions() -> dict[str, str]:
    found = {}
    for package in ("open_clip_torch", "transformers", "tokenizers"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
