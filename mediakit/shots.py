"""Shot cuts, frame by frame, cheap enough to run on every frame."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

CUT_CORRELATION = 0.5
"""Correlation between consecutive thumbnails below which a cut is seen. Measured on seven real and made clips: .14 and
.39 at their cuts, not below .64 anywhere else (a parrot's sudden turn), .92 and more in calm film."""


def thumbnail(image: torch.Tensor, rows: int = 36) -> NDArray[np.float32]:
    """Green channel of an RGB image ``(3, H, W)``, sampled on a grid of about ``rows`` rows: ``(h, w)``."""
    step = max(1, image.shape[1] // rows)
    return image.numpy()[1, step // 2 :: step, step // 2 :: step].astype(np.float32)


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Pearson correlation of two thumbnails of one size; 1 if both are flat, 0 if only one is."""
    a, b = (first - first.mean()).ravel(), (second - second.mean()).ravel()
    energies = float(a @ a), float(b @ b)
    flat = [energy < a.size for energy in energies]  # less than one gray level: black, white or a fade's end
    if any(flat):
        return 1.0 if all(flat) else 0.0
    return float(a @ b) / (energies[0] * energies[1]) ** 0.5


class CutDetector:
    """Says of each frame whether a new shot begins with it.

    Brightness and contrast do not count, so flashes and fades are no cuts.

    Args:
        threshold: Correlation with the frame before, below which it is a cut.
    """

    def __init__(self, threshold: float = CUT_CORRELATION) -> None:
        self.threshold = threshold
        self._before: NDArray[np.float32] | None = None

    def step(self, image: torch.Tensor) -> bool:
        """Takes the next frame ``(3, H, W)``; the first one is no cut, one of another size is."""
        now, before = thumbnail(image), self._before
        self._before = now
        if before is None:
            return False
        return now.shape != before.shape or correlation(before, now) < self.threshold
