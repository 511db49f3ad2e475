"""Sounds varied for training, so that the few recordings of a class do not become its meaning."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SPEED = 0.15
"""Largest change of speed, and with it of pitch, as a share."""
GAIN = 6.0
"""Largest change of level in dB."""
NOISE = (15.0, 45.0)
"""Range of signal-to-noise ratios of added white noise, in dB."""
MASK = 0.25
"""Largest share of the time that is silenced, in one piece."""


def vary_sound(waveform: Tensor) -> Tensor:
    """Changes speed, level, noise and a silenced piece of each sound by chance; torch's global generator draws.

    Args:
        waveform: Mono, (B, N) in [-1, 1].

    Returns:
        (B, N), within [-1, 1]. Silence stays silence.
    """
    count, length = waveform.shape
    speed, gain, snr, start, share = torch.rand(5, count).tolist()
    out = []
    for n, wave in enumerate(waveform):
        factor = 1 + SPEED * (2 * speed[n] - 1)
        size = max(1, round(length / factor))
        fast = F.interpolate(wave[None, None], size, mode="linear", align_corners=False)[0, 0]
        fast = fast.repeat(-(-length // size))[:length]  # what is missing at the end begins again
        level = fast.square().mean().sqrt()
        noise = torch.randn(length).to(wave) * level * 10 ** (-(NOISE[0] + (NOISE[1] - NOISE[0]) * snr[n]) / 20)
        varied = (fast + noise) * 10 ** (GAIN * (2 * gain[n] - 1) / 20)
        piece = round(MASK * share[n] * length)
        begin = round(start[n] * (length - piece))
        varied[begin : begin + piece] = 0
        out.append(varied.clamp(-1, 1))
    return torch.stack(out)
