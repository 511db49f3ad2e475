"""What guides colours beside the picture itself: a sound, the sound of each shot of a film, or a colour photograph."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mediakit.colorize.clips.decoding import NEARLY_GRAY
from mediakit.colorize.painting import network_size, resize
from mediakit.colorize.result import Guided, SoundState
from mediakit.colorize.sound import RATE, WINDOW, fill_window, is_silent
from mediakit.errors import MediaError, NoStreamError
from mediakit.io import Audio, check_readable, read_audio_blocks, read_image, resample
from mediakit.summary import colorfulness

MOST = 6
"""Windows of 10 s that are heard for one still picture: the first minute of its sound."""
LEAST = 3.0
"""Seconds of sound that are heard of a shot, however short it is: it is widened to both sides."""


@dataclass(frozen=True, eq=False)
class Guide:
    """Semantics that a picture is coloured with.

    Attributes:
        by: What they are of.
        sound: What became of the sound.
        weight: How far they may count, 0 to 1: the network's ``present``.
        semantics: Unit vector (1, dim); None for none.
        note: What a user should know of it, a sentence or nothing.
    """

    by: Literal["sound", "photo", "nothing"] = "nothing"
    sound: SoundState = "not given"
    weight: float = 0.0
    semantics: Tensor | None = None
    note: str = ""

    def believed(self, relevance: float) -> Guided:
        """As it is told in a result."""
        return Guided(self.by, self.sound, self.weight, relevance)


def without(sound: SoundState, note: str = "") -> Guide:
    """No guidance, and why."""
    return Guide(sound=sound, note=note)


def photo_guide(network: nn.Module, photo: str | os.PathLike[str] | Tensor, size: int) -> Guide:
    """Guidance by a colour photograph (exemplar mode): its semantics in the place of a sound's.

    Args:
        network: A `.ColorizationModel`.
        photo: The file, or uint8 RGB (3, H, W).
        size: What the network was trained at, in pixels.

    Raises:
        MediaError: The file is no image.
    """
    rgb = photo if isinstance(photo, Tensor) else read_image(photo)
    height, width = rgb.shape[1:]
    small = resize(rgb[None].float() / 255, network_size(height, width, size))
    note = ""
    if float(colorfulness(rgb)) < NEARLY_GRAY:
        note = "The photograph that guides is nearly gray itself: it has no colours to give."
    semantics = network.semantics(small.to(device_of(network)))  # type: ignore[operator]
    return Guide("photo", "not used", 1.0, semantics, note)


def sound_guide(network: nn.Module, audio: str | os.PathLike[str] | Audio, weight: float = 1.0) -> Guide:
    """Guidance by a sound: the mean of what is heard in its windows of 10 s, silent ones left out.

    A sound shorter than a window is repeated; of a longer one the first minute is heard.

    Args:
        network: A `.ColorizationModel`.
        audio: A file with sound, or the sound itself, of any rate and number of channels.
        weight: How far it may count, 0 to 1.

    Raises:
        MediaError: There is no such file.
        ValueError: It is a waveform without its rate.
    """
    if isinstance(audio, Tensor):
        raise ValueError("a waveform does not tell its rate: give mediakit.io.Audio(waveform, rate, 0.0), or a file")
    if weight == 0:
        return without("not used", "The sound was left out: its weight is 0.")
    if isinstance(audio, Audio):
        whole = resample(audio.waveform.float().mean(0, keepdim=True), audio.rate, RATE)[0]
        return _heard(network, whole[: round(MOST * WINDOW * RATE)].split(round(WINDOW * RATE)), weight, "The sound")
    path = check_readable(audio)
    try:
        with closing(_blocks(path, stop=MOST * WINDOW)) as blocks:
            return _heard(network, blocks, weight, "The sound")
    except NoStreamError as error:
        return without("missing", f"{error} Colours were guessed without sound.")
    except MediaError as error:
        return without("undecodable", f"{error} Colours were guessed without sound.")


def shot_guides(
    network: nn.Module, path: str | os.PathLike[str], spans: Sequence[tuple[float, float]], weight: float = 1.0
) -> list[Guide]:
    """Guidance of each shot of a film by its own sound: one vector a shot, so that colours do not wander inside it.

    A shot is heard through windows of 10 s that cover it, the last one up to its end; a shorter one is widened to
    `LEAST` and repeated. The sound is decoded once, from the beginning to the end.

    Args:
        network: A `.ColorizationModel`.
        path: The film.
        spans: Start and stop of each shot in seconds, in order.
        weight: How far sound may count, 0 to 1.

    Returns:
        One guide a shot; all without sound where the file has none that can be decoded.

    Raises:
        MediaError: There is no such file.
    """
    if weight == 0:
        return [without("not used", "The sound was left out: its weight is 0.")] * len(spans)
    path, guides = check_readable(path), list[Guide]()
    try:
        with closing(_blocks(path)) as blocks:
            tape = _Tape(blocks)
            for start, stop in spans:
                windows = [tape.cut(*window) for window in _windows(start, stop)]
                guides.append(_heard(network, windows, weight, f"The sound from {start:.1f} to {stop:.1f} s"))
    except NoStreamError as error:
        guides = [without("missing", f"{error} Colours were guessed without sound.")]
    except MediaError as error:
        guides.append(without("undecodable", f"{error} Colours were guessed without sound from there on."))
    return guides + guides[-1:] * (len(spans) - len(guides))


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))


def _blocks(path: Path, stop: float | None = None) -> Generator[Tensor, None, None]:
    for audio in read_audio_blocks(path, block=WINDOW, rate=RATE, channels=1, stop=stop):
        yield audio.waveform[0]


def _windows(start: float, stop: float) -> list[tuple[float, float]]:
    """Windows of at most `WINDOW` seconds that cover a shot, their starts evenly spaced."""
    widen = max(0.0, LEAST - (stop - start)) / 2
    start, stop = max(0.0, start - widen), stop + widen
    count = max(1, math.ceil((stop - start) / WINDOW - 1e-6))
    if count == 1:
        return [(start, stop)]
    step = (stop - WINDOW - start) / (count - 1)
    return [(start + n * step, start + n * step + WINDOW) for n in range(count)]


class _Tape:
    """Sound that is wound forwards only: cuts out windows, none of which begins before the one before."""

    def __init__(self, blocks: Iterator[Tensor]) -> None:
        self._blocks, self._held, self._begin = blocks, torch.zeros(0), 0

    def cut(self, start: float, stop: float) -> Tensor:
        """What there is between two times in seconds; shorter where the sound has ended."""
        first, last = round(start * RATE), round(stop * RATE)
        while self._begin + len(self._held) < last:
            block = next(self._blocks, None)
            if block is None:
                break
            past = min(max(0, first - self._begin), len(self._held))
            self._held, self._begin = torch.cat([self._held[past:], block]), self._begin + past
        return self._held[max(0, first - self._begin) : max(0, last - self._begin)]


def _heard(network: nn.Module, windows: Iterable[Tensor], weight: float, name: str) -> Guide:
    """One vector of all windows that say something; a remainder of less than a second counts only if it is alone."""
    found: list[Tensor] = []
    for number, window in enumerate(windows):
        if is_silent(window) or (number and len(window) < RATE):
            continue
        vector: Tensor = network.hear(fill_window(window)[None].to(device_of(network)))  # type: ignore[operator]
        found.append(vector)
    if not found:
        return without("silent", f"{name} is silent: it says nothing about colours.")
    return Guide("sound", "used", weight, F.normalize(torch.stack(found).mean(0), dim=1))
