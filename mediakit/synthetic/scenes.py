"""Scenes whose gray picture tells their group, and only whose sound tells the class in it, and so the colour.

"Gray" means CIE lightness. It is drawn before the class is known, so within a group it says nothing about the class.
Video luma (Y') is another thing: two colours of one lightness differ in it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mediakit.errors import require
from mediakit.io import Audio
from mediakit.synthetic.clip import Clip, Generator, random_stream
from mediakit.synthetic.landscapes import LANDSCAPES, Layer, draw_landscape
from mediakit.synthetic.palettes import class_hues, fit_gamut, to_rgb
from mediakit.synthetic.recordings import find_recordings, loop, read_recording
from mediakit.synthetic.sounds import SOUNDS, draw_sound
from mediakit.synthetic.textures import Gray, fractal
from mediakit.synthetic.timbres import TIMBRES

_MARGIN = 1.25  # side of the canvas in sides of the picture
_FADE = 0.05  # seconds in which a recording that repeats fades into itself


@dataclass(frozen=True)
class Scene(Clip):
    """One scene; see `Scenes`.

    Attributes:
        id: Name of the clip.
        fps: Frames per second.
        key: Names its random streams: kind, seed, split, index.
        size: Height and width of the pictures.
        seconds: Length.
        rate: Samples per second of the sound.
        split: Its split.
        group: Kind of landscape, which gray shows.
        label: Class, which only the sound tells.
        hue: CIELAB hue angle, in degrees, of the parts that take the colour of the class.
        chroma: Their CIELAB chroma, where the gamut allows it.
        timbre: Of a drawn sound; None with a recording.
        recording: File of the sound; None if it is drawn.
    """

    id: str
    fps: int
    key: tuple[str | int, ...]
    size: tuple[int, int]
    seconds: float
    rate: int
    split: str
    group: str
    label: str
    hue: float
    chroma: float
    timbre: str | None
    recording: str | None

    def frames(self) -> Iterator[torch.Tensor]:
        film = _Film(self)
        for number in range(self.length):
            yield torch.from_numpy(to_rgb(*film.lab(number))).permute(2, 0, 1)

    @property
    def length(self) -> int:
        """Number of frames."""
        return max(1, round(self.seconds * self.fps))

    def gray_and_ab(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The true colours of a frame, before it is rounded to 8 bits and compressed.

        Args:
            number: Of the frame, from 0 on.

        Returns:
            CIE lightness, float32 (H, W) in 0 to 100, and CIELAB a and b, float32 (2, H, W); D65, inside sRGB.

        Raises:
            IndexError: There is no such frame.
        """
        if not 0 <= number < self.length:
            raise IndexError(f"{self.id} has frames 0 to {self.length - 1}, not {number}")
        lightness, ab = _Film(self).lab(number)
        return torch.from_numpy(lightness), torch.from_numpy(ab)

    def sound(self) -> Audio:
        """Renders the sound: mono, a drawn one at a level between -26 and -14 dB, a recording at its own.

        Raises:
            MediaError: The recording cannot be read or is silent.
        """
        draw, count = random_stream(*self.key, "sound"), round(self.seconds * self.rate)
        if self.recording is not None:
            wave = read_recording(self.recording, self.rate)
            wave = loop(wave, count, int(draw.integers(len(wave))), round(_FADE * self.rate))
        else:
            wave = draw_sound(self.label, self.seconds, self.rate, draw, self.timbre or "sine")
            level = 10 ** (draw.uniform(-26, -14) / 20)
            wave = wave * np.float32(min(level, 0.95 / np.abs(wave).max()))
        return Audio(torch.from_numpy(np.ascontiguousarray(wave))[None], self.rate, 0.0)

    def truth(self) -> dict[str, Any]:
        height, width = self.size
        _, seed, split, index = self.key
        return {
            "id": self.id,
            "split": split,
            "seed": seed,
            "index": index,
            "seconds": self.seconds,
            "width": width,
            "height": height,
            "fps": self.fps,
            "rate": self.rate,
            "group": self.group,
            "label": self.label,
            "hue": round(self.hue, 3),
            "chroma": round(self.chroma, 3),
            "timbre": self.timbre,
            "recording": self.recording,
        }


