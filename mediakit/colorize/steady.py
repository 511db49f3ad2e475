"""Colours that hold still in time, and how still they hold.

A network colours each frame anew, and what it guesses trembles with grain and noise: flicker is the first complaint in
this field. :class:`Steadier` follows every point of a shot along the optical flow and averages its colour over time for
as long as its lightness stays what it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mediakit.colorize.color import join
from mediakit.errors import require

STILL = 1.0
"""Change of L below which a pixel counts as the same from one frame to the next, for `flicker`."""
DISTANCES = (1, 2, 4)
"""Frames between two pictures whose distributions of colour are compared."""
_FLOW_SIDE = 64  # pixels


class Steadier:
    """Averages colour in time along the motion of a shot; causal, one frame after the other.

    Each pixel has an age: for how many frames its lightness has been followed. Its colour is the mean over these frames
    (Kalman's gain for a constant, 1 / age), at most over ``memory`` of them, so that a change of the guess that lasts
    comes through. Age is lost where lightness, taken along the optical flow, is not the same: at what appears from
    behind something, and at a cut. A change of the whole picture's brightness, such as old film's, loses nothing.

    Args:
        memory: Frames that the mean reaches over, at least 1; 1 changes nothing.
        tolerance: Difference in L along the motion at which about two thirds of the age are lost.
        motion: Whether to follow the optical flow; without, colours are held where the picture stands still.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(self, memory: float = 24.0, tolerance: float = 4.0, motion: bool = True) -> None:
        if memory < 1 or tolerance <= 0:
            raise ValueError(f"memory must be at least 1 and tolerance above 0, got {memory} and {tolerance}")
        self.memory, self.tolerance, self.motion = memory, tolerance, motion
        self._state: Tensor | None = None  # (4, h, w): lightness, a, b and age
        self._flow = _Flow() if motion else None

    def step(self, ab: Tensor, lightness: Tensor, cut: bool = False) -> Tensor:
        """Takes the next frame, small as the network gives it.

        Args:
            ab: a and b, (2, h, w).
            lightness: L of that size in 0..100, (1, h, w).
            cut: Whether a new shot begins: nothing is carried over. So with a frame of another size.

        Returns:
            Steady a and b, (2, h, w).

        Raises:
            ValueError: The shapes do not belong together.
        """
        if ab.ndim != 3 or len(ab) != 2 or lightness.shape != (1, *ab.shape[1:]):
            raise ValueError(
                f"ab must be (2, h, w) and lightness (1, h, w), got {tuple(ab.shape)} and {tuple(lightness.shape)}"
            )
        before = self._state
        age = torch.ones_like(lightness)
        if before is not None and not cut and before.shape[1:] == ab.shape[1:]:
            change = _change(before[:1], lightness)
            if self._flow is not None:
                moved = _moved(before, self._flow(lightness, before[:1]))
                change_moved = _change(moved[:1], lightness)
                # Only where it explains more: flow trembles too, and each move blurs a little.
                better = change_moved < 0.5 * change
                before, change = torch.where(better, moved, before), torch.where(better, change_moved, change)
            kept = torch.exp(-change / self.tolerance**2)
            age = (1 + before[3:] * kept).clamp(max=self.memory)
            ab = before[1:3] + (ab - before[1:3]) / age
        self._state = torch.cat([lightness, ab, age])
        return ab


class _Flow:
    """Dense optical flow from a frame back to the one before (DIS; Kroeger et al., ECCV 2016)."""

    def __init__(self) -> None:
        cv2 = require("cv2", "Keeping colours steady along the motion", "opencv-python")
        self._method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, now: Tensor, before: Tensor) -> Tensor:
        """Lightness (1, h, w) each; gives (2, h, w), x and y: what is at p now was at p + flow before."""
        height, width = now.shape[1:]
        # Pictures of too few rows for its pyramid, such as 17x300, kill OpenCV: no exception, a segmentation fault.
        pad = (0, max(0, _FLOW_SIDE - width), 0, max(0, _FLOW_SIDE - height))
        first, second = (
            F.pad((x * 2.55).round().clamp(0, 255), pad, "replicate")[0].to(torch.uint8).cpu().numpy()
            for x in (now, before)
        )
        flow = torch.from_numpy(self._method.calc(first, second, None))[:height, :width]
        return flow.permute(2, 0, 1).to(now.device)


def _change(before: Tensor, now: Tensor) -> Tensor:
    """Squared change of L (1, h, w) around each pixel, apart from that of the whole picture's brightness."""
    change = now - before
    change = change - change.median()
    # An edge that moved is a change on both its sides, grain is little of one anywhere.
    return F.avg_pool2d(change.square()[None], 3, 1, 1, count_include_pad=False)[0]


