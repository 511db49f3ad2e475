"""The three stages of audio-infused colorization in turn, from a folder of colour films to a colorizer."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mediakit.colorize.clips.readers import TABLE
from mediakit.errors import MediaError, MediakitError, require
from mediakit.io import sha256, write_bytes, write_text
from mediakit.io.files import StrPath
from mediakit.ledger import claimed, make_folder, sweep, write_json
from mediakit.trials import announce

if TYPE_CHECKING:
    from mediakit.colorize.data import ColorizeDataModule
    from mediakit.colorize.module import ColorizeModule

STAGES = {1: "colour, with the semantics of the colour picture", 2: "hearing what is seen", 3: "colour, with the sound"}
"""What each stage learns."""

COLORIZER = "colorizer.ckpt"
"""The finished model in the folder of a run."""

_SETTINGS = ".settings.json"
_FRAMES = {1: 1, 2: 4, 3: 1}  # pictures of a clip that a stage learns from
_NOTES = (
    ".*does not have many workers",
    "Checkpoint directory .* exists",
    ".*the logging interval",
    ".*in eval mode at the start of training",  # the parts that rest
    ".*LeafSpec",
)
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
class TrainedColorizer:
    """What a run left.

    Attributes:
        checkpoint: The colorizer, for ``mediakit colorize`` and `mediakit.weights.load`.
        stages: How each stage went.
        table: Scores on the test split as text; empty where it holds nothing.
    """

    checkpoint: Path
    stages: tuple[StageResult, ...]
    table: str


def train_colorizer(
    folder: StrPath,
    out: StrPath,
    *,
    epochs: int | Sequence[int] | None = None,
    accelerator: str = "auto",
    overwrite: bool = False,
    progress: bool = False,
    **settings: Any,
) -> TrainedColorizer:
    """Trains the three stages, each from the best epoch of the one before, and tests the last one.

    A stage that is finished is not trained again, and one that was interrupted goes on after its last whole epoch: the
    result is that of an uninterrupted run (with loader processes, ``num_workers``, nearly so). What lies in ``out``:

    - ``colorizer.ckpt``: the model; ``stage-1.ckpt`` to ``stage-3.ckpt``, those of the stages;
    - ``stage-1.json`` to ``stage-3.json``: settings, epochs and error of each; ``logs``: losses of each epoch;
    - ``test.txt``, ``test.json``: scores on the test split with and without sound;
    - ``clips``: the decoded films, if ``cache`` names no other folder; it may be removed afterwards.

    Args:
        folder: Colour films, or clips as ``mediakit build-clips`` or ``mediakit generate scenes`` write them, or what
            else ``layout`` says.
        out: Folder for the run; made if it is not there.
        epochs: Of each stage, or three numbers; None for the recipe's.
        accelerator: Lightning's name of the hardware: ``"auto"``, ``"cpu"``, ``"gpu"``, ...
        overwrite: Train anew, whatever earlier runs left in ``out``.
        progress: Whether to show progress on stderr.
        **settings: Arguments of `.ColorizeModule` and `.ColorizeDataModule` in the place of the recipe's: ``size``,
            ``batch_size``, ``lr``, ``layout``, ``gray_encoder``, ``seed``, ...

    Raises:
        MediaError: ``folder`` is missing or damaged; ``out`` cannot be written or is in use by another run.
        MediakitError: There is no such setting; ``out`` holds a run with other settings or other films; no clip is left
            that could be learnt from, or none has sound.
    """
    out = Path(out)
    plan = _plan(folder, out, epochs, settings, progress)
    with claimed(out):
        if overwrite:
            _clear(out)
        data = _data(plan, 1)
        _settle(out, plan, data)
        done: list[StageResult] = []
        with _plain_lightning():
            for stage in STAGES:
                start = done[-1].checkpoint if done else None
                found = _finished(out, stage, start)
                if found is None:
                    announce(f"stage {stage} of {len(STAGES)}: {STAGES[stage]}", progress)
                    found = _train(out, plan, stage, start, accelerator, progress)
                done.append(found)
            table = _test(out, plan, done[-1], accelerator)
        final = out / COLORIZER
        if not final.exists() or sha256(final) != sha256(done[-1].checkpoint):
            write_bytes(final, done[-1].checkpoint.read_bytes())
    return TrainedColorizer(final, tuple(done), table)


@contextmanager
def _plain_lightning() -> Iterator[None]:
    """Keeps Lightning from advertising, from advice to programmers, and from standard output."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            for note in _NOTES:
                warnings.filterwarnings("ignore", message=note)
            yield
    finally:
        log.setLevel(level)


