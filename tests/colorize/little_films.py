"""Small films and sounds whose content is known to the pixel, or nearly."""

from pathlib import Path

import torch

from mediakit.io import Audio, write_video

COLORS = {"red": (200, 40, 40), "green": (30, 160, 60), "blue": (40, 70, 210), "gray": (120, 120, 120)}


def tone(seconds: float, rate: int = 16_000, level: float = 0.3, pitch: float = 440.0) -> Audio:
    time = torch.arange(round(seconds * rate)) / rate
    return Audio(level * torch.sin(2 * torch.pi * pitch * time)[None], rate, 0.0)


def shot(color: str, count: int, size: tuple[int, int] = (48, 64), moving: bool = True, seed: int = 0):
    """Frames of a coloured field with a lattice that is drawn from a seed and moves."""
    height, width = size
    draw = torch.Generator().manual_seed(seed)
    cells = (torch.rand(6, 8, generator=draw) > 0.5).float()
    pattern = cells.repeat_interleave(-(-height // 6), 0).repeat_interleave(-(-width // 8), 1)[:height, :width]
    base = torch.tensor(COLORS[color], dtype=torch.float32).view(3, 1, 1)
    for n in range(count):
        shade = 0.6 + 0.4 * (pattern.roll(n // 2, 1) if moving else pattern)
        yield (base * shade).round().to(torch.uint8)


def film(path: Path, *shots: tuple[str, float], fps: int = 8, sound: Audio | None = None, **options) -> Path:
    """Writes shots of given colours and seconds one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = (
        frame
        for number, (color, seconds) in enumerate(shots)
        for frame in shot(color, round(seconds * fps), seed=number, **options)
    )
    write_video(path, frames, fps, audio=sound, crf=16, preset="ultrafast", threads=1)
    return path
