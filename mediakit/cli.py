"""The command line: LightningCLI trains and tests, plain functions work on files.

Everything heavy is imported by the command that needs it, so that ``mediakit --help`` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mediakit.errors import MediakitError
from mediakit.options import TRAINING, parser

RECIPES = {
    "deepfake": ("root", "--data.root DIR"),
    "parsing": ("features", "--data.features DIR and --data.labels DIR"),
}
"""Tasks whose recipe comes with the package, the option that it leaves open, and how to give it."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        args: Words of the command line without the program's name; None takes those of the process.

    Returns:
        Exit status: 0 done, 1 if some of many files failed, 2 for wrong usage or for input that cannot be used (one
        line on stderr says why), 130 when interrupted.
    """
    words = list(sys.argv[1:] if args is None else args)
    try:
        if words and words[0] in TRAINING:
            _train(words)
        else:
            options = parser().parse_args(words)
            with _quiet_native_code():
                return options.run(options) or 0
    except MediakitError as error:
        print(f"mediakit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mediakit: interrupted", file=sys.stderr)
        return 130
    return 0


def run() -> None:
    """Entry point of the ``mediakit`` program."""
    # A polite kill cleans up like Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())


def _train(words: list[str]) -> None:
    from mediakit.base import BaseDataModule, BaseModule  # first: it makes torchvision importable

    from pytorch_lightning.cli import LightningCLI, SaveConfigCallback  # isort: skip

    words = _name_recipes(words)
    _check_checkpoint(words)
    sys.path.insert(0, os.getcwd())  # classes of one's own are found here, as with `python -m`
    # Notes to programmers, advertising, and that the logger has made its folder where the checkpoint goes, too: a user
    # at the command line can do nothing about them.
    for note in ("LightningCLI's args", ".*LeafSpec", "Checkpoint directory .* not empty", ".*the logging interval"):
        warnings.filterwarnings("ignore", message=note)
    lightning = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    lightning.addFilter(lambda record: "litlogger" not in record.getMessage())
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    try:
        LightningCLI(
            BaseModule,
            BaseDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            # A run that is repeated in the same folder replaces its own record of settings instead of failing.
            save_config_kwargs={"overwrite": True},
            save_config_callback=SaveConfigCallback if words[0] == "fit" else None,
            args=words,
        )
    except ValueError as error:
        # What a constructor raises comes wrapped by jsonargparse, with every argument in it.
        if isinstance(error.__cause__, MediakitError):
            raise error.__cause__ from None
        raise


def _name_recipes(words: list[str]) -> list[str]:
    """Puts the file in the place of a task's name: ``--config parsing`` takes the recipe that the package brings."""
    from importlib.resources import files

    found = list(words)
    for number, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option not in ("-c", "--config"):
            continue
        at, name = (number, value) if equals else (number + 1, "".join(words[number + 1 : number + 2]))
        if name in RECIPES and not os.path.exists(name):
            _check_recipe(name, words)
            recipe = str(files("mediakit").joinpath(name).joinpath("recipe.yaml"))
            found[at] = f"{option}={recipe}" if equals else recipe
    return found


def _check_recipe(name: str, words: list[str]) -> None:
    """Says what a recipe leaves open, before the command line's long list of all options does."""
    options = [word.partition("=")[0] for word in words]
    option, advice = RECIPES[name]
    settled = {"--data", f"--data.{option}", f"--data.init_args.{option}", "--print_config", "-h", "--help"}
    if not settled & {*options} and options.count("--config") + options.count("-c") == 1:
        raise MediakitError(f"the recipe {name} needs data: {advice} (see docs/tasks/{name}.md).")


def _check_checkpoint(words: list[str]) -> None:
    """Names a checkpoint that cannot be used before Lightning's traceback does, and says where none is given."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--ckpt_path")
    parser.add_argument("-c", "--config")
    known, _ = parser.parse_known_args(words[1:])
    if known.ckpt_path is not None and known.ckpt_path not in ("best", "last", "hpc", "null"):
        from mediakit.weights import read_checkpoint

        read_checkpoint(known.ckpt_path)
    elif words[0] != "fit" and known.ckpt_path is None and known.config is None and not {"-h", "--help"} & {*words}:
        print("mediakit: without --ckpt_path this runs the network as it is built, untrained", file=sys.stderr)


@contextmanager
def _quiet_native_code() -> Iterator[None]:
    """Leaves standard error to Python: progress, warnings and errors still show, logs of C++ libraries do not.

    MediaPipe writes a handful of alarming lines to file descriptor 2 whenever a graph starts, whatever the environment
    says. What matters of them reaches us as exceptions.
    """
    stream = sys.stderr
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    try:
        ours = stream.fileno() == 2
    except (AttributeError, OSError, ValueError):  # replaced by something in memory, which stays
        ours = False
    stream.flush()
    with os.fdopen(saved, "w", encoding=stream.encoding, errors=stream.errors, buffering=1) as python_only:
        try:
            with open(os.devnull, "wb") as sink:
                os.dup2(sink.fileno(), 2)
            if ours:
                sys.stderr = python_only
            yield
        finally:
            sys.stderr = stream
            os.dup2(saved, 2)
