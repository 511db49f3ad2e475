"""Generated clips as files: a folder of videos, the truth about each, and tables as the field writes them."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mediakit.errors import MediaError, MediakitError, require
from mediakit.io import check_readable, sha256, write_bytes, write_text, write_video
from mediakit.jobs import JobError, run_jobs
from mediakit.ledger import claimed, make_folder, sweep, versions, write_json
from mediakit.synthetic.clip import Clip, Generator

SCHEMA = "mediakit.synthetic/1"

GENERATORS = {
    "events": "mediakit.synthetic.events.EventClips",
    "heads": "mediakit.synthetic.heads.TalkingHeads",
    "scenes": "mediakit.synthetic.scenes.Scenes",
}
"""Class of each kind of clip."""


def open_generator(kind: str, **options: Any) -> Generator:
    """The generator of a kind of clip.

    Args:
        kind: ``"events"``, ``"heads"`` or ``"scenes"``.
        **options: Arguments of the kind's class: `.EventClips`, `.TalkingHeads` or `.Scenes`.

    Raises:
        ValueError: There is no such kind, or an option is out of its range.
        TypeError: The kind has no such option.
    """
    if kind not in GENERATORS:
        raise ValueError(f"kind must be one of {', '.join(GENERATORS)}, got {kind!r}")
    module, _, name = GENERATORS[kind].rpartition(".")
    return getattr(import_module(module), name)(**options)


def write_clip(clip: Clip, path: str | os.PathLike[str]) -> None:
    """Encodes one clip as H.264 and AAC; equal clips give equal bytes.

    Raises:
        MediaError: The file cannot be written.
    """
    write_video(path, clip.frames(), clip.fps, audio=clip.sound(), crf=20, threads=1)


def generate_clips(
    kind: str,
    out: str | os.PathLike[str],
    count: int,
    *,
    workers: int = 1,
    progress: bool = False,
    **options: Any,
) -> Path:
    """Writes clips and their truth to a folder.

    ``videos/<id>.mp4`` is a clip, ``truth/<id>.json`` what is known about it, ``truth/<id>.safetensors`` what is known
    about each of its frames (talking heads). Tables beside them list all clips, and ``manifest.json`` says what made
    them. Equal arguments give equal bytes, whatever the number of workers. What an interrupted run has finished is
    kept; asking for more clips adds to those that are there, asking for fewer leaves them.

    Args:
        kind: ``"events"``, ``"heads"`` or ``"scenes"``.
        out: Folder to write to; made if it is not there.
        count: Number of clips.
        workers: Number of processes.
        progress: Whether to show progress on stderr.
        **options: Arguments of the kind's class, such as ``seed`` and ``split``.

    Returns:
        The folder of the videos.

    Raises:
        ValueError: There is no such kind, or an option is out of its range.
        MediaError: The folder cannot be written, is in use, or holds clips made otherwise.
        MediakitError: A clip could not be made.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    generator = open_generator(kind, **options)
    out = Path(out)
    made = {"kind": kind, "options": _arguments(type(generator), options), "versions": versions()}
    with claimed(out):
        count = max(count, _check_same(out, made))
        sweep(out, ("videos", "truth"))
        write_json(out / "manifest.json", {"schema": SCHEMA, **made, "count": count, "clips": []})
        ids = [generator.clip(index).id for index in range(count)]
        left = [(kind, dict(options), index, str(out)) for index in range(count) if not _finished(out, ids[index])]
        bar = require("tqdm", "Progress").tqdm(
            total=count, initial=count - len(left), unit="clip", disable=not progress, desc=kind
        )
        with bar:
            for (_, _, index, _), result in run_jobs(_write, left, workers=workers):
                if isinstance(result, JobError):
                    raise MediakitError(f"clip {ids[index]} could not be made: {result.problem}")
                bar.update()
        for name, text in generator.tables(generator.clip(index) for index in range(count)).items():
            write_text(out / name, text)
        clips = [{"id": id, "sha256": sha256(out / "videos" / f"{id}.mp4")} for id in ids]
        write_json(out / "manifest.json", {"schema": SCHEMA, **made, "count": count, "clips": clips})
    return out / "videos"


def read_truth(folder: str | os.PathLike[str], id: str) -> dict[str, Any]:
    """What is known about a clip: the JSON beside it, and its tensors by name under ``"tensors"`` where it has some.

    Args:
        folder: Folder that `generate_clips` has written.
        id: Name of the clip.

    Raises:
        MediaError: There is no such clip, or its truth cannot be read.
    """
    path = Path(folder, "truth", f"{id}.json")
    try:
        truth = json.loads(check_readable(path).read_text(encoding="utf-8"))["truth"]
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(path, "is not the truth about a generated clip", "Generate the clips again.") from error
    tensors = path.with_suffix(".safetensors")
    if tensors.is_file():
        truth["tensors"] = require("safetensors.torch", "Truth over time").load_file(tensors)
    return dict(truth)


def _write(job: tuple[str, Mapping[str, Any], int, str]) -> None:
    kind, options, index, folder = job
    clip, out = open_generator(kind, **options).clip(index), Path(folder)
    video, truth = out / "videos" / f"{clip.id}.mp4", out / "truth" / f"{clip.id}.json"
    for path in (video, truth):
        make_folder(path.parent)
    write_clip(clip, video)
    if tensors := clip.tensors():
        save = require("safetensors.torch", "Truth over time").save
        write_bytes(truth.with_suffix(".safetensors"), save({name: t.contiguous() for name, t in tensors.items()}))
    # Last, so that what has a truth is complete.
    write_json(truth, {"id": clip.id, "sha256": sha256(video), "truth": clip.truth()})


def _finished(out: Path, id: str) -> bool:
    try:
        record = json.loads((out / "truth" / f"{id}.json").read_text(encoding="utf-8"))
        return bool(record["sha256"] == sha256(out / "videos" / f"{id}.mp4"))
    except (OSError, ValueError, KeyError, TypeError, MediaError):
        return False


def _arguments(cls: type[Generator], options: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a generator, defaults too, as JSON keeps them."""
    bound = inspect.signature(cls).bind(**options)
    bound.apply_defaults()
    return dict(json.loads(json.dumps(bound.arguments)))


def _check_same(out: Path, made: dict[str, Any]) -> int:
    """Makes sure that what is in a folder was made alike, and returns how many clips it is to hold by now."""
    path = out / "manifest.json"
    if not path.exists():
        return 0
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        there = {**found["options"], **found["versions"], "kind": found["kind"]}
        count = int(found["count"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MediaError(path, "is not the manifest of generated clips", "Name another folder.") from error
    now = {**made["options"], **made["versions"], "kind": made["kind"]}
    names = sorted(there.keys() | now.keys())
    if different := [name for name in names if there.get(name) != now.get(name)]:
        what = "; ".join(f"{name} {there.get(name)} there, {now.get(name)} now" for name in different)
        raise MediaError(out, f"holds clips made otherwise ({what})", "Name another folder.")
    return count
