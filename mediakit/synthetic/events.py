"""Clips with seen and heard events whose times are known, in the manner of Look, Listen and Parse (LLP).

A class is a pattern over time in the sound (`mediakit.synthetic.sounds`) and a shape with a motion in the picture
(`mediakit.synthetic.sights`); everything else is drawn freely, and from other kinds in each split: timbres, noises,
styles, backdrops, stray shapes. Mean spectrum and mean colour therefore say little about the class.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mediakit.synthetic import backdrops, sights, timbres
from mediakit.synthetic.clip import Clip, Generator
from mediakit.synthetic.event_clip import CLASSES, Burst, EventClip, Occurrence, Span, Stray


class EventClips(Generator):
    """Seeded clips with events that are heard, seen or both.

    Args:
        seed: Another seed gives other clips.
        split: ``"train"``, ``"val"`` or ``"test"``: each with timbres, noises, styles, backdrops and strays of its own.
        seconds: Length of a clip, at least 1.
        size: Height and width of the picture in pixels, at least 48 and 64.
        fps: Frames per second.
        rate: Samples of sound per second, at least 8000; the sound is mono.
        snr_low: Least level of a sound of 0 dB above the bed of noise, in dB.
        snr_high: Greatest such level.
        noisy: Whether there is a bed of noise at all.
        loudness: Range of the levels of sounds, in dB: they lie between ``-loudness`` and 0.
        mismatch: Probability that an event is only heard or only seen.
        shorter: Probability that of an event that is both heard and seen, one is shorter than the other.
        again: Probability that an event of a class comes a second time in the clip.
        strays: Mean number of stray shapes, and of stray bursts of noise.
        shake: Greatest displacement of the camera, in pixels.
        contrast: Least difference of luma (0 to 255) between a shape and the mean of what is behind it.
        size_low: Least height of a shape, as a part of the picture's height.
        size_high: Greatest height of a shape, as a part of the picture's height.

    Raises:
        ValueError: An argument is out of its range.
    """

    kind = "events"

    def __init__(
        self,
        seed: int = 0,
        split: str = "train",
        *,
        seconds: int = 10,
        size: tuple[int, int] = (120, 160),
        fps: int = 16,
        rate: int = 16_000,
        snr_low: float = 0.0,
        snr_high: float = 25.0,
        noisy: bool = True,
        loudness: float = 8.0,
        mismatch: float = 0.35,
        shorter: float = 0.3,
        again: float = 0.3,
        strays: float = 0.7,
        shake: float = 1.5,
        contrast: float = 50.0,
        size_low: float = 0.32,
        size_high: float = 0.5,
    ) -> None:
        super().__init__(seed, split)
        height, width = size
        for name, value, low, high in (
            ("seconds", seconds, 1, 3600),
            ("width", width, 64, 8192),
            ("height", height, 48, 8192),
            ("fps", fps, 1, 240),
            ("rate", rate, 8000, 192_000),
            ("snr_high - snr_low", snr_high - snr_low, 0, np.inf),
            ("loudness", loudness, 0, 60),
            ("mismatch", mismatch, 0, 1),
            ("shorter", shorter, 0, 1),
            ("again", again, 0, 1),
            ("strays", strays, 0, 10),
            ("shake", shake, 0, 0.1 * min(width, height)),
            ("contrast", contrast, 0, 255),
            ("size_low", size_low, 0.1, size_high),
            ("size_high", size_high, size_low, 0.8),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be {low} to {high}, got {value}")
        self.seconds, self.width, self.height, self.fps, self.rate = seconds, width, height, fps, rate
        self.snr_low, self.snr_high, self.noisy, self.loudness = snr_low, snr_high, noisy, loudness
        self.mismatch, self.shorter, self.again, self.strays = mismatch, shorter, again, strays
        self.shake, self.contrast, self.size_low, self.size_high = shake, contrast, size_low, size_high

    def clip(self, index: int) -> EventClip:
        return EventClip(self, index)

    def tables(self, clips: Iterable[Clip]) -> dict[str, str]:
        """The files of LLP: tab-separated, one header line, several labels with commas between them.

        ``weak.csv`` lists the classes of each clip (filename, event_labels); ``audio.csv`` and ``visual.csv`` their
        events (filename, onset, offset, event_labels). The filename is the clip's id.
        """
        rows = {
            "weak.csv": ["filename\tevent_labels"],
            "audio.csv": ["filename\tonset\toffset\tevent_labels"],
            "visual.csv": ["filename\tonset\toffset\tevent_labels"],
        }
        for clip in clips:
            if not isinstance(clip, EventClip):
                raise TypeError(f"these tables list clips with events, got {type(clip).__name__}")
            present = {event.label for event in clip.events}
            rows["weak.csv"].append(f"{clip.id}\t{','.join(name for name in CLASSES if name in present)}")
            for label, modality, onset, offset in clip.events:
                rows[f"{modality}.csv"].append(f"{clip.id}\t{onset}\t{offset}\t{label}")
        return {name: "\n".join(lines) + "\n" for name, lines in rows.items()}

    def draw_occurrences(self, draw: np.random.Generator) -> tuple[Occurrence, ...]:
        """What happens in a clip: events of 1 to 4 classes."""
        count = draw.choice(4, p=[0.25, 0.35, 0.25, 0.15]) + 1
        occurrences: list[Occurrence] = []
        for number in draw.choice(len(CLASSES), count, replace=False):
            timbre = str(draw.choice(timbres.TIMBRES[self.split]))
            style, size = self._draw_look(draw)
            x, y = self._draw_place(size, [(item.x, item.y) for item in occurrences], draw)
            for span in self._draw_spans(draw):
                heard, seen = self._draw_modalities(span, draw)
                level = round(float(draw.uniform(-self.loudness, 0)), 2)
                occurrences.append(Occurrence(CLASSES[number], heard, seen, timbre, level, style, x, y, size))
        return tuple(occurrences)

    def _draw_spans(self, draw: np.random.Generator) -> list[Span]:
        """One span of 1 s or more, or two with a second or more between them."""
        if draw.random() < self.again and self.seconds >= 3:
            a, b, c, d = sorted(int(t) for t in draw.choice(self.seconds + 1, 4, replace=False))
            return [(a, b), (c, d)]
        longest = self.seconds if draw.random() < 0.2 else max(1, round(0.6 * self.seconds))
        length = int(draw.integers(1, longest + 1))
        onset = int(draw.integers(self.seconds - length + 1))
        return [(onset, onset + length)]

    def _draw_modalities(self, span: Span, draw: np.random.Generator) -> tuple[Span | None, Span | None]:
        """When it is heard and when it is seen."""
        if draw.random() < self.mismatch:
            return (span, None) if draw.random() < 0.5 else (None, span)
        if draw.random() < self.shorter and span[1] - span[0] > 1:
            onset, offset = sorted(int(t) for t in draw.choice(np.arange(span[0], span[1] + 1), 2, replace=False))
            return ((onset, offset), span) if draw.random() < 0.5 else (span, (onset, offset))
        return span, span

    def _draw_look(self, draw: np.random.Generator) -> tuple[str, float]:
        style = str(draw.choice(sights.STYLES[self.split]))
        return style, round(float(draw.uniform(self.size_low, self.size_high)) * self.height, 1)

    def _draw_place(
        self, size: float, taken: list[tuple[float, float]], draw: np.random.Generator
    ) -> tuple[float, float]:
        """Of some places inside the picture, the one farthest from those taken."""
        margin = size / 2 + self.shake
        low, high = np.minimum(margin, [self.width / 2, self.height / 2]), np.array([self.width, self.height]) - margin
        places = draw.uniform(low, np.maximum(low, high), (24, 2)).round(1)
        if not taken:
            x, y = places[0].tolist()
        else:
            apart = np.linalg.norm(places[:, None] - np.array(taken), axis=-1).min(1)
            x, y = places[np.argmax(apart)].tolist()
        return x, y

    def draw_strays(self, draw: np.random.Generator) -> tuple[Stray, ...]:
        """Shapes of no class in a clip."""
        strays = []
        for _ in range(draw.poisson(self.strays)):
            style, size = self._draw_look(draw)
            x, y = self._draw_place(size, [], draw)
            onset, offset = np.sort(draw.uniform(0, self.seconds, 2)).round(2).tolist()
            name = str(draw.choice(backdrops.STRAYS[self.split]))
            strays.append(Stray(name, style, onset, offset, x, y, round(0.75 * size, 1)))
        return tuple(strays)

    def draw_bursts(self, draw: np.random.Generator) -> tuple[Burst, ...]:
        """Noises of no class in a clip."""
        bursts = []
        for _ in range(draw.poisson(self.strays)):
            length = round(float(draw.uniform(0.1, min(0.8, self.seconds))), 2)
            onset, level = draw.uniform(0, self.seconds - length), draw.uniform(-self.loudness - 4, 0)
            kind = str(draw.choice(timbres.NOISES[self.split]))
            bursts.append(Burst(kind, round(float(onset), 3), length, round(float(level), 2)))
        return tuple(bursts)