@dataclass(frozen=True)
class _Plan:
    """Arguments of each class, and of the trainer."""

    model: dict[str, Any]
    data: dict[str, Any]
    trainer: dict[str, Any]
    epochs: tuple[int, ...]
    seed: int

    def settled(self) -> dict[str, Any]:
        """What must be the same to go on, as JSON keeps it."""
        kept = {**self.model, **{key: value for key, value in self.data.items() if key not in _RUN_ONLY}}
        return dict(json.loads(json.dumps({**kept, "epochs": self.epochs, "seed": self.seed})))


def _plan(
    folder: StrPath, out: Path, epochs: int | Sequence[int] | None, settings: Mapping[str, Any], progress: bool
) -> _Plan:
    from mediakit.colorize.data import ColorizeDataModule
    from mediakit.colorize.module import ColorizeModule

    yaml = require("yaml", "Reading the recipe", "pyyaml")
    recipe = yaml.safe_load(files("mediakit.colorize").joinpath("recipe.yaml").read_text("utf-8"))
    each = recipe["trainer"]["max_epochs"] if epochs is None else epochs
    lengths = (each,) * len(STAGES) if isinstance(each, int) else tuple(each)
    if len(lengths) != len(STAGES) or min(lengths) < 1:
        raise MediakitError(f"epochs must be one number or {len(STAGES)}, at least 1 each, got {epochs}.")
    clips = Path(folder)
    found = (clips / TABLE).is_file() or any(clips.glob(f"*/{TABLE}"))
    usual = {"layout": "clips" if found else "folder", "cache": str(out / "clips"), "seed": recipe["seed_everything"]}
    parsers = [
        _parser(ColorizeModule, {"stage", "start"}),
        _parser(ColorizeDataModule, {"root", "frames", "need_sound"}),
    ]
    known = {action.dest for parser in parsers for action in parser._actions}
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise MediakitError(f"there is no setting {name!r}." + (f" Did you mean {near[0]}?" if near else ""))
    parts = []
    for parser, kind in zip(parsers, ("model", "data"), strict=True):
        wanted = {**recipe[kind]["init_args"], **(usual if kind == "data" else {}), **settings}
        takes = {action.dest for action in parser._actions}
        try:
            parsed = parser.parse_object({name: value for name, value in wanted.items() if name in takes})
        except ArgumentError as error:
            name = next((name for name in settings if f'"{name}"' in str(error)), "")
            raise MediakitError(f"the setting {name} cannot be {settings.get(name)!r}.") from error
        parts.append(dict(parsed.as_dict()))
    model, data = parts
    kept = {name: recipe["trainer"][name] for name in ("gradient_clip_val", "log_every_n_steps")}
    return _Plan(model, {**data, "root": str(folder), "progress": progress}, kept, lengths, int(data["seed"]))


def _parser(cls: type, fixed: set[str]) -> Any:
    """Checks the arguments of a class as the command line of ``mediakit fit`` does, and adds the defaults."""
    jsonargparse = require("jsonargparse", "Checking settings")
    parser = jsonargparse.ArgumentParser(exit_on_error=False, add_help=False)
    parser.add_class_arguments(cls, as_group=False, skip=fixed)
    return parser


def _data(plan: _Plan, stage: int) -> ColorizeDataModule:
    from mediakit.colorize.data import ColorizeDataModule

    return ColorizeDataModule(**plan.data, frames=_FRAMES[stage], need_sound=stage == 2)


def _settle(out: Path, plan: _Plan, data: ColorizeDataModule) -> None:
    """Writes down what is trained on what, or makes sure that an earlier run did the same."""
    clips = sorted((r.id, r.split, r.label, r.group, data.cache.digest(str(r.path))) for r in data.records())
    wanted: dict[str, Any] = {
        "settings": plan.settled(),
        "films": len(clips),
        "content": hashlib.sha256(json.dumps(clips).encode()).hexdigest(),
    }
    advice = "Name another folder for the run, or give --overwrite (overwrite=True) to train anew."
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
        raise MediakitError(f"{out}: holds a run with other settings ({'; '.join(changed)}). {advice}")
    if content[0] != wanted["content"]:
        raise MediakitError(
            f"{out}: holds a run on other films ({content[1]} clips then, {wanted['films']} now; some changed or "
            f"changed their split). {advice}"
        )
    sweep(out, ())


def _artefacts(out: Path) -> list[str]:
    return [f"stage-{stage}{ending}" for stage in STAGES for ending in (".ckpt", ".json", "")]


