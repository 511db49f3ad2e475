"""The exceptions of mediakit: each message is one line that says what is wrong, with what, and what to do next."""

from __future__ import annotations

import importlib
import os
from typing import Any


class MediakitError(Exception):
    """Base of all errors that a user can act on; the command line prints its message and exits with status 2."""


class MediaError(MediakitError):
    """A file cannot be read or written.

    Args:
        path: The file, named first in the message.
        problem: What is wrong with it, without a full stop.
        advice: What the user can do about it.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str, advice: str = "") -> None:
        self.path = os.fspath(path)
        self.problem = problem
        self.advice = advice
        super().__init__(f"{self.path}: {problem}." + (f" {advice}" if advice else ""))


class NoStreamError(MediaError):
    """A media file is sound, but has no stream of the kind that was asked for."""


class WeightsError(MediakitError):
    """Weights or a checkpoint cannot be found, fetched, trusted or fitted to their model."""


class MissingPackageError(MediakitError, ImportError):
    """A package that only some features need cannot be imported."""


def require(module: str, purpose: str, package: str | None = None) -> Any:
    """Imports a heavy or optional module at the place where it is used.

    Args:
        module: Dotted module name, for example ``"librosa.filters"``.
        purpose: What needs it, as the subject of the error message ("The mel filter bank").
        package: What ``pip install`` takes, where that is not the top-level module's name.

    Returns:
        The imported module.

    Raises:
        MissingPackageError: The module cannot be imported; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = package or module.partition(".")[0]
        raise MissingPackageError(
            f"{purpose} needs the package {name!r}, which cannot be imported ({error}). Install it: pip install {name}"
        ) from error
