"""Recorded sounds by class: finding their files, reading one, and making it as long as a scene."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import MediaError
from mediakit.io import check_readable, read_audio

SILENCE = 1e-4
"""Root mean square below which a recording says nothing."""


def find_recordings(source: str | Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Lists recordings by class.

    Args:
        source: Files by class name, or a pattern as the shell knows it whose parent folders are the classes, such as
            ``"esc10/*/[1-4]-*.ogg"``.

    Returns:
        Files by class, both sorted.

    Raises:
        MediaError: A file is missing, or the pattern matches none.
        ValueError: A class has no files.
    """
    if isinstance(source, str):
        found: dict[str, list[str]] = {}
        for path in glob(source, recursive=True):
            if Path(path).is_file():
                found.setdefault(Path(os.path.abspath(path)).parent.name, []).append(path)
        if not found:
            raise MediaError(
                source, "matches no file", "Name recordings as FOLDER/CLASS/FILE, for example 'esc10/*/*.ogg'."
            )
    else:
        found = {name: list(paths) for name, paths in source.items()}
        for name, paths in found.items():
            if not paths:
                raise ValueError(f"the class {name!r} has no recordings")
            for path in paths:
                check_readable(path)
    return {name: sorted(found[name]) for name in sorted(found)}


def read_recording(path: str, rate: int) -> NDArray[np.float32]:
    """Reads a recording as mono.

    Args:
        path: The file.
        rate: Samples per second to resample to.

    Returns:
        float32 (N,) in [-1, 1].

    Raises:
        MediaError: It cannot be read, or is silent.
    """
    wave = read_audio(path, rate=rate, channels=1).waveform[0].numpy()
    if not wave.size or np.sqrt(np.mean(np.square(wave, dtype=np.float64))) < SILENCE:
        raise MediaError(path, "is silent", "Take it off the list of recordings.")
    return wave


def loop(wave: NDArray[np.float32], count: int, offset: int, fade: int) -> NDArray[np.float32]:
    """Repeats a sound without a jump: its end fades into its beginning with equal power.

    Args:
        wave: Sound (N,).
        count: Samples wanted. A sound of at least that length is cut, not repeated.
        offset: Sample to begin at, 0 or more; taken modulo the length of a turn.
        fade: Samples of the crossfade, at the most a quarter of the sound.

    Returns:
        float32 (count,).
    """
    if len(wave) >= count:
        offset %= len(wave) - count + 1
        return wave[offset : offset + count]
    fade = min(fade, len(wave) // 4)
    turn = len(wave) - fade
    angle = (np.arange(fade, dtype=np.float32) + 0.5) / max(fade, 1) * np.float32(np.pi / 2)
    once = wave[:turn].copy()
    once[:fade] = wave[:fade] * np.sin(angle) + wave[turn:] * np.cos(angle)
    return once[(offset + np.arange(count)) % turn]
