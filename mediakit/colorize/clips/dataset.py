"""Clips out of the cache, ready for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from mediakit.colorize.clips.cache import CachedClip
from mediakit.colorize.sound import WINDOW, fill_window
from mediakit.errors import require


@dataclass(frozen=True)
class ClipItem:
    """A clip of a split, ready to be loaded.

    Attributes:
        id: Its name.
        source: The recording that it was cut from.
        clip: Its place in the cache.
        frames: Numbers of its colourful pictures, those next to its middle first.
        label: Number of its label, -1 where it is not known.
        group: Number of its group, likewise.
    """

    id: str
    source: str
    clip: CachedClip
    frames: tuple[int, ...]
    label: int
    group: int


class ClipDataset(Dataset[dict[str, Any]]):
    """Clips out of the cache; see `.ColorizeDataModule` for what an item is.

    Args:
        items: The clips.
        size: Side of the pictures.
        frames: Pictures of each.
        augment: Whether to draw pictures, place, size, mirroring and where a short sound begins.
        crop: Smallest share of the short side's square that a drawn crop covers.
        flip: Whether to mirror every other one.
    """

    def __init__(
        self, items: Sequence[ClipItem], size: int, frames: int, augment: bool, crop: float = 0.6, flip: bool = True
    ) -> None:
        self.items, self.size, self.frames = tuple(items), size, frames
        self.augment, self.crop, self.flip = augment, crop, flip

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.items[index]
        order = list(item.frames)
        if self.augment:
            order = [order[n] for n in torch.randperm(len(order)).tolist()]
        chosen = [order[n % len(order)] for n in range(self.frames)]
        present = item.clip.sound == "present"
        open_file = require("safetensors", "The cache of clips").safe_open
        with open_file(item.clip.file, "pt") as file:
            stored = file.get_slice("frames")
            pictures = torch.cat([stored[n : n + 1] for n in chosen])
            waveform = file.get_tensor("waveform").float() / 32767 if present else torch.zeros(0)
        offset = int(torch.randint(len(waveform), (1,))) if self.augment and present else 0
        return {
            "frames": self._drawn(pictures) if self.augment else middle_square(pictures, self.size),
            "waveform": fill_window(waveform, WINDOW, offset),
            "present": torch.tensor(float(present)),
            "label": torch.tensor(item.label),
            "group": torch.tensor(item.group),
            "id": item.id,
            "source": item.source,
        }

    def _drawn(self, pictures: Tensor) -> Tensor:
        share, vertical, horizontal, mirror = torch.rand(4).tolist()
        height, width = pictures.shape[2:]
        side = max(1, round(min(height, width) * (self.crop + (1 - self.crop) * share) ** 0.5))
        top, left = round(vertical * (height - side)), round(horizontal * (width - side))
        pictures = middle_square(pictures[:, :, top : top + side, left : left + side], self.size)
        return pictures.flip(3) if self.flip and mirror < 0.5 else pictures


def middle_square(pictures: Tensor, size: int) -> Tensor:
    """The middle of pictures, uint8 (n, 3, h, w) -> (n, 3, size, size)."""
    height, width = pictures.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pictures[:, :, top : top + side, left : left + side]
    if side != size:
        resized = interpolate(square.float(), (size, size), mode="bilinear", align_corners=False, antialias=True)
        square = resized.round().clamp(0, 255).to(torch.uint8)
    return square.contiguous()
