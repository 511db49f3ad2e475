"""Sights whose class is a shape and a motion, and whose style, colour, size and place tell nothing about the class.

`pose` says what is where at a time, in a unit square; `Sprite` paints it with a style and colours that are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mediakit.errors import require

Points: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.uint8]

STYLES = {
    "train": ("filled", "outlined", "striped", "shaded", "grained"),
    "val": ("dotted", "plain"),
    "test": ("checked", "ringed", "doubled", "crossed"),
}
"""How a shape may be painted, by split; no two splits share one."""


class Part(NamedTuple):
    """Outlines that are painted alike.

    Attributes:
        kind: ``"body"`` is filled in the style of the sprite, ``"detail"`` filled with its ink, ``"line"`` drawn with
            its ink and left open.
        outlines: Each (N, 2): x to the right, y down, within about [-1, 1].
    """

    kind: str
    outlines: list[Points]


class Moment(NamedTuple):
    """When a sight is drawn.

    Attributes:
        time: Seconds since the event began.
        beat: Beats since then: whole at a beat, rising evenly in between.
        gap: Seconds between the beats before and after.
    """

    time: float
    beat: float
    gap: float


def moment(time: float, beats: NDArray[np.float64]) -> Moment:
    """The `Moment` at a time, by the beats of a `mediakit.synthetic.sounds.Score`."""
    last = int(np.clip(np.searchsorted(beats, time, side="right") - 1, 0, len(beats) - 2))
    gap = float(beats[last + 1] - beats[last])
    return Moment(time, last + (time - float(beats[last])) / gap, gap)


def pose(name: str, at: Moment) -> list[Part]:
    """The parts of a sight at a moment, from the back to the front.

    Args:
        name: One of `SIGHTS`.
        at: The moment.

    Raises:
        ValueError: There is no such sight.
    """
    if name not in _SIGHTS:
        raise ValueError(f"there is no sight {name!r}; there are {', '.join(SIGHTS)}")
    return _SIGHTS[name](at)


class Sprite:
    """A shape with a style, colours, a place and a size, all but its parts' motion fixed.

    Args:
        style: One of the names in `STYLES`.
        centre: Its place in pixels, (x, y).
        size: Its height and width in pixels.
        behind: Mean colour of what is behind it, (3,), which its own stands out from.
        contrast: Least difference in luma (0 to 255) to ``behind``.
        draw: Source of all randomness.

    Raises:
        ValueError: There is no such style.
    """

    def __init__(
        self,
        style: str,
        centre: tuple[float, float],
        size: float,
        behind: NDArray[np.float64],
        contrast: float,
        draw: np.random.Generator,
    ) -> None:
        if not any(style in names for names in STYLES.values()):
            raise ValueError(f"there is no style {style!r}; there are {', '.join(sum(STYLES.values(), ()))}")
        self.style, self.centre, self.size = style, centre, size
        self.body = _colour_apart_from(behind, contrast, draw)
        self.ink = np.full(3, 20.0 if _luma(self.body) > 127.5 else 235.0) + draw.uniform(-15, 15, 3)
        self.mirrored = bool(draw.random() < 0.5)
        self._paint = self._painted(draw)

    def draw_on(self, image: Image, parts: Sequence[Part], shift: tuple[float, float] = (0, 0)) -> None:
        """Paints parts onto an image uint8 (H, W, 3), in place, moved by ``shift`` pixels."""
        cv2 = require("cv2", "Drawing clips", "opencv-python")
        half, stroke = self.size / 2, max(1, round(self.size / 48))
        place = np.add(self.centre, shift)
        flip = np.array([-half if self.mirrored else half, half])
        ink = self.ink.tolist()
        for kind, outlines in parts:
            # OpenCV draws between pixels with 4 fractional bits.
            polygons = [np.rint((points * flip + place) * 16).astype(np.int32) for points in outlines]
            if kind == "line":
                cv2.polylines(image, polygons, False, ink, stroke, cv2.LINE_AA, 4)
            elif kind == "detail":
                for polygon in polygons:
                    cv2.fillPoly(image, [polygon], ink, cv2.LINE_AA, 4)
            else:
                self._fill(cv2, image, polygons, place - self._paint.shape[0] / 2)
                if self.style == "outlined":
                    cv2.polylines(image, polygons, True, self.body.tolist(), stroke + 1, cv2.LINE_AA, 4)
                elif self.style == "doubled":
                    cv2.polylines(image, polygons, True, self.body.tolist(), 2 * stroke + 2, cv2.LINE_AA, 4)
                    cv2.polylines(image, polygons, True, ink, stroke, cv2.LINE_AA, 4)
                elif self.style != "plain":
                    cv2.polylines(image, polygons, True, ink, stroke, cv2.LINE_AA, 4)

    def _fill(self, cv2: Any, image: Image, polygons: list[NDArray[np.int32]], corner: Points) -> None:
        """Lets the paint show through the polygons."""
        left, top = (round(float(value)) for value in corner)
        side, (height, width) = len(self._paint), image.shape[:2]
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
        if x0 >= x1 or y0 >= y1:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for polygon in polygons:
            cv2.fillPoly(mask, [polygon - np.array([x0, y0], np.int32) * 16], 255, cv2.LINE_AA, 4)
        paint = self._paint[y0 - top : y1 - top, x0 - left : x1 - left]
        weight = mask[..., None] * (paint[..., 3:] / np.float32(255))
        window = image[y0:y1, x0:x1]
        window[:] = np.rint(window + weight * (paint[..., :3] - window))

    def _painted(self, draw: np.random.Generator) -> NDArray[np.float32]:
        """The style as a picture: RGB in [0, 255] and opacity in [0, 1], somewhat larger than the sprite."""
        side = int(self.size * 1.5) + 4
        y, x = (np.mgrid[:side, :side] - side / 2) / (self.size / 2)
        angle, period = draw.uniform(0, np.pi), draw.uniform(0.3, 0.45)
        along = (np.cos(angle) * x + np.sin(angle) * y) / period
        across = (np.cos(angle) * y - np.sin(angle) * x) / period
        pattern = {
            "striped": np.sin(2 * np.pi * along) > 0,
            "shaded": np.clip(0.5 + along * period / 1.6, 0, 1),
            "grained": np.clip(0.5 + 0.35 * draw.standard_normal((side, side)), 0, 1),
            "dotted": np.hypot(along % 1 - 0.5, across % 1 - 0.5) < 0.3,
            "checked": (np.floor(along) + np.floor(across)) % 2,
            "ringed": 0.5 + 0.5 * np.cos(2 * np.pi * np.hypot(x, y) / period),
            "crossed": (along % 1 < 0.25) | (across % 1 < 0.25),
        }.get(self.style, np.zeros((side, side)))
        # The second colour keeps away from the ink, or details would drown.
        second = self.body + 0.4 * (255 - self.ink - self.body) + draw.uniform(-20, 20, 3)
        paint = self.body + (second - self.body) * np.asarray(pattern, float)[..., None] * 1.2
        opacity = {"outlined": 0.0, "doubled": 0.25}.get(self.style, 1.0)
        return np.dstack([np.clip(paint, 0, 255), np.full((side, side), opacity)]).astype(np.float32)


def _luma(colour: NDArray[np.float64]) -> float:
    return float(colour @ [0.299, 0.587, 0.114])


def _colour_apart_from(behind: NDArray[np.float64], contrast: float, draw: np.random.Generator) -> NDArray[np.float64]:
    colours = draw.uniform(10, 245, (64, 3))
    apart = np.abs(colours @ [0.299, 0.587, 0.114] - _luma(behind))
    return colours[np.argmax(apart >= contrast) if (apart >= contrast).any() else np.argmax(apart)]


# Shapes: each takes a moment and returns its parts, from the back to the front.


def _disc(x: float, y: float, rx: float, ry: float | None = None, begin: float = 0, end: float = 360) -> Points:
    """An ellipse, or the arc of one from `begin` to `end` degrees (clockwise from the right)."""
    angle = np.radians(np.linspace(begin, end, 33))
    return np.stack([x + rx * np.cos(angle), y + (rx if ry is None else ry) * np.sin(angle)], 1)


def _box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def _path(*points: tuple[float, float]) -> Points:
    return np.array(points, float)


def _turned(parts: list[Part], degrees: float, x: float = 0, y: float = 0) -> list[Part]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix, pivot = np.array([[c, s], [-s, c]]), np.array([x, y])
    return [Part(kind, [(points - pivot) @ matrix + pivot for points in outlines]) for kind, outlines in parts]


def _moved(parts: list[Part], x: float, y: float) -> list[Part]:
    return [Part(kind, [points + np.array([x, y]) for points in outlines]) for kind, outlines in parts]


def _siren(at: Moment) -> list[Part]:
    """A beacon: a dome on a base, beams of light that sweep round it."""
    sweep = 180 * at.beat
    beams = [_path((0, 0), (-0.24, -1), (0.24, -1))]
    light = [
        part
        for step in (-60.0, 0.0, 60.0)
        for part in _turned([Part("detail", beams)], (sweep + step + 90) % 180 - 90, 0, 0.1)
    ]
    lamp = _disc(0.28 * np.cos(np.radians(2 * sweep)), 0.2, 0.14, 0.22)
    dome = np.concatenate([_disc(0, 0.2, 0.5, 0.55, 180, 360), _path((0.5, 0.55), (-0.5, 0.55))])
    return [*light, Part("body", [dome]), Part("detail", [lamp]), Part("body", [_box(-0.75, 0.55, 0.75, 0.9)])]


def _alarm(at: Moment) -> list[Part]:
    """A warning triangle that jerks to and fro."""
    side = 1 if int(np.floor(at.beat)) % 2 else -1
    mark = [_path((-0.13, -0.3), (0.13, -0.3), (0.06, 0.28), (-0.06, 0.28)), _disc(0, 0.48, 0.12)]
    sign = [Part("body", [_path((0, -0.85), (0.9, 0.72), (-0.9, 0.72))]), Part("detail", mark)]
    return _turned(sign, 14 * side, 0, 0.3)


def _bell(at: Moment) -> list[Part]:
    """A bell that swings, its clapper behind time."""
    swing = 26 * np.cos(np.pi * at.beat)
    half = _path((0.16, -0.72), (0.36, -0.5), (0.42, -0.05), (0.52, 0.25), (0.78, 0.5), (0.78, 0.62))
    shell = np.concatenate([half, half[::-1] * [-1, 1]])
    clapper = _turned([Part("detail", [_disc(0, 0.72, 0.17)])], -1.2 * swing, 0, -0.5)
    bell = [*clapper, Part("line", [_disc(0, -0.8, 0.13)]), Part("body", [shell])]
    rim = Part("line", [_path((-0.62, 0.38), (0.62, 0.38)), _path((-0.4, -0.3), (0.4, -0.3))])
    return _turned([*bell, rim], swing, 0, -0.9)


def _clock(at: Moment) -> list[Part]:
    """A dial whose hand leaps from mark to mark."""
    ticks = [_path((0, -0.85), (0, -0.68))]
    marks = [part.outlines[0] for hour in range(12) for part in _turned([Part("line", ticks)], -30 * hour)]
    leap = np.floor(at.beat) + min(1.0, at.beat % 1 / 0.3) - 1
    long, short = (Part("line", [_path((0, 0.1), (0, -length))]) for length in (0.62, 0.4))
    hands = [*_turned([long], -30 * leap), *_turned([short], -120 - 2.5 * leap)]
    return [Part("body", [_disc(0, 0, 0.92)]), Part("line", marks), *hands, Part("detail", [_disc(0, 0, 0.1)])]


def _drum(at: Moment) -> list[Part]:
    """A drum with a lace, struck by two sticks in turn."""
    turn, lift = int(np.floor(at.beat)) % 2, np.sin(np.pi * min(1.0, at.beat % 1))
    up = (38 * lift, 38) if turn == 0 else (38, 38 * lift)  # one stick strikes, the other waits
    shell = np.concatenate([_disc(0, 0.72, 0.78, 0.2, 0, 180), _disc(0, 0.0, 0.78, 0.2, 180, 360)])
    lace = _path(*((x, 0.22 if n % 2 else 0.84) for n, x in enumerate(np.linspace(-0.7, 0.7, 9))))
    sticks = []
    for sign, degrees in zip((-1, 1), up, strict=True):
        stick = [Part("line", [_path((sign * 0.95, -0.55), (sign * 0.2, -0.06))])]
        stick.append(Part("detail", [_disc(sign * 0.2, -0.08, 0.11)]))
        sticks += _turned(stick, -sign * degrees, sign * 0.95, -0.55)
    return [Part("body", [shell]), Part("line", [lace]), Part("body", [_disc(0, 0, 0.78, 0.2)]), *sticks]


def _engine(at: Moment) -> list[Part]:
    """A cogwheel that turns and drives a piston."""
    teeth, x, y = 9, -0.3, 0.25
    angle = np.arange(4 * teeth) * 2 * np.pi / (4 * teeth) + np.pi / 2 * at.beat
    radius = np.tile([0.68, 0.68, 0.5, 0.5], teeth)
    wheel = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1)
    pin = np.array([x + 0.34 * np.cos(angle[0]), y + 0.34 * np.sin(angle[0])])
    head = np.array([0.7, pin[1] * 0.5 - 0.35])
    cylinder = [_path((0.46, -1), (0.46, 0.35)), _path((0.94, -1), (0.94, 0.35))]
    piston = _box(0.5, head[1] - 0.2, 0.9, head[1] + 0.2)
    rod = Part("line", [np.stack([pin, head])])
    return [
        Part("body", [wheel]),
        Part("detail", [_disc(x, y, 0.13)]),
        Part("line", cylinder),
        Part("body", [piston]),
        rod,
        Part("detail", [_disc(0, 0, 0.08) + joint for joint in (pin, head)]),
    ]


def _helicopter(at: Moment) -> list[Part]:
    """A helicopter that hovers, its rotor spinning."""
    reach = 0.2 + 0.75 * abs(np.cos(np.pi * at.beat))
    cabin = np.concatenate([_disc(-0.3, 0.22, 0.52, 0.38, 90, 290), _path((0.15, -0.02), (0.9, -0.1), (0.9, 0.06))])
    tail = _path((0.78, -0.05), (0.86, -0.4), (0.98, -0.4), (0.94, 0.0))
    window = np.concatenate([_disc(-0.36, 0.16, 0.36, 0.22, 180, 270), _path((-0.36, 0.16))])
    skids = [_path((-0.75, 0.78), (0.2, 0.78)), _path((-0.5, 0.55), (-0.5, 0.78)), _path((0.0, 0.45), (0.0, 0.78))]
    mast = _path((-0.22, -0.15), (-0.22, -0.42))
    blades = _box(-0.22 - reach, -0.5, -0.22 + reach, -0.39)
    tail_rotor = _turned([Part("line", [_path((0.9, -0.62), (0.9, -0.18))])], 150 * at.beat, 0.9, -0.4)
    whole = [
        Part("line", [*skids, mast]),
        Part("body", [cabin, tail]),
        Part("detail", [window]),
        Part("detail", [blades]),
        *tail_rotor,
    ]
    return _moved(whole, 0, 0.07 * np.sin(2 * np.pi * 0.6 * at.time))


def _bird(at: Moment) -> list[Part]:
    """A bird that flaps its wings."""
    flap = 52 * np.sin(2 * np.pi * 2.6 * at.time)
    wing = _path((-0.25, 0.1), (0.28, 0.1), (0.35, -0.35), (0.25, -0.88), (-0.02, -0.5))
    tail = _path((0.45, 0.12), (1.0, -0.08), (0.95, 0.3), (0.42, 0.32))
    near, far = (
        _turned([Part("body", [wing])], -flap - 10, 0, 0.12),
        _turned([Part("body", [wing])], flap * 0.8, 0, 0.1),
    )
    if flap < 0:  # on the downstroke the wings hang below
        near = [Part(kind, [points * [1, -1] + [0, 0.3] for points in outlines]) for kind, outlines in near]
    body = [_disc(0.05, 0.2, 0.55, 0.27), tail, _disc(-0.55, 0.0, 0.25)]
    face = [_path((-0.77, -0.08), (-1.05, 0.05), (-0.76, 0.12)), _disc(-0.6, -0.06, 0.06)]
    whole = [*far, Part("body", body), Part("detail", face), *near]
    return _moved(whole, 0, -0.06 * np.sin(2 * np.pi * 2.6 * at.time))


def _rain(at: Moment) -> list[Part]:
    """A cloud and the drops that fall from it."""
    angle = np.linspace(0, 2 * np.pi, 97)
    bumps = 1 + 0.14 * np.abs(np.sin(3.5 * angle))
    cloud = np.stack([0.78 * bumps * np.cos(angle), -0.42 + 0.4 * bumps * np.sin(angle)], 1)
    cloud[:, 1] = np.minimum(cloud[:, 1], -0.12)
    drops = []
    for lane, x in enumerate((-0.62, -0.31, 0.0, 0.31, 0.62)):
        for half in (0.0, 0.5):
            fall = (1.9 * at.time + 0.37 * lane + half) % 1
            y, drift = -0.05 + 0.95 * fall, -0.12 * fall
            drops.append(_path((x + drift + 0.04, y - 0.2), (x + drift + 0.06, y), (x + drift - 0.05, y)))
            drops.append(_disc(x + drift, y, 0.065))
    return [Part("detail", drops), Part("body", [cloud])]


def _ball(at: Moment) -> list[Part]:
    """A ball that bounces lower and lower on a floor."""
    way, radius = at.beat % 1, 0.4
    height = min(1.0, (at.gap / 0.4) ** 2) * 4 * way * (1 - way)
    squash = 0.25 * max(0.0, 1 - height / 0.15)
    y = 0.86 - radius * (1 - squash) - 1.05 * height
    ball = [_disc(0, y, radius * (1 + squash / 2), radius * (1 - squash))]
    seams = [_disc(-1.25 * radius, 0, radius, radius, -50, 50), _disc(1.25 * radius, 0, radius, radius, 130, 230)]
    seams = [*seams, _path((0, -radius), (0, radius))]
    seams = [points * [1, 1 - squash] + [0, y] for points in _turned([Part("line", seams)], 70 * at.time)[0].outlines]
    return [Part("line", [_path((-0.95, 0.9), (0.95, 0.9))]), Part("body", ball), Part("line", seams)]


def _violin(at: Moment) -> list[Part]:
    """A violin and the bow that strokes it."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    along = [-1, -0.92, -0.6, -0.3, -0.02, 0.2, 0.6, 0.92, 1]
    width = np.interp(np.cos(angle), along, [0, 0.28, 0.46, 0.42, 0.27, 0.4, 0.6, 0.38, 0])  # two bouts and a waist
    body = np.stack([np.sign(np.sin(angle)) * width, 0.32 + 0.66 * np.cos(angle)], 1)
    neck = [_box(-0.06, -0.95, 0.06, 0.1), _disc(0, -0.95, 0.11), _box(-0.1, 0.66, 0.1, 0.82)]
    holes = [_path((-0.2, 0.1), (-0.26, 0.5)), _path((0.2, 0.1), (0.26, 0.5))]
    violin = [Part("body", [body]), Part("detail", neck), Part("line", holes)]
    stroke = 2 * abs(at.beat % 2 - 1) - 1
    bow = [Part("line", [_path((-0.9, 0.3), (0.9, 0.3), (0.82, 0.2), (-0.9, 0.16), (-0.9, 0.3))])]
    bow = _turned(_moved(bow, 0.35 * stroke, 0), 15, 0, 0.3)
    return _turned([*violin, *bow], 20)