class Scenes(Generator):
    """Short films for audio-infused colorization: clips of classes, the classes in groups.

    Each group has a kind of landscape of its own, drawn in gray by streams that do not know the class; some of its
    parts keep a colour of their own, the others take the class's. Classes, sorted by name, go to the groups in turn;
    every ``len(classes)`` clips hold each class once. Groups and hues depend on the names alone: they are the same for
    every seed and split.

    Args:
        seed: Another seed gives other clips.
        split: ``"train"``, ``"val"`` or ``"test"``: which photographs may appear (see `mediakit.synthetic.textures`),
            and which timbres may be heard (see `mediakit.synthetic.timbres`).
        size: Height and width of the pictures, at least 32.
        fps: Frames per second.
        seconds: Length of a clip.
        rate: Samples per second of the sound.
        groups: Number of groups, or names out of `.LANDSCAPES`.
        classes: Names of classes, or how many of them to take; None takes all there are.
        hue_from: What fixes the hue: ``"class"`` alone, or the ``"group"``, from which the class deviates by up to
            25 degrees.
        recordings: Sounds by class: files by class name, or a pattern whose parent folders are the classes, such as
            ``"esc10/*/[1-4]-*.ogg"``. Shorter ones repeat. They serve every split alike: give each split its
            own. None draws the sounds; the classes are then `mediakit.synthetic.sounds.SOUNDS`.

    Raises:
        ValueError: An option is out of its range, or there is no such name.
        MediaError: There is no such recording.
    """

    kind = "scenes"

    def __init__(
        self,
        seed: int = 0,
        split: str = "train",
        size: tuple[int, int] = (128, 128),
        fps: int = 8,
        seconds: float = 10.0,
        rate: int = 16_000,
        groups: int | list[str] = 4,
        classes: int | list[str] | None = None,
        hue_from: str = "class",
        recordings: str | dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__(seed, split)
        if min(size) < 32 or fps < 1 or not seconds > 0 or rate < 8000:
            raise ValueError(
                "need a size of at least 32 x 32, fps >= 1, seconds > 0 and rate >= 8000, "
                f"got size={size}, fps={fps}, seconds={seconds}, rate={rate}"
            )
        self.size, self.fps, self.seconds, self.rate = (int(size[0]), int(size[1])), fps, seconds, rate
        self.recordings = None if recordings is None else find_recordings(recordings)
        self.classes = _pick("class", classes, sorted(self.recordings or SOUNDS))
        names = _pick("group", groups, list(LANDSCAPES))
        if len(self.classes) < len(names):
            raise ValueError(f"{len(names)} groups need at least as many classes, got {len(self.classes)}")
        self.groups = {name: self.classes[number :: len(names)] for number, name in enumerate(names)}
        self.hues = class_hues(list(self.groups.values()), hue_from)

    def clip(self, index: int, label: str | None = None) -> Scene:
        """The scene of a number.

        Args:
            index: The number, 0 or more.
            label: Another class of the same group: the same gray film with that class's sound and colour. None takes
                the class whose turn it is.

        Raises:
            ValueError: The index is negative, or the class is not one of the scene's group.
        """
        name = self.name(index)
        turn, place = divmod(index, len(self.classes))
        own = self.classes[self.stream("turn", turn).permutation(len(self.classes))[place]]
        group = next(group for group, members in self.groups.items() if own in members)
        label = own if label is None else label
        if label not in self.groups[group]:
            raise ValueError(f"clip {index} is of the group {group!r}: label must be one of {self.groups[group]}")
        tint, voice = self.stream(index, "tint"), self.stream(index, "voice")
        choice = voice.random()  # one draw, whatever the number of recordings
        files = None if self.recordings is None else self.recordings[label]
        return Scene(
            id=name,
            fps=self.fps,
            key=(self.kind, self.seed, self.split, index),
            size=self.size,
            seconds=self.seconds,
            rate=self.rate,
            split=self.split,
            group=group,
            label=label,
            hue=float(self.hues[label] + tint.uniform(-5, 5)) % 360,
            chroma=float(tint.uniform(36, 48)),
            timbre=None if files else TIMBRES[self.split][int(choice * len(TIMBRES[self.split]))],
            recording=files[int(choice * len(files))] if files else None,
        )

    def tables(self, clips: Iterable[Clip]) -> dict[str, str]:
        """``clips.csv``: clip, group, label, split, timbre and recording of each."""
        text = io.StringIO()
        columns = ("group", "label", "split", "timbre", "recording")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("clip", *columns))
        for clip in clips:
            truth = clip.truth()
            writer.writerow((clip.id, *(truth[name] or "" for name in columns)))
        return {"clips.csv": text.getvalue()}


