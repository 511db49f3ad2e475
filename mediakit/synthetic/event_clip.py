"""One clip with events: what happens in it, and its pictures and its sound made from that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mediakit.errors import require
from mediakit.io import Audio
from mediakit.synthetic import backdrops, sights, sounds, timbres
from mediakit.synthetic.clip import Clip

if TYPE_CHECKING:
    from mediakit.synthetic.events import EventClips

CLASSES = sounds.SOUNDS
"""Names of the classes, in the order of the labels' columns."""

Span = tuple[int, int]


class Event(NamedTuple):
    """One row of the truth, in whole seconds as LLP has them.

    Attributes:
        label: One of `CLASSES`.
        modality: ``"audio"`` or ``"visual"``.
        onset: Seconds, included.
        offset: Seconds, excluded.
    """

    label: str
    modality: str
    onset: int
    offset: int


class Labels(NamedTuple):
    """Truth for each second: uint8 (T, K), 1 where an event of a class of `CLASSES` is on."""

    audio: torch.Tensor
    visual: torch.Tensor


class Occurrence(NamedTuple):
    """Something that happens: heard, seen or both.

    Attributes:
        label: One of `CLASSES`.
        heard: Onset and offset of the sound in seconds, or None.
        seen: Onset and offset of the picture, or None.
        timbre: What carries the sound; see `.timbres.TIMBRES`.
        level: Of the sound, in dB.
        style: How the shape is painted; see `.sights.STYLES`.
        x: Centre of the shape, in pixels from the left.
        y: The same from the top.
        size: Height of the shape in pixels.
    """

    label: str
    heard: Span | None
    seen: Span | None
    timbre: str
    level: float
    style: str
    x: float
    y: float
    size: float

    @property
    def span(self) -> Span:
        """From the first to the last second that it is heard or seen."""
        spans = [span for span in (self.heard, self.seen) if span]
        return min(spans)[0], max(stop for _, stop in spans)


class Stray(NamedTuple):
    """A shape of no class: its name, style, onset and offset in seconds, place and size in pixels."""

    name: str
    style: str
    onset: float
    offset: float
    x: float
    y: float
    size: float


class Burst(NamedTuple):
    """A burst of noise of no class: kind, onset and length in seconds, level in dB."""

    noise: str
    onset: float
    length: float
    level: float