def _telephone(at: Moment) -> list[Part]:
    """A telephone with a dial, whose handset shakes while it rings."""
    rings = at.beat % 1 < 0.62
    shake = 9 * np.sin(2 * np.pi * 6.5 * at.time) if rings else 0.0
    base = _path((-0.4, -0.2), (0.4, -0.2), (0.82, 0.62), (0.82, 0.85), (-0.82, 0.85), (-0.82, 0.62))
    bow = np.concatenate([_disc(0, -0.1, 0.92, 0.72, 200, 340), _disc(0, -0.1, 0.6, 0.42, 340, 200)])
    ears = [_path((-0.98, -0.5), (-0.5, -0.5), (-0.5, -0.12), (-0.98, -0.12))]
    ears.append(ears[0] * [-1, 1])
    handset = _turned([Part("body", [bow, *ears])], shake, 0, -0.4)
    dial = [Part("detail", [_disc(0, 0.38, 0.3)]), Part("body", [_disc(0, 0.38, 0.12)])]
    return [Part("body", [base]), *dial, *_moved(handset, 0, -0.08 if rings else 0.0)]


_SIGHTS: dict[str, Callable[[Moment], list[Part]]] = {
    "siren": _siren,
    "alarm": _alarm,
    "bell": _bell,
    "clock": _clock,
    "drum": _drum,
    "engine": _engine,
    "helicopter": _helicopter,
    "bird": _bird,
    "rain": _rain,
    "ball": _ball,
    "violin": _violin,
    "telephone": _telephone,
}
SIGHTS = tuple(_SIGHTS)
"""The classes of sight: for each of `mediakit.synthetic.sounds.SOUNDS`, what makes it."""
