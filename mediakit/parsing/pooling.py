"""Features as they circulate for LLP, pooled to one vector a second.

The authors of MM-CSE pool inside their network, after its first Linear. That layer and the pooling are both linear, and
the weights of each pooled vector sum to 1, so pooling first gives the same result for a fraction of the work.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, interpolate

CLAP_SHAPE = (64, 768)
"""Shape of an HTSAT map as CLAP gives it: 2 bands of frequency × 32 times, frequency slowest; 768 channels."""
_BANDS, _TIMES, _FINE = 2, 32, 1024


@lru_cache
def clap_pooling(segments: int = 10) -> Tensor:
    """The constant P by which ``P @ map`` pools a CLAP map over frequency and time.

    The authors interpolate the (2, 32) grid bicubically to (2, 1024) (align_corners False), average over frequency and
    average time adaptively to ``segments``. Each step is linear, so their product is this matrix: the result of the
    steps for each unit map.

    Args:
        segments: Seconds of the clip, T.

    Returns:
        ``(T, 64)`` float32; each row sums to 1.
    """
    with torch.inference_mode(False):  # it is kept, and later calls may want gradients through it
        grid = torch.eye(_BANDS * _TIMES, dtype=torch.float64).view(-1, 1, _BANDS, _TIMES)
        fine = interpolate(grid, size=(_BANDS, _FINE), mode="bicubic", align_corners=False)
        return adaptive_avg_pool1d(fine.mean(2), segments)[:, 0].T.float().contiguous()


def pool_clap(map: Tensor, segments: int = 10) -> Tensor:
    """Pools CLAP maps ``(..., 64, C)`` to ``(..., T, C)``: equal to the authors' pooling after projection."""
    if map.ndim < 2 or map.shape[-2] != CLAP_SHAPE[0]:
        raise ValueError(f"a CLAP map must be (..., 64, channels), got {(*map.shape,)}")
    return clap_pooling(segments).to(map) @ map


def pool_frames(frames: Tensor, rate: int = 8) -> Tensor:
    """Averages features of ``rate`` pictures a second, ``(..., rate·T, V)``, to ``(..., T, V)``."""
    if frames.ndim < 2 or frames.shape[-2] % rate:
        raise ValueError(f"frames must be (..., {rate} a second, channels), got {(*frames.shape,)}")
    return frames.unflatten(-2, (-1, rate)).mean(-2)


def per_second(audio: Tensor, frames: Tensor, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Brings the three features of a video to one vector a second, whichever of the circulating kinds they are.

    Args:
        audio: ``(..., T, A)``, or CLAP maps ``(..., 64, 768)`` (so taken where ``clips`` is not 64 long).
        frames: ``(..., T, V)``, or ``(..., r·T, V)`` at r pictures a second, such as 8 of ResNet-152.
        clips: ``(..., T, S)``; sets T.

    Returns:
        ``(..., T, A)``, ``(..., T, V)``, ``(..., T, S)``.

    Raises:
        ValueError: They do not fit together.
    """
    seconds = clips.shape[-2]
    if audio.shape[-2:] == CLAP_SHAPE and seconds != CLAP_SHAPE[0]:
        audio = pool_clap(audio, seconds)
    if frames.shape[-2] != seconds and frames.shape[-2] % seconds == 0:
        frames = pool_frames(frames, frames.shape[-2] // seconds)
    if not audio.shape[-2] == frames.shape[-2] == seconds:
        rows = f"{audio.shape[-2]} rows of audio and {frames.shape[-2]} of frames"
        raise ValueError(f"{rows} do not fit {seconds} of clips")
    return audio, frames, clips