def _clear(out: Path) -> None:
    """Removes what a run leaves; the settings last, for without them the rest would be taken for foreign."""
    for name in (COLORIZER, "test.txt", "test.json", "logs", *_artefacts(out), _SETTINGS):
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _finished(out: Path, stage: int, start: Path | None) -> StageResult | None:
    """The stage, if its checkpoint is there as it was written, and was made from the same start."""
    checkpoint = out / f"stage-{stage}.ckpt"
    try:
        record = json.loads((out / f"stage-{stage}.json").read_text("utf-8"))
        if record["sha256"] != sha256(checkpoint) or record["start"] != (start and sha256(start)):
            return None
        return StageResult(stage, checkpoint, record["error"], record["epochs"], True)
    except (OSError, ValueError, KeyError, TypeError, MediaError):
        return None


def _train(out: Path, plan: _Plan, stage: int, start: Path | None, accelerator: str, progress: bool) -> StageResult:
    from mediakit.colorize.module import ColorizeModule

    from pytorch_lightning import Trainer, seed_everything  # isort: skip
    from pytorch_lightning.callbacks import ModelCheckpoint
    from pytorch_lightning.loggers import CSVLogger

    place, epochs = out / f"stage-{stage}", plan.epochs[stage - 1]
    make_folder(place)
    seed_everything(plan.seed, verbose=False)
    # What the network begins with is needed once; the later stages take over all of it.
    fresh = {name: None for name in plan.model if name.endswith("_weights")} if start else {}
    module = ColorizeModule(**{**plan.model, **fresh, "stage": stage, "start": start and str(start)})
    best = ModelCheckpoint(place, "best", "val/error", mode="min", save_weights_only=True, enable_version_counter=False)
    last = ModelCheckpoint(place, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        accelerator=accelerator,
        devices=1,
        max_epochs=epochs,
        num_sanity_val_steps=0,
        callbacks=[_epoch_seeds(plan.seed), best, last],  # the last holds the state of the best
        logger=CSVLogger(out / "logs", f"stage-{stage}"),
        enable_progress_bar=progress,
        enable_model_summary=False,
        **plan.trainer,
    )
    going_on = place / "last.ckpt"
    trainer.fit(module, _data(plan, stage), ckpt_path=going_on if going_on.exists() else None)
    if not trainer.state.finished:
        raise KeyboardInterrupt  # Lightning takes it for an end
    if not best.best_model_path or best.best_model_score is None:
        raise MediakitError(f"{out}: stage {stage} left no best epoch: is there a val split with clips?")
    checkpoint, error = out / f"stage-{stage}.ckpt", float(best.best_model_score)
    write_bytes(checkpoint, Path(best.best_model_path).read_bytes())
    write_json(
        out / f"stage-{stage}.json",
        {
            "stage": stage,
            "epochs": epochs,
            "error": error,
            "sha256": sha256(checkpoint),
            "start": start and sha256(start),
            "settings": plan.settled(),
        },
    )
    shutil.rmtree(place)
    return StageResult(stage, checkpoint, error, epochs, False)


def _epoch_seeds(seed: int) -> Any:
    """Draws of an epoch depend on its number alone, so that a run that goes on does what it would have done."""
    from pytorch_lightning import Callback

    class EpochSeeds(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            number = 100_003 * seed + trainer.current_epoch
            torch.manual_seed(number)
            sampler = trainer.train_dataloader.sampler
            if isinstance(sampler, torch.utils.data.RandomSampler):
                sampler.generator = torch.Generator().manual_seed(number)

    return EpochSeeds()


def _test(out: Path, plan: _Plan, last: StageResult, accelerator: str) -> str:
    """Scores on the test split, if it holds anything and was not scored before."""
    from mediakit.weights import load

    from pytorch_lightning import Trainer, seed_everything  # isort: skip

    text, numbers, made_of = out / "test.txt", out / "test.json", sha256(last.checkpoint)
    try:
        if json.loads(numbers.read_text("utf-8"))["sha256"] == made_of:
            return text.read_text("utf-8").rstrip("\n")
    except (OSError, ValueError, KeyError, TypeError):
        pass
    data = _data(plan, 3)
    try:
        data.setup("test")
    except MediakitError as error:  # the colorizer is there all the same
        warnings.warn(f"the colorizer was not tested: {error}", stacklevel=2)
        return ""
    seed_everything(plan.seed, verbose=False)
    module: ColorizeModule = load(last.checkpoint)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(accelerator=accelerator, devices=1, **quiet).test(module, data, verbose=False)
    assert module.trial is not None
    table = module.trial.table()
    write_text(text, f"{table}\n")
    write_json(numbers, {"sha256": made_of, "scores": module.trial.summary()})
    return table