def _pick(what: str, wanted: int | list[str] | None, known: list[str]) -> list[str]:
    """The first `wanted` of the names, or those wanted by name, in the order of `known`."""
    if wanted is None or isinstance(wanted, int):
        count = len(known) if wanted is None else wanted
        if not 1 <= count <= len(known):
            raise ValueError(f"the number of {what} names must be 1 to {len(known)}, got {count}")
        return known[:count]
    for name in wanted:
        if name not in known:
            raise ValueError(f"there is no {what} {name!r}; there are {', '.join(known)}")
    if not wanted:
        raise ValueError(f"name at least one {what}")
    return [name for name in known if name in wanted]


class _Film:
    """The layers of a scene, coloured, under a moving camera."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        height, width = scene.size
        canvas = (round(height * _MARGIN), round(width * _MARGIN))
        draw = random_stream(*scene.key, "picture", scene.group)
        contrast, brightness = draw.uniform(0.85, 1.05), draw.uniform(-5, 7)
        self._zoom = draw.uniform(1.0, 1.15, 2)  # at the start and at the end
        turn = draw.uniform(0, 2 * np.pi)
        self._pan = draw.uniform(0.02, 0.08) * height * np.array([np.cos(turn), np.sin(turn)])
        layers = draw_landscape(scene.group, canvas, draw, scene.split)
        tint = random_stream(*scene.key, "tint", scene.group)
        self._layers: list[tuple[Layer, NDArray[np.float32]]] = []
        for layer in layers:
            gray = np.clip(50 + contrast * (layer.gray - 50) + brightness, 6, 96)
            clouds = fractal(canvas, tint, roughness=0.3)
            wander = np.deg2rad(np.float32(16) * (clouds - clouds.mean()))  # of the hue
            if layer.hue is None:
                hue, chroma = scene.hue, scene.chroma * layer.chroma
            else:
                hue, chroma = layer.hue + tint.uniform(-5, 5), layer.chroma * tint.uniform(0.9, 1.1)
            angle = np.deg2rad(np.float32(hue)) + wander
            planes = (gray, layer.cover, chroma * np.cos(angle), chroma * np.sin(angle))
            self._layers.append((layer, np.stack([plane.astype(np.float32) for plane in planes], axis=-1)))
        self._x = np.arange(width, dtype=np.float32)[None] - np.float32((width - 1) / 2)
        self._y = np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2)
        self._middle = (np.array(canvas[::-1]) - 1) / 2

    def lab(self, number: int) -> tuple[Gray, NDArray[np.float32]]:
        """Lightness (H, W), and a and b (2, H, W), of a frame."""
        cv2 = require("cv2", "Drawing scenes", "opencv-python")
        scene, time = self._scene, number / self._scene.fps
        way = time / scene.seconds - 0.5  # -0.5 to 0.5 in the course of the clip
        zoom = np.float32(self._zoom[0] + (way + 0.5) * (self._zoom[1] - self._zoom[0]))
        out = np.zeros((*scene.size, 3), np.float32)
        for layer, planes in self._layers:
            shift = self._middle + layer.depth * self._pan * 2 * way - np.array(layer.travel) * scene.size[0] * way
            x, y = (
                np.broadcast_to(u / zoom + np.float32(s), scene.size)
                for u, s in zip((self._x, self._y), shift, strict=True)
            )
            if layer.sway:
                turns = [2 * np.pi * n / side for n, side in zip(layer.crests, planes.shape[1::-1], strict=True)]
                waving = np.sin(
                    np.float32(turns[0]) * x + np.float32(turns[1]) * y + np.float32(2 * np.pi * layer.tempo * time)
                )
                swing = np.float32(layer.sway * scene.size[0]) * waving
                x, y = x + swing, y + np.float32(0.5) * swing
            seen = cv2.remap(
                planes, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            out += seen[..., 1:2] * (seen[..., [0, 2, 3]] - out)
        lightness = np.ascontiguousarray(out[..., 0])
        return lightness, fit_gamut(lightness, np.ascontiguousarray(out[..., 1:].transpose(2, 0, 1)))