def _moved(maps: Tensor, flow: Tensor) -> Tensor:
    """Maps (C, h, w) fetched from where the flow points; where it points outside, age (the last map) is 0."""
    height, width = maps.shape[1:]
    y, x = torch.meshgrid(
        torch.arange(height, device=maps.device), torch.arange(width, device=maps.device), indexing="ij"
    )
    x, y = x + flow[0], y + flow[1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1)[None]
    moved = F.grid_sample(maps[None], grid, mode="bilinear", padding_mode="border", align_corners=True)[0]
    return torch.cat([moved[:-1], moved[-1:] * inside])


def flicker(ab: Tensor, lightness: Tensor) -> float:
    """Mean distance in ab from each frame to the next, over the pixels whose lightness changes by less than `STILL`.

    Args:
        ab: Frames of one shot, (N, 2, h, w).
        lightness: Their L, (N, 1, h, w).

    Returns:
        In units of Lab; NaN if nothing stands still, or of a single frame.

    Raises:
        ValueError: The shapes do not belong together.
    """
    if ab.ndim != 4 or ab.shape[1] != 2 or lightness.shape != (len(ab), 1, *ab.shape[2:]):
        raise ValueError(
            f"ab must be (N, 2, h, w) and lightness (N, 1, h, w), got {tuple(ab.shape)} and {tuple(lightness.shape)}"
        )
    total, count = _still_change(ab[:-1], ab[1:], lightness[:-1], lightness[1:])
    return total / count if count else float("nan")


def color_distribution_consistency(rgb: Tensor, distances: Sequence[int] = DISTANCES) -> dict[int, float]:
    """How far the colours of a film, taken as a whole, differ between frames (CDC; Liu et al., TCVC, 2021).

    The Jensen-Shannon divergence, in nats, of the 256-level histograms of two frames, mean over R, G and B and over all
    pairs of frames at a distance. The published number is the mean over the distances 1, 2 and 4.

    Args:
        rgb: Frames of one shot, uint8 (N, 3, H, W).
        distances: Frames from one to the other.

    Returns:
        By distance, 0 (the same colours) to ln 2 (none in common); NaN where the shot is too short.
    """
    histograms = torch.stack([_histogram(frame) for frame in rgb])
    return {
        d: float(_divergence(histograms[:-d], histograms[d:]).mean()) if d < len(rgb) else float("nan")
        for d in distances
    }


class SteadinessMeter:
    """:func:`flicker` and :func:`color_distribution_consistency` of a film frame by frame, within its shots only."""

    def __init__(self, distances: Sequence[int] = DISTANCES) -> None:
        self._before: tuple[Tensor, Tensor] | None = None
        self._histograms: deque[Tensor] = deque(maxlen=max(distances))
        self._total, self._count = 0.0, 0
        self._divergence = dict.fromkeys(distances, (0.0, 0))

    def step(self, ab: Tensor, lightness: Tensor, cut: bool = False) -> None:
        """Takes the next frame.

        Args:
            ab: a and b, (2, h, w).
            lightness: L of that size in 0..100, (1, h, w).
            cut: Whether a new shot begins.
        """
        if cut:
            self._before = None
            self._histograms.clear()
        if self._before is not None:
            total, count = _still_change(self._before[0], ab, self._before[1], lightness)
            self._total, self._count = self._total + total, self._count + count
        now = _histogram((join(lightness, ab) * 255).round().to(torch.uint8))
        for distance, (total, count) in self._divergence.items():
            if len(self._histograms) >= distance:
                found = float(_divergence(self._histograms[-distance], now).mean())
                self._divergence[distance] = total + found, count + 1
        self._histograms.append(now)
        self._before = ab, lightness

    @property
    def flicker(self) -> float:
        """So far, as :func:`flicker`."""
        return self._total / self._count if self._count else float("nan")

    @property
    def consistency(self) -> dict[int, float]:
        """So far, as :func:`color_distribution_consistency`."""
        return {d: total / count if count else float("nan") for d, (total, count) in self._divergence.items()}


def _still_change(ab: Tensor, next_ab: Tensor, lightness: Tensor, next_lightness: Tensor) -> tuple[float, int]:
    still = (next_lightness - lightness).abs().squeeze(-3) < STILL
    change = torch.linalg.vector_norm(next_ab - ab, dim=-3)
    return float((change * still).sum(dtype=torch.float64 if change.device.type != "mps" else None)), int(still.sum())


def _histogram(rgb: Tensor) -> Tensor:
    """Shares of the 256 levels in a uint8 picture (3, H, W): (3, 256)."""
    counts = torch.stack([torch.bincount(channel.flatten().long(), minlength=256) for channel in rgb])
    return counts / rgb[0].numel()


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence over the last axis in nats."""
    middle = (p + q) / 2
    return ((torch.special.entr(middle) * 2 - torch.special.entr(p) - torch.special.entr(q)).sum(-1) / 2).clamp(min=0)
