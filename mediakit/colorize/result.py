"""What colorization made of a picture or a film, and what has to be said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from mediakit import __version__

SCHEMA = "mediakit.colorize/1"

NOTICE = (
    "The colours are guessed. A network chose them because they often go with such a picture{and_sound}; they are no "
    "record of what was there, and nothing about the scene can be concluded from them."
)
"""What is told with every result; `notice` fills in what else guided it."""

SoundState = Literal["used", "not given", "not used", "silent", "missing", "undecodable"]
"""What became of the sound: it guided the colours; no sound was asked for; there was one, but its weight was 0 or a
photograph guided instead; it says nothing (RMS below 1e-4); the file has none; it cannot be decoded."""


@dataclass(frozen=True)
class Guided:
    """What guided the colours, beside the picture.

    Attributes:
        by: ``"sound"``, ``"photo"``, or ``"nothing"``.
        sound: What became of the sound.
        weight: How far guidance was allowed to count, 0 to 1.
        relevance: How far the network believed it, 0 to 1; 0 where nothing guided.
    """

    by: Literal["sound", "photo", "nothing"]
    sound: SoundState
    weight: float
    relevance: float

    def told(self) -> str:
        """In a few words."""
        guides = {"sound": "guided by the sound", "photo": "guided by the photograph"}
        return f"{guides[self.by]}, believed to {self.relevance:.0%}" if self.by in guides else "guided by nothing else"


@dataclass(frozen=True, eq=False)
class Spread:
    """How far the guess depends on what should not matter.

    In Lab units, root mean square distance of (a, b) from the mean of several guesses. It says where the network is
    unsure of itself, not how far it is from the truth.

    Attributes:
        size: Over input sizes.
        dropout: Over masks of dropout (Gal and Ghahramani, ICML 2016); None for a network without any.
        map: Both together at each place, (h, w) float32.
    """

    size: float
    dropout: float | None
    map: Tensor


@dataclass(frozen=True, eq=False)
class Coloring:
    """A coloured picture.

    Attributes:
        rgb: (3, H, W), or (4, H, W) with the transparency of the original; uint8 or uint16, at its size.
        ab: What the network guessed, CIELAB a and b before saturation and gamut, (2, h, w) float32.
        guided: What guided it.
        saturation: Factor of the chroma.
        spread: How sure the guess is; None where that was not asked for.
        notes: What a user should know, in sentences.
        model: Class of the network, SHA-256 of its weights, and the checkpoint's name and SHA-256 where it is known.
        seed: Of the random masks behind ``spread``; the colours themselves depend on no chance.
        source: Name and SHA-256 of the file; empty for a picture in memory.
    """

    rgb: Tensor
    ab: Tensor
    guided: Guided
    saturation: float
    spread: Spread | None
    notes: tuple[str, ...]
    model: dict[str, Any]
    seed: int
    source: dict[str, str]

    def told(self) -> str:
        """What was done, in a few words."""
        return f"a picture in guessed colours, {self.guided.told()}"

    @property
    def comment(self) -> str:
        """One line for the metadata of the file that holds the colours."""
        return comment(self.model, (self.guided,))

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the schema ``mediakit.colorize/1``: all but pixels."""
        spread = None if self.spread is None else {"size": self.spread.size, "dropout": self.spread.dropout}
        return {
            "schema": SCHEMA,
            "kind": "image",
            "notice": notice((self.guided,)),
            "source": self.source,
            "size": [self.rgb.shape[2], self.rgb.shape[1]],
            "bits": 8 * self.rgb.element_size(),
            "transparency": len(self.rgb) == 4,
            "network_size": [self.ab.shape[2], self.ab.shape[1]],
            "guided": vars(self.guided),
            "saturation": self.saturation,
            "spread": spread,
            "notes": list(self.notes),
            "model": self.model,
            "seed": self.seed,
            "version": __version__,
        }


