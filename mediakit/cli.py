"""The command line: LightningCLI trains and tests, plain functions work on files.

Everything heavy is imported by the command that needs it, so that ``mediakit --help`` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches

from mediakit.errors import MediakitError
from mediakit.options import TRAINING, parser
from mediakit.quiet import quiet_native_code

RECIPES = {
    "colorize": "--data.root DIR",
    "deepfake": "--data.root DIR",
    "parsing": "--data.features DIR and --data.labels DIR",
}
"""Tasks whose recipe comes with the package, and the options that it leaves open."""


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
            with quiet_native_code():
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
    words = _name_recipes(words)  # first: what is wrong there is told at once

    from mediakit.base import BaseDataModule, BaseModule  # before Lightning: it makes torchvision importable

    from pytorch_lightning.cli import LightningCLI, SaveConfigCallback  # isort: skip

    _check_checkpoint(words)
    sys.path.insert(0, os.getcwd())  # classes of one's own are found here, as with `python -m`
    # Notes to programmers, advertising, and that the logger has made its folder where the checkpoint goes, too: a user
    # at the command line can do nothing about them.
    for note in ("LightningCLI's args", ".*LeafSpec", "Checkpoint directory .* not empty", ".*the logging interval"):
        warnings.filterwarnings("ignore", message=note)
    lightning = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    lightning.addFilter(lambda record: "litlogger" not in record.getMessage())
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    strict = {"allow_abbrev": False, "exit_on_error": False}
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
            parser_kwargs={**strict, words[0]: strict},
            args=words,
        )
    except argparse.ArgumentError as error:
        from mediakit.usage import explain

        raise MediakitError(explain(str(error), words)) from None
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
        if name in RECIPES and not os.path.isfile(name):
            _check_recipe(name, words)
            recipe = str(files("mediakit").joinpath(name).joinpath("recipe.yaml"))
            found[at] = f"{option}={recipe}" if equals else recipe
        elif re.fullmatch(r"[\w./~+-]+", name) and not os.path.isfile(os.path.expanduser(name)):
            near = "".join(f" Did you mean {recipe}?" for recipe in get_close_matches(name, RECIPES, 1))
            known = ", ".join(RECIPES)
            raise MediakitError(f"--config {name}: there is no such file, and no such recipe ({known}).{near}")
    return found


def _check_recipe(name: str, words: list[str]) -> None:
    """Says what a recipe leaves open, before the command line's long list of all options does."""
    options = [word.partition("=")[0] for word in words]
    groups = [option[2:].partition(".")[0] for option in options if option.startswith("--")]
    # Where something is said of data, misspelt perhaps, the parser knows what is wrong.
    settled = {"--print_config", "-h", "--help"} & {*options} or get_close_matches("data", groups)
    if not settled and options.count("--config") + options.count("-c") == 1:
        raise MediakitError(f"the recipe {name} needs data: {RECIPES[name]} (see docs/tasks/{name}.md).")


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