class EventClip(Clip):
    """A clip with events; `.EventClips.clip` makes it.

    Attributes:
        occurrences: What happens, from the back of the picture to the front.
        strays: Shapes that belong to no class.
        bursts: Noises that belong to no class.
        noise: Kind of the bed of noise.
        snr: Level of a sound of 0 dB above that bed, in dB.
        peak: Largest magnitude in the sound.
        backdrop: Kind of the backdrop.
        photograph: Which one, where the backdrop is a photograph.
    """

    def __init__(self, family: EventClips, index: int) -> None:
        self.id = family.name(index)
        self.fps, self._family, self._index = family.fps, family, index
        draw = self._stream("plan")
        self.occurrences = family.draw_occurrences(draw)
        self.strays = family.draw_strays(draw)
        self.bursts = family.draw_bursts(draw)
        self.noise = str(draw.choice(timbres.NOISES[family.split]))
        self.snr = round(float(draw.uniform(family.snr_low, family.snr_high)), 2)
        self.peak = round(float(draw.uniform(0.3, 0.95)), 3)
        self.backdrop = str(draw.choice(backdrops.BACKDROPS[family.split]))
        self.photograph = str(draw.choice(backdrops.PHOTOGRAPHS[family.split]))

    def _stream(self, *key: str | int) -> np.random.Generator:
        return self._family.stream(self._index, *key)

    def _score(self, number: int) -> sounds.Score:
        occurrence, draw = self.occurrences[number], self._stream("score", number)
        onset, offset = occurrence.span
        return sounds.draw_score(occurrence.label, offset - onset, self._family.rate, draw)

    @property
    def events(self) -> tuple[Event, ...]:
        """The truth, by onset."""
        found = [
            Event(occurrence.label, modality, *span)
            for occurrence in self.occurrences
            for modality, span in (("audio", occurrence.heard), ("visual", occurrence.seen))
            if span
        ]
        return tuple(sorted(found, key=lambda event: (event.onset, event.offset, event.modality, event.label)))

    def labels(self) -> Labels:
        """The truth for each second and class."""
        labels = Labels(*torch.zeros(2, self._family.seconds, len(CLASSES), dtype=torch.uint8))
        for event in self.events:
            getattr(labels, event.modality)[event.onset : event.offset, CLASSES.index(event.label)] = 1
        return labels

    def truth(self) -> dict[str, Any]:
        family = self._family
        return {
            "id": self.id,
            "split": family.split,
            "seed": family.seed,
            "index": self._index,
            "seconds": family.seconds,
            "width": family.width,
            "height": family.height,
            "fps": family.fps,
            "rate": family.rate,
            "classes": list(CLASSES),
            "events": [event._asdict() for event in self.events],
            "occurrences": [occurrence._asdict() for occurrence in self.occurrences],
            "strays": [stray._asdict() for stray in self.strays],
            "bursts": [burst._asdict() for burst in self.bursts],
            "noise": self.noise if family.noisy else None,
            "snr": self.snr if family.noisy else None,
            "peak": self.peak,
            "backdrop": self.backdrop,
            "photograph": self.photograph if self.backdrop == "photograph" else None,
        }

    def sound(self) -> Audio:
        rate = self._family.rate
        mix = np.zeros(self._family.seconds * rate, np.float64)
        for number, occurrence in enumerate(self.occurrences):
            if occurrence.heard:
                begin = occurrence.span[0]
                wave = sounds.play(self._score(number), rate, self._stream("voice", number), occurrence.timbre)
                first, stop = ((second - begin) * rate for second in occurrence.heard)
                part = timbres.unit(wave[first:stop] * _gate(stop - first, rate))
                mix[occurrence.heard[0] * rate : occurrence.heard[1] * rate] += 10 ** (occurrence.level / 20) * part
        for number, burst in enumerate(self.bursts):
            draw = self._stream("burst", number)
            noise = timbres.draw_noise(burst.noise, burst.length, rate, draw)
            fall = np.linspace(1, 0, len(noise)) ** draw.uniform(0.5, 4) * _gate(len(noise), rate)
            start = round(burst.onset * rate)
            mix[start : start + len(noise)] += (10 ** (burst.level / 20) * noise * fall)[: len(mix) - start]
        if self._family.noisy:
            bed = timbres.draw_noise(self.noise, self._family.seconds, rate, self._stream("bed"))
            mix += 10 ** (-self.snr / 20) * bed
        mix *= self.peak / max(np.abs(mix).max(), 1e-9)
        return Audio(torch.from_numpy(mix.astype(np.float32))[None], rate, 0.0)

    def frames(self) -> Iterator[torch.Tensor]:
        cv2 = require("cv2", "Drawing clips", "opencv-python")
        family = self._family
        margin, (width, height) = int(np.ceil(family.shake)) + 1, (family.width, family.height)
        scene = backdrops.draw_backdrop(
            self.backdrop, height + 2 * margin, width + 2 * margin, self._stream("backdrop"), self.photograph
        )
        actors = [self._sprite(scene, stray, "stray", number) for number, stray in enumerate(self.strays)]
        players = [
            (self._sprite(scene, occurrence, occurrence.label), occurrence, occurrence.seen, self._score(number).beats)
            for number, occurrence in enumerate(self.occurrences)
            if occurrence.seen
        ]
        sway = self._stream("shake").uniform([[0.5], [0.0]], [[2.0], [2 * np.pi]], (2, 4))  # Hz, radians
        for number in range(family.seconds * family.fps):
            time = number / family.fps
            waves = np.sin(2 * np.pi * sway[0] * time + sway[1])
            shift = family.shake / 2 * np.array([waves[0] + waves[1], waves[2] + waves[3]])
            centre = np.array([width - 1, height - 1]) / 2 + margin - shift
            image = cv2.getRectSubPix(scene, (width, height), centre.tolist())
            for sprite, stray in zip(actors, self.strays, strict=True):
                if stray.onset <= time < stray.offset:
                    sprite.draw_on(image, backdrops.stray(stray.name, time), tuple(shift))
            for sprite, occurrence, (onset, offset), beats in players:
                if onset <= time < offset:
                    at = sights.moment(time - occurrence.span[0], beats)
                    sprite.draw_on(image, sights.pose(occurrence.label, at), tuple(shift))
            yield torch.from_numpy(image).permute(2, 0, 1)

    def _sprite(self, scene: NDArray[np.uint8], item: Occurrence | Stray, *key: str | int) -> sights.Sprite:
        reach = item.size / 2
        rows, columns = (slice(max(int(c - reach), 0), int(c + reach)) for c in (item.y, item.x))
        behind = scene[rows, columns].mean((0, 1))
        draw = self._stream("sprite", *key)  # an event that comes again looks the same
        return sights.Sprite(item.style, (item.x, item.y), item.size, behind, self._family.contrast, draw)


def _gate(samples: int, rate: int) -> NDArray[np.float64]:
    """Fades of 10 ms, inside."""
    rise = np.minimum((np.arange(samples) + 0.5) / (0.01 * rate), 1)
    return rise * rise[::-1]