@dataclass(frozen=True)
class Shot:
    """A stretch of film without a cut.

    Attributes:
        start: Seconds.
        stop: Seconds.
        frames: Its frames.
        guided: What guided all of it; the relevance is the mean over its frames.
    """

    start: float
    stop: float
    frames: int
    guided: Guided


@dataclass(frozen=True)
class Steadiness:
    """How colours hold in time, measured on the small maps that the network gives, within shots.

    Attributes:
        flicker: Mean change of (a, b) from frame to frame where lightness changes by less than 1, in Lab units; NaN
            where nothing stands still (see `mediakit.colorize.steady.flicker`).
        consistency: Divergence of the colour distributions of two frames by their distance (1, 2, 4), in nats; NaN
            where shots are too short (see `mediakit.colorize.steady.color_distribution_consistency`).
    """

    flicker: float
    consistency: dict[int, float]


@dataclass(frozen=True)
class LightnessError:
    """What compression left of the lightness, read back from the written film.

    Chroma is stored at half the resolution (4:2:0), so lightness cannot come back exactly.

    Attributes:
        mean: Of the absolute difference in L.
        most: Largest of all pixels.
        frames: Frames compared.
    """

    mean: float
    most: float
    frames: int


@dataclass(frozen=True)
class VideoColoring:
    """A coloured film.

    Attributes:
        size: Width and height in pixels.
        frames: Number of frames.
        duration: Seconds from the first picture to the end of the last.
        shots: Its shots, in order.
        gray: Steadiness of the picture without colours, which is what motion alone makes of the distributions.
        network: Steadiness of the network's guesses, frame by frame.
        written: Steadiness of what was written.
        lightness: What compression left.
        steady: Whether colours were held steady in time.
        saturation: Factor of the chroma.
        notes: What a user should know, in sentences.
        model: As of a `Coloring`. No chance is involved, so there is no seed.
        source: Name and SHA-256 of the file.
    """

    size: tuple[int, int]
    frames: int
    duration: float
    shots: tuple[Shot, ...]
    gray: Steadiness
    network: Steadiness
    written: Steadiness
    lightness: LightnessError
    steady: bool
    saturation: float
    notes: tuple[str, ...]
    model: dict[str, Any]
    source: dict[str, str]

    def told(self) -> str:
        """What was done, in a few words."""
        by = dict.fromkeys(shot.guided.told() for shot in self.shots)
        guided = by.popitem()[0] if len(by) == 1 else "each shot guided by itself"
        return f"{self.frames} frames in guessed colours, {len(self.shots)} shot{'s' * (len(self.shots) > 1)}, {guided}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the schema ``mediakit.colorize/1``."""
        return {
            "schema": SCHEMA,
            "kind": "video",
            "notice": notice(tuple(shot.guided for shot in self.shots)),
            "source": self.source,
            "size": list(self.size),
            "frames": self.frames,
            "duration": self.duration,
            "shots": [{**vars(shot), "guided": vars(shot.guided)} for shot in self.shots],
            "steadiness": {name: _plain(getattr(self, name)) for name in ("gray", "network", "written")},
            "lightness": vars(self.lightness),
            "steady": self.steady,
            "saturation": self.saturation,
            "notes": list(self.notes),
            "model": self.model,
            "version": __version__,
        }


def notice(guided: tuple[Guided, ...]) -> str:
    """`NOTICE`, with what else guided the colours."""
    by = {guide.by for guide in guided if guide.relevance > 0}
    told = {"sound": " and such a sound", "photo": " and the photograph that was given"}
    return NOTICE.format(and_sound="".join(text for name, text in told.items() if name in by))


def comment(model: dict[str, Any], guided: tuple[Guided, ...]) -> str:
    """One line for the metadata of a file with guessed colours."""
    return f"{notice(guided)} Made by mediakit {__version__}, network {model['weights_sha256'][:16]}."


def _plain(found: Steadiness) -> dict[str, Any]:
    """NaN, where nothing stood still or there was one frame, has no place in JSON."""
    values = {"flicker": found.flicker} | {f"consistency_{n}": value for n, value in found.consistency.items()}
    return {name: None if value != value else value for name, value in values.items()}
