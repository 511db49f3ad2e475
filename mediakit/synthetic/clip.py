"""What every generated clip has: pictures and sound that are drawn when asked for, and the truth about them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch

from mediakit.io import Audio

SPLITS = ("train", "val", "test")
"""Parts of a corpus that share no source of variation with each other, where a generator promises so."""


def random_stream(*key: str | int) -> np.random.Generator:
    """An independent random generator for a key: seed, split, index, purpose.

    Asking for one thing more or less in a clip leaves every other stream as it was.
    """
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


class Clip(ABC):
    """One generated clip. Making it draws its parameters only; pictures and sound are rendered on demand.

    Attributes:
        id: Name of the clip and of its files.
        fps: Frames per second.
    """

    id: str
    fps: int

    @abstractmethod
    def frames(self) -> Iterator[torch.Tensor]:
        """Renders the pictures: uint8 RGB ``(3, H, W)``, ``fps`` a second; the same at each call."""

    @abstractmethod
    def sound(self) -> Audio:
        """Renders the sound; the same at each call."""

    @abstractmethod
    def truth(self) -> dict[str, Any]:
        """Everything that is known about the clip, as plain JSON values."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Truth that is too large for JSON, by name; none unless a kind of clip has some."""
        return {}


class Generator(ABC):
    """A seeded family of clips: index to clip, in any order, each time the same.

    Args:
        seed: Another seed gives other clips.
        split: ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        ValueError: There is no such split.
    """

    kind: ClassVar[str]
    """Name of the kind of clip: ``"events"``, ``"heads"``, ``"scenes"``."""

    def __init__(self, seed: int = 0, split: str = "train") -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        self.seed, self.split = seed, split

    def stream(self, *key: str | int) -> np.random.Generator:
        """A random generator of this family's own; see `random_stream`."""
        return random_stream(self.kind, self.seed, self.split, *key)

    def name(self, index: int) -> str:
        """Kind, split, seed and number in one word.

        Raises:
            ValueError: The number is negative.
        """
        if index < 0:
            raise ValueError(f"index must be 0 or more, got {index}")
        return f"{self.kind}-{self.split}-{self.seed}-{index:05d}"

    @abstractmethod
    def clip(self, index: int) -> Clip:
        """The clip of a number, ``index >= 0``."""

    def tables(self, clips: Iterable[Clip]) -> dict[str, str]:
        """Texts that list the clips' truth as the field does, by file name: ``{"labels.csv": ...}``."""
        return {}
