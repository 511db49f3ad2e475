"""Local weight files: read without executing anything, fitted to a network strictly, errors that name the keys."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from mediakit.errors import MediakitError, WeightsError, require

WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Endings by which a ``weights`` argument is known to be a local file, not a tag."""


def read_state_dict(file: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Reads a weight file without ever executing what it holds.

    Args:
        file: .safetensors, or what ``torch.save`` wrote: a bare state dict or one under "state_dict" or "model".

    Raises:
        WeightsError: The file is missing, damaged, or holds something else than tensors.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise WeightsError(f"{file}: there is no such weight file.")
    try:
        if path.suffix == ".safetensors":
            state = require("safetensors.torch", "A .safetensors file").load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except MediakitError:
        raise
    except Exception as error:  # each format has its own zoo of errors
        # Never the library's words: torch advises to load again with code allowed.
        reason = getattr(error, "strerror", None) or "it is damaged, or not a file of plain tensors"
        raise WeightsError(
            f"{file}: cannot be read as weights ({reason}). mediakit never unpickles code: make the file "
            "with torch.save(model.state_dict(), file) or as safetensors."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(
            f"{file}: holds no state dict (names and tensors), neither bare nor under state_dict or model."
        )
    return state


def load_weights(network: nn.Module, file: str, name: str, head: tuple[str, ...] = ()) -> None:
    """Loads a local weight file into a network: strictly, except for a classifier head that the network lacks.

    One prefix common to all names (``module.``, an encoder's ``backbone.``) is dropped; names of other code bases are
    translated as timm translates them; a first convolution for three channels is adapted to another number.

    Args:
        network: Where the weights go; untouched on failure.
        file: See `read_state_dict`.
        name: The network's name for the error message.
        head: Names of the head's modules, whose tensors are dropped.

    Raises:
        WeightsError: The file cannot be read or does not fit.
    """
    own = network.state_dict()
    state = read_state_dict(file)
    tops = {key.partition(".")[0] for key in own}
    while (
        len(found := {key.partition(".")[0] for key in state}) == 1
        and not found <= tops
        and all("." in k for k in state)
    ):
        state = {key.partition(".")[2]: value for key, value in state.items()}
    if _misfit(own, state, head):
        translate = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        with contextlib.suppress(Exception):  # chokes on a file of another family, which is reported below
            state = translate(dict(state), network) if translate else state
        for key in own.keys() & state.keys():
            have, want = state[key], own[key]
            if have.ndim == 4 and have.shape[1] == 3 != want.shape[1] and have[:, 0].shape == want[:, 0].shape:
                state[key] = _adapt_channels(have, want.shape[1])
    if problem := _misfit(own, state, head):
        raise WeightsError(f"{file}: does not fit {name}: {problem}. Give this network's file or the file's network.")
    network.load_state_dict({key: state[key] for key in own if key in state}, strict=False)


def _adapt_channels(kernel: Tensor, channels: int) -> Tensor:
    """A convolution for RGB made one for another number of channels, as timm does: one is the sum of the three."""
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    return kernel.repeat(1, -(-channels // 3), 1, 1)[:, :channels] * (3.0 / channels)


def _misfit(own: dict[str, Tensor], state: dict[str, Tensor], head: tuple[str, ...]) -> str:
    """What keeps a state dict from fitting, with a few names; empty if nothing does."""
    heads = tuple(f"{name}." for name in head)
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    surplus = [key for key in state if key not in own and not key.startswith(heads)]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    return "; ".join(
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for kind, keys in (("missing", missing), ("unexpected", surplus), ("of another shape", shapes))
        if keys
    )
