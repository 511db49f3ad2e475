"""From a checkpoint to a ready model."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from collections.abc import Sequence
from typing import Any

import torch

from mediakit.errors import MediakitError, WeightsError
from mediakit.io import check_readable


def load(source: str | os.PathLike[str], device: str = "cpu") -> Any:
    """Loads a trained model, ready for ``.predict(path)``.

    Nothing is unpickled but tensors and plain values, and only classes of mediakit, or ones that the calling program
    has imported itself, are built: a checkpoint from a stranger cannot run code.

    Args:
        source: Path of a checkpoint written by ``mediakit fit``.
        device: Where the model goes, for example ``"cuda"``.

    Returns:
        The :class:`mediakit.base.BaseModule` that wrote the checkpoint, in evaluation mode.

    Raises:
        MediaError: The file is missing or cannot be read.
        WeightsError: The file is no checkpoint of mediakit, or does not fit the class that it names.
        MediakitError: There is no such device.
    """
    path = check_readable(source)
    _check_device(device)
    content = read_checkpoint(path)
    origin = content.get("mediakit") if isinstance(content, dict) else None
    if not isinstance(origin, dict) or "class" not in origin:
        raise WeightsError(
            f"{path}: does not say which mediakit class wrote it. Give a .ckpt file written by `mediakit fit`."
        )
    cls = _class(str(origin["class"]), path)
    try:
        model = cls.load_from_checkpoint(path, map_location=device, weights_only=True)
    except (RuntimeError, TypeError, KeyError) as error:
        raise WeightsError(
            f"{path}: written by {origin['class']} of mediakit {origin.get('version', 'unknown')}, does not fit it now "
            f"({error})."
        ) from error
    return model.eval()


def load_task(
    source: str | os.PathLike[str], needs: Sequence[str], does: str, made_of: str, device: str = "cpu"
) -> Any:
    """Loads a trained model of one task.

    Args:
        source: Path of a checkpoint.
        needs: Attributes that models of the task have.
        does: What they do, for the error.
        made_of: Name of their class, likewise.
        device: Where the model goes.

    Raises:
        MediaError: The file is missing or cannot be read.
        WeightsError: It is no checkpoint of mediakit, or one of another task.
    """
    module = load(source, device)
    if not all(hasattr(module, name) for name in needs):
        raise WeightsError(
            f"{source}: holds {type(module).__name__}, which does not {does}. Give a checkpoint that "
            f"`mediakit fit` made of a {made_of}."
        )
    return module


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """The content of a checkpoint file, tensors on the CPU; nothing but tensors and plain values is unpickled.

    Raises:
        MediaError: The file is missing or cannot be read.
        WeightsError: It is no such file.
    """
    checked = check_readable(path)
    try:
        return torch.load(checked, map_location="cpu", weights_only=True)
    # torch's own words advise to turn the safety off, so they are not repeated.
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise WeightsError(
            f"{checked}: is no checkpoint of tensors and plain values, and nothing else is loaded. "
            "Give a .ckpt file written by `mediakit fit`."
        ) from error


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        there = ", ".join(["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))])
        raise MediakitError(f"the device {device!r} is not there. This machine has {there}.") from error


def _class(name: str, path: str | os.PathLike[str]) -> Any:
    """The class that a checkpoint names, if it may be trusted."""
    from mediakit.base import BaseModule

    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] != "mediakit" and module not in sys.modules:
        raise WeightsError(
            f"{path}: was written by {name}, which is not part of mediakit. If you trust it, import {module} first."
        )
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        if isinstance(error, MediakitError):
            raise
        raise WeightsError(f"{path}: was written by {name}, which this version does not have.") from error
    if not (isinstance(cls, type) and issubclass(cls, BaseModule)):
        raise WeightsError(f"{path}: names {name}, which is no mediakit model.")
    return cls
