"""Sounds varied for training, so that the few recordings of a class do not become its meaning, and films made old."""

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


GAMMA = 1.5
"""An old film is darker or brighter by a power of L between its inverse and this."""
GRAIN = 8.0
"""Largest standard deviation of its grain, in L."""
SCRATCHES = 3
"""Most scratches on it."""


def age_film(lightness: Tensor, share: float) -> Tensor:
    """Gives some pictures what old film has: another gamma, grain of one to three pixels, and upright scratches.

    Args:
        lightness: CIE L, (B, 1, H, W) in 0 to 100.
        share: Share of the pictures that age, by chance (torch's global generator draws).

    Returns:
        (B, 1, H, W), in 0 to 100; pictures that do not age are as they were.
    """
    count, _, height, width = lightness.shape
    chosen = torch.rand(count) < share
    gamma, strength, coarse, scratched = torch.rand(4, count).tolist()
    out = []
    for n, picture in enumerate(lightness):
        if not chosen[n]:
            out.append(picture)
            continue
        size = 1 + int(3 * coarse[n])
        grain = torch.randn(1, 1, -(-height // size), -(-width // size))
        grain = F.interpolate(grain, (height, width), mode="nearest")[0].to(picture)
        aged = 100 * (picture.clamp(min=0) / 100) ** (GAMMA ** (2 * gamma[n] - 1)) + GRAIN * strength[n] * grain
        for _ in range(int((SCRATCHES + 1) * scratched[n])):
            column, depth = torch.rand(2).tolist()
            aged[:, :, int(column * width)] += 80 * (depth - 0.5)
        out.append(aged.clamp(0, 100))
    return torch.stack(out)
