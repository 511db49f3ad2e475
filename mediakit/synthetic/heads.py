"""Talking heads: films of a photograph in motion whose pose and expression are known, and their manipulated twins."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mediakit import motion
from mediakit.io import Audio
from mediakit.mesh import N_POINTS
from mediakit.synthetic import twins
from mediakit.synthetic.actors import Actor, Identity, draw_identity
from mediakit.synthetic.camera import Sensor
from mediakit.synthetic.clip import Clip, Generator, random_stream
from mediakit.synthetic.face_shapes import EXPRESSIONS
from mediakit.synthetic.performances import Performance, draw_performance
from mediakit.synthetic.speech import speak

KINDS = ("real", *twins.TRAJECTORY_KINDS, *twins.PIXEL_KINDS)
"""The genuine clip, then its manipulated twins."""

_WALLS = {
    "train": ("wall", "coffee", "rocket"),
    "val": ("wall", "coffee", "rocket"),
    "test": ("wall", "chelsea", "gravel", "hubble_deep_field"),
}
_actor = lru_cache(maxsize=4)(Actor)


class TalkingHead(Clip):
    """A person who speaks; see `TalkingHeads`.

    Attributes:
        kind: One of `KINDS`.
        identity: Who it is.
        performance: What the person does; of a twin, before the manipulation.
        manipulation: Its parameters; empty for a genuine clip.
    """

    def __init__(
        self,
        id: str,
        kind: str,
        identity: Identity,
        performance: Performance,
        *,
        key: tuple[str | int, ...],
        manipulation: dict[str, Any] | None = None,
        other: Performance | None = None,
        donor: Identity | None = None,
        about: dict[str, Any] | None = None,
        size: tuple[int, int],
        fps: int,
        rate: int,
        noise: float,
        brightness: float,
    ) -> None:
        self.id, self.kind, self.identity, self.performance, self.fps = id, kind, identity, performance, fps
        self.manipulation, self.about = manipulation or {}, about or {}
        self._other, self._donor, self._key = other, donor, key
        self._size, self._rate, self._noise, self._brightness = size, rate, noise, brightness

    @property
    def label(self) -> str:
        """``"real"`` or ``"fake"``."""
        return "real" if self.kind == "real" else "fake"

    @property
    def actor(self) -> Actor:
        """The person, ready to be photographed."""
        return _actor(self.identity, self._size)

    @cached_property
    def poses(self) -> tuple[motion.Similarity, ...]:
        """Pose of the head in each frame, in pixels, double precision."""
        movement = zip(self.performance.angles, self.performance.shift, self.performance.zoom, strict=True)
        return tuple(self.actor.turned(angles, shift, float(zoom)) for angles, shift, zoom in movement)

    @cached_property
    def vertices(self) -> NDArray[np.float64]:
        """The mesh in each frame, ``(T, V, 3)`` pixels, manipulations of the trajectory included."""
        return self._vertices(self.actor, self._offsets())

    def _vertices(self, actor: Actor, offsets: NDArray[np.float64]) -> NDArray[np.float64]:
        frames = zip(self.poses, offsets, self.performance.sway, strict=True)
        return np.stack([actor.points(pose, offset, sway) for pose, offset, sway in frames])

    def _offsets(self) -> NDArray[np.float64]:
        actor, how = self.actor, self.manipulation
        said = self._other if self.kind == "expression_swap" and self._other is not None else self.performance
        offsets = np.tensordot(said.expression, actor.expressions, 1)
        draw = random_stream(*self._key, "offsets")
        inner = twins.region(actor.shape, "inner")
        if self.kind == "region_lag":
            return twins.lag(offsets, twins.region(actor.shape, how["region"]), how["seconds"] * self.fps)
        if self.kind == "jitter":
            return twins.jitter(offsets, actor.shape, inner, how["size"], draw)
        if self.kind == "oversmooth":
            return twins.oversmooth(offsets, inner, how["seconds"] * self.fps)
        if self.kind == "contour_slide":
            time = self.performance.time[:, None]
            waves = [np.sin(2 * np.pi * f * time + p) for f, p in zip(how["hertz"], how["phase"], strict=True)]
            return twins.slide(offsets, actor.shape, inner, np.concatenate(waves, axis=1) * how["size"])
        return offsets

    def frames(self) -> Iterator[torch.Tensor]:
        sensor = Sensor(self._size, self._noise, self._brightness, random_stream(*self._key, "grain"))
        for picture in self._pictures():
            yield torch.from_numpy(sensor.record(picture)).permute(2, 0, 1)

    def _pictures(self) -> Iterator[NDArray[np.float32]]:
        actor = self.actor
        if self.kind not in twins.PIXEL_KINDS:
            for points, pose in zip(self.vertices, self.poses, strict=True):
                yield actor.photograph(points, pose)
            return
        draw, how = random_stream(*self._key, "pixels"), self.manipulation
        iod, swap = float(actor.pose.scale), self.kind == "face_blend"
        if swap:
            assert self._donor is not None
            source = _actor(self._donor, self._size)
            offsets = np.tensordot(self.performance.expression, source.expressions, 1)
        else:
            assert self._other is not None
            source, offsets = actor, np.tensordot(self._other.expression, actor.expressions, 1)
        drawn = self._vertices(source, offsets)
        if swap:  # the donor's face is laid over the target's, eyes on eyes
            anchors = [33, 133, 362, 263, 1, 61, 291]
            drawn = drawn + (self.vertices[:, anchors].mean(1) - drawn[:, anchors].mean(1))[:, None] * [1, 1, 0]
        for points, other, pose in zip(self.vertices, drawn, self.poses, strict=True):
            target = actor.photograph(points, pose)
            error = draw.standard_normal(4) * [how["error"] * iod, how["error"] * iod, 0.35, 0.004]
            fake = twins.misalign(source.photograph(other, pose), other, error, how["resolution"])
            fake = np.clip(fake * np.float32(1 + 0.008 * draw.standard_normal()), 0, 1)
            where = (points + other) / 2
            mask = twins.face_mask(where, self._size, "inner" if swap else "lower", how["feather"] * iod)
            yield twins.blend(target, fake, mask, twins.without_features(mask, points, other))

    def sound(self) -> Audio:
        draw = random_stream(*self._key, "voice")
        pitch, tract = float(draw.choice([draw.uniform(95, 140), draw.uniform(165, 235)])), draw.uniform(0.92, 1.15)
        seconds = len(self.performance.time) / self.fps
        wave = speak(self.performance.syllables, seconds, self._rate, pitch, float(tract), draw)
        return Audio(torch.from_numpy(wave)[None], self._rate, 0.0)

    def truth(self) -> dict[str, Any]:
        return {
            **self.about,
            "label": self.label,
            "kind": self.kind,
            "manipulation": self.manipulation,
            "identity": asdict(self.identity),
            "interocular_px": round(float(self.actor.pose.scale), 3),
            "syllables": [
                {**asdict(s), "start": round(s.start, 4), "stop": round(s.stop, 4), "stress": round(s.stress, 4)}
                for s in self.performance.syllables
            ],
            "expressions": list(EXPRESSIONS),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """Truth over time.

        Returns:
            ``time`` (T,) seconds; ``points`` (T, 478, 3) pixels as ``FaceTrack.points``; ``rotation`` (T, 3, 3),
            ``scale`` (T,) and ``translation`` (T, 3) as `mediakit.motion.head_pose`; ``expression`` (T, 8) weights of
            `.EXPRESSIONS`. Of a twin in pixel space: those of the clip that was manipulated.
        """
        return {
            "time": torch.from_numpy(self.performance.time),
            "points": torch.from_numpy(self.vertices[:, :N_POINTS]).float(),
            "rotation": torch.stack([pose.rotation for pose in self.poses]).float(),
            "scale": torch.stack([pose.scale for pose in self.poses]).float(),
            "translation": torch.stack([pose.translation for pose in self.poses]).float(),
            "expression": torch.from_numpy(self.performance.expression).float(),
        }


class TalkingHeads(Generator):
    """Seeded talking heads and their twins.

    Consecutive numbers are one genuine clip and its twins: clip ``i`` has kind ``kinds[i % len(kinds)]`` and is made of
    recording ``i // len(kinds)``. People, and the rooms of the test split, occur in one split only. All are made of one
    photograph (see `mediakit.synthetic.portrait`), by shape, colours and light: a stated limit.

    Args:
        seed: Another seed gives other people who do other things.
        split: ``"train"``, ``"val"`` or ``"test"``.
        kinds: Some of `KINDS`; None for all that the split may have.
        identities: Number of people.
        seconds: Length of a clip.
        size: Height and width in pixels; the interocular distance is about a fifth of the height.
        fps: Frames per second.
        rate: Samples of sound per second.
        noise: Standard deviation of the sensor's noise, 1 being full scale.
        brightness: Factor of all pictures, below 1 for dimmed light.
        pairs: One twin of each genuine clip, of the kinds by turns, so that there are as many twins as genuine clips:
            clip ``i`` is made of recording ``i // 2``.

    Raises:
        ValueError: A kind is unknown, or belongs to the test split only, or another argument is out of its range.
    """

    kind = "heads"

    def __init__(
        self,
        seed: int = 0,
        split: str = "train",
        kinds: Sequence[str] | None = None,
        identities: int = 12,
        seconds: float = 6.0,
        size: tuple[int, int] = (480, 480),
        fps: int = 25,
        rate: int = 16_000,
        noise: float = 0.012,
        brightness: float = 1.0,
        pairs: bool = False,
    ) -> None:
        super().__init__(seed, split)
        allowed = KINDS if split == "test" else tuple(kind for kind in KINDS if kind not in twins.PIXEL_KINDS)
        self.kinds = (kinds,) if isinstance(kinds, str) else tuple(allowed if kinds is None else kinds)
        for kind in self.kinds:
            if kind not in KINDS:
                raise ValueError(f"there is no kind {kind!r}; take some of {', '.join(KINDS)}")
            if kind not in allowed:
                raise ValueError(f"{kind} is for the test split only: no model may have seen it in training")
        if not self.kinds:
            raise ValueError("give at least one kind")
        self.pairs = pairs
        if pairs and ("real" not in self.kinds or len(self.kinds) < 2):
            raise ValueError("pairs are a genuine clip and a twin: give the kind real and at least one other")
        if "face_blend" in self.kinds and identities < 2:
            raise ValueError("face_blend puts another person's face on: it needs at least 2 identities")
        for name, value, low in (
            ("identities", identities, 1),
            ("seconds * fps", round(seconds * fps), 1),
            ("size", min(size), 32),
            ("rate", rate, 8000),
            ("noise", noise, 0),
            ("brightness", brightness, 0),
        ):
            if not value >= low:
                raise ValueError(f"{name} must be at least {low}, got {value}")
        self.identities, self.seconds = identities, seconds
        self.look: dict[str, Any] = {"size": size, "fps": fps, "rate": rate, "noise": noise, "brightness": brightness}

    def identity(self, number: int) -> Identity:
        """A person of this split."""
        return draw_identity(self.stream("identity", number), _WALLS[self.split])

    def _place(self, index: int) -> tuple[int, str]:
        """Recording and kind of a clip."""
        if not self.pairs:
            return index // len(self.kinds), self.kinds[index % len(self.kinds)]
        manipulated = [kind for kind in self.kinds if kind != "real"]
        recording, twin = divmod(index, 2)
        return recording, manipulated[recording % len(manipulated)] if twin else "real"

    def _performance(self, recording: int, smile: float) -> Performance:
        return draw_performance(self.stream("performance", recording), self.seconds, self.look["fps"], smile)

    def clip(self, index: int) -> TalkingHead:
        recording, kind = self._place(index)
        person = recording % self.identities
        identity = self.identity(person)
        name = self.name(recording)
        draw = self.stream(recording, kind)
        how: dict[str, Any] = {}
        other = donor = None
        if kind == "region_lag":
            how = {"region": str(draw.choice(["lower", "upper"])), "seconds": round(draw.uniform(0.1, 0.27), 4)}
        elif kind == "jitter":
            how = {"size": round(draw.uniform(0.004, 0.01), 5)}
        elif kind == "oversmooth":
            how = {"seconds": round(draw.uniform(0.12, 0.25), 4)}
        elif kind == "contour_slide":
            how = {
                "hertz": draw.uniform(0.15, 0.6, 4).round(3).tolist(),
                "phase": draw.uniform(0, 6.28, 4).round(3).tolist(),
            }
            how["size"] = [round(x, 5) for x in (draw.uniform(0.02, 0.05), draw.uniform(0.02, 0.05), 0.025, 0.02)]
        elif kind in twins.PIXEL_KINDS:
            how = {"error": round(draw.uniform(0.004, 0.008), 5), "resolution": round(draw.uniform(0.45, 0.7), 3)}
            how["feather"] = round(draw.uniform(0.12, 0.25), 3)
        if kind in ("expression_swap", "reenactment"):
            how["expression_of"] = recording + 1
            # The same person speaking another time, so that rest is the same face.
            other = self._performance(recording + 1, identity.smile)
        if kind == "face_blend":
            how["donor"] = (person + 1 + int(draw.integers(0, self.identities - 1))) % self.identities
            # Swapped faces take on the light of the film they are put into.
            light = {name: getattr(identity, name) for name in ("light", "tint", "exposure", "mirrored")}
            donor = replace(self.identity(how["donor"]), **light)
        return TalkingHead(
            id=f"{'real' if kind == 'real' else 'fake'}/{name}-{kind}",
            kind=kind,
            identity=identity,
            performance=self._performance(recording, identity.smile),
            key=(self.kind, self.seed, self.split, recording),
            manipulation=how,
            other=other,
            donor=donor,
            about={"person": f"{self.split}-{self.seed}-{person:03d}", "recording": name, "split": self.split},
            **self.look,
        )

    def tables(self, clips: Iterable[Clip]) -> dict[str, str]:
        """``labels.csv``: clip, label, kind, person and recording of each."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["clip", "label", "kind", "person", "recording", "split"])
        for clip in clips:
            assert isinstance(clip, TalkingHead)
            writer.writerow(
                [clip.id, clip.label, clip.kind, *(clip.about[k] for k in ("person", "recording", "split"))]
            )
        return {"labels.csv": text.getvalue()}
