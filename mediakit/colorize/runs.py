"""What a run of the three stages is to do, and what its folder remembers of it."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from mediakit.colorize.clips.readers import TABLE
from mediakit.colorize.clips.records import ClipRecord
from mediakit.errors import MediaError, MediakitError, require
from mediakit.io import sha256
from mediakit.io.files import StrPath
from mediakit.ledger import sweep, write_json

STAGES = {1: "colour, with the semantics of the colour picture", 2: "hearing what is seen", 3: "colour, with the sound"}
"""What each stage learns."""

COLORIZER = "colorizer.ckpt"
"""The finished model in the folder of a run."""

_SETTINGS = ".settings.json"
_RUN_ONLY = ("workers", "num_workers", "progress", "cache", "root")  # change nothing that is learnt


@dataclass(frozen=True)
class StageResult:
    """How a stage went.

    Attributes:
        stage: 1, 2 or 3.
        checkpoint: Its best epoch, as ``mediakit fit`` writes it, without the state of the optimizer.
        error: Its ``val/error``, see `.ColorizeModule`.
        epochs: How long it was trained.
        resumed: Whether an earlier run had finished it.
    """

    stage: int
    checkpoint: Path
    error: float
    epochs: int
    resumed: bool


@dataclass(frozen=True)
class Plan:
    """What is to be trained, and how.

    Attributes:
        model: Arguments of `.ColorizeModule`, but for ``stage`` and ``start``.
        data: Arguments of `.ColorizeDataModule`, but for those that depend on the stage.
        trainer: Arguments of Lightning's trainer.
        epochs: Of each stage.
        seed: Of networks, splits and order.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    trainer: dict[str, Any]
    epochs: tuple[int, ...]
    seed: int

    def settled(self) -> dict[str, Any]:
        """What must be the same to go on, as JSON keeps it."""
        kept = {**self.model, **{key: value for key, value in self.data.items() if key not in _RUN_ONLY}}
        return dict(json.loads(json.dumps({**kept, "epochs": self.epochs, "seed": self.seed})))


def make_plan(
    folder: StrPath, out: Path, epochs: int | Sequence[int] | None, settings: Mapping[str, Any], progress: bool
) -> Plan:
    """Puts settings in the place of those of the recipe, and checks them.

    Args:
        folder: What is learnt from; its layout is looked up where the settings do not say it.
        out: Folder of the run.
        epochs: Of each stage, or three numbers; None for the recipe's.
        settings: Arguments of `.ColorizeModule` and `.ColorizeDataModule`.
        progress: Whether decoding shows progress.

    Raises:
        MediakitError: There is no such setting, or it cannot have that value.
    """
    from mediakit.colorize.data import ColorizeDataModule
    from mediakit.colorize.module import ColorizeModule

    yaml = require("yaml", "Reading the recipe", "pyyaml")
    recipe = yaml.safe_load(files("mediakit.colorize").joinpath("recipe.yaml").read_text("utf-8"))
    each = recipe["trainer"]["max_epochs"] if epochs is None else epochs
    lengths = (each,) * len(STAGES) if isinstance(each, int) else tuple(each)
    if len(lengths) != len(STAGES) or min(lengths) < 1:
        raise MediakitError(f"epochs must be one number or {len(STAGES)}, at least 1 each, got {epochs}.")
    made = (Path(folder) / TABLE).is_file() or any(Path(folder).glob(f"*/{TABLE}"))
    usual = {"layout": "clips" if made else "folder", "cache": str(out / "clips"), "seed": recipe["seed_everything"]}
    takes = {
        "model": _arguments(ColorizeModule, "stage", "start"),
        "data": _arguments(ColorizeDataModule, "root", "frames", "need_sound"),
    }
    known = {**takes["model"], **takes["data"]}
    if unknown := [name for name in settings if name not in known]:
        near = "".join(f" Did you mean {name}?" for name in get_close_matches(unknown[0], known, 1))
        raise MediakitError(f"there is no setting {unknown[0]!r}.{near}")
    model, data = (
        _checked(takes[kind], {**recipe[kind]["init_args"], **usual, **settings}) for kind in ("model", "data")
    )
    trainer = {name: recipe["trainer"][name] for name in ("gradient_clip_val", "log_every_n_steps")}
    return Plan(model, {**data, "root": str(folder), "progress": progress}, trainer, lengths, data["seed"])


