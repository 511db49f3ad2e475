"""The window of sound that a clip is coloured by."""

from __future__ import annotations

import torch
from torch import Tensor

from mediakit.summary import SILENCE_RMS

RATE = 16_000
"""Samples a second of all sound in colorization."""
WINDOW = 10.0
"""Seconds of sound that are heard at a time."""
_FADE = 0.05  # seconds in which a short sound that repeats fades into itself


def fill_window(waveform: Tensor, seconds: float = WINDOW, offset: int = 0) -> Tensor:
    """Makes a sound as long as the window: a longer one is cut, a shorter one repeats with a crossfade.

    Args:
        waveform: Mono at `RATE`, (N,) in [-1, 1].
        seconds: Length of the window.
        offset: Sample to begin at, taken modulo what there is.

    Returns:
        float32 (round(seconds * RATE),); zeros for a sound of no length.
    """
    from mediakit.synthetic.recordings import loop

    count = round(seconds * RATE)
    if not len(waveform):
        return torch.zeros(count)
    return torch.from_numpy(loop(waveform.float().numpy(), count, offset, round(_FADE * RATE)))


def is_silent(waveform: Tensor) -> bool:
    """Whether a sound says nothing: its root mean square lies below 1e-4 (-80 dB), or it has no length."""
    return not len(waveform) or float(waveform.double().square().mean().sqrt()) < SILENCE_RMS
