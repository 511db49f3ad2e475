"""What every encoder has: ``dim``, a frozen or trainable state, and a card that says exactly which weights it holds."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TypeVar

import torch
from torch import Tensor, nn

from mediakit.encoders.weight_files import WEIGHT_FILES

E = TypeVar("E", bound="Encoder")


def weight_hash(module: nn.Module) -> str:
    """SHA-256 of a module's state dict: sorted names, each with dtype, shape and little-endian bytes.

    It depends on neither the device, the memory layout nor the order of the keys, and changes with any single bit.

    Args:
        module: Any module; its non-persistent buffers do not count.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}\0{str(tensor.dtype).removeprefix('torch.')}\0{tuple(tensor.shape)}\0".encode())
        digest.update(_little_endian(tensor))
    return digest.hexdigest()


def _little_endian(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    octets = flat.view(torch.uint8)
    if sys.byteorder == "big":
        octets = octets.view(-1, flat.element_size()).flip(1).reshape(-1)
    return octets.numpy().data


def within(values: Tensor, low: float, high: float) -> bool:
    """Tells whether all values lie in [low, high] (NaN does not); True while a network is traced, without values."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or values.is_meta:
        return True
    least, most = values.detach().aminmax()
    return bool((least >= low) & (most <= high))


class Identity:
    """Mixin that gives a module its card; set the three attributes in the constructor."""

    variant: str = ""
    """The inner network, for example ``"resnet18"``; empty where there is no choice."""
    weights: str | None = None
    """None for random weights, else a tag or a file."""
    seed: int | None = None
    """Seed of the random weights; None where nothing is drawn at random."""

    def card(self) -> dict[str, str | int | None]:
        """Says which encoder made a feature, in plain JSON values that travel with everything made from it.

        Returns:
            ``name``, for example ``"AudioEncoder(resnet18)"``; ``weights``: ``"none"``, a tag or a file's name;
            ``seed``: of the random weights, None for loaded ones; ``sha256``: `.weight_hash` of the present weights.
        """
        assert isinstance(self, nn.Module)
        kind = type(self).__name__
        weights = self.weights or "none"
        if weights.endswith(WEIGHT_FILES):
            weights = os.path.basename(weights)
        return {
            "name": f"{kind}({self.variant})" if self.variant else kind,
            "weights": weights,
            "seed": self.seed if self.weights is None else None,
            "sha256": weight_hash(self),
        }


class Encoder(Identity, nn.Module):
    """Base of the encoders: ``forward(x) -> (B, T, dim)``.

    A frozen encoder stays in eval mode even when the model around it is put in training mode, and its parameters want
    no gradient (the input still may). A trainable one starts in training mode, as any module does.
    """

    dim: int
    frozen: bool = False

    def freeze(self: E, frozen: bool = True) -> E:
        """Freezes (or thaws) all parameters and normalisation statistics, in place."""
        self.frozen = frozen
        self.requires_grad_(not frozen)
        return self.train(not frozen)

    def train(self: E, mode: bool = True) -> E:
        """Sets training mode, unless the encoder is frozen."""
        return super().train(mode and not self.frozen)