def _arguments(cls: type, *fixed: str) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(cls, eval_str=True).parameters.items() if name not in fixed}


def _checked(takes: Mapping[str, inspect.Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a class, defaults too, checked as the command line of ``mediakit fit`` does."""
    found = {}
    for name, parameter in takes.items():
        parser = require("jsonargparse", "Checking settings").ArgumentParser(exit_on_error=False, add_help=False)
        parser.add_argument(f"--{name}", type=parameter.annotation, default=parameter.default)
        try:
            found[name] = parser.parse_object({name: values[name]} if name in values else {})[name]
        except ArgumentError as error:
            kind = str(getattr(parameter.annotation, "__name__", parameter.annotation)).replace("typing.", "")
            raise MediakitError(f"the setting {name} cannot be {values[name]!r}: it is {kind}.") from error
    return found


def settle(out: Path, plan: Plan, records: Sequence[ClipRecord], digest: Callable[[str], str]) -> None:
    """Writes down what is trained on what, or makes sure that an earlier run did the same.

    Args:
        out: Folder of the run.
        plan: What is to be done.
        records: The clips with their splits.
        digest: Gives the SHA-256 of a file.

    Raises:
        MediaError: The folder holds what is not of such a run.
        MediakitError: It holds a run with other settings, or on other films.
    """
    clips = sorted((r.id, r.split or "", r.label or "", r.group or "", digest(str(r.path))) for r in records)
    wanted: dict[str, Any] = {
        "settings": plan.settled(),
        "films": len(clips),
        "content": hashlib.sha256(json.dumps(clips).encode()).hexdigest(),
    }
    advice = (
        "Name another folder, or remove this one; `mediakit train-colorizer --overwrite` (overwrite=True) does that."
    )
    file = out / _SETTINGS
    if not file.exists():
        if foreign := [name for name in (COLORIZER, *_artefacts(out)) if (out / name).exists()]:
            raise MediaError(out / foreign[0], "is there already, and not from such a run", advice)
        write_json(file, wanted)
        return
    try:
        there = json.loads(file.read_text("utf-8"))
        before, now = there["settings"], wanted["settings"]
        changed = [
            f"{key} {before.get(key)} there, {now.get(key)} now"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]
        content = there["content"], there["films"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MediaError(file, "is damaged", advice) from error
    if changed:
        more = f"; and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise MediakitError(f"{out}: holds a run with other settings ({'; '.join(changed[:5])}{more}). {advice}")
    if content[0] != wanted["content"]:
        raise MediakitError(
            f"{out}: holds a run on other films ({content[1]} clips then, {wanted['films']} now; some changed or "
            f"changed their split). {advice}"
        )
    sweep(out, ())


def _artefacts(out: Path) -> list[str]:
    return [f"stage-{stage}{ending}" for stage in STAGES for ending in (".ckpt", ".json", "")]


def clear(out: Path) -> None:
    """Removes all that a run leaves but decoded films."""
    # The settings last, for without them the rest would be taken for foreign.
    for name in (COLORIZER, "test.txt", "test.json", "logs", *_artefacts(out), _SETTINGS):
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def finished(out: Path, stage: int, start: Path | None) -> StageResult | None:
    """The stage, if its checkpoint is there as it was written, and was made from the same start."""
    checkpoint = out / f"stage-{stage}.ckpt"
    try:
        record = json.loads((out / f"stage-{stage}.json").read_text("utf-8"))
        if record["sha256"] != sha256(checkpoint) or record["start"] != (start and sha256(start)):
            return None
        return StageResult(stage, checkpoint, record["error"], record["epochs"], True)
    except (OSError, ValueError, KeyError, TypeError, MediaError):
        return None
