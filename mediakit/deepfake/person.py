"""Does this person move here as in recordings that are known to be genuine? One class, no fakes needed.

The idea is that of Agarwal et al., "Protecting world leaders against deep fakes" (CVPR workshops 2019): people have
ways of moving that a face swap, a puppet or a new mouth does not copy. A model is made of one person's own recordings,
and another is compared with them (`mediakit.deepfake.mannerisms`) by its mean Mahalanobis distance with shrunk
covariance (Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004).

How far is far is asked of the references themselves: each is left out once and measured by the others, as it is and as
if it were strongly compressed, for films that go round are; the further counts. The p-value is
the chance that a genuine recording lies as far as the one at hand, *not* the chance that this one is genuine. By rank
(conformal) it is never below 1/(n + 1), and needs nothing but that the new recording is like the references; where n
references are too few for that, a normal model of their log distances stands in.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from os import PathLike
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mediakit.deepfake.landmark_noise import compression_noise
from mediakit.deepfake.mannerisms import BLOCKS, NAMES, Windows, describe_tracks, readable
from mediakit.deepfake.person_result import Deviation, PersonResult
from mediakit.deepfake.signals import key_points, put_keypoints
from mediakit.errors import MediaError, MediakitError, require
from mediakit.io import atomic_path, check_readable
from mediakit.tracks import FaceTracks

FORMAT = "mediakit.person/1"
LEAST_REFERENCES = 3

_SIZES = [len(block) for block in BLOCKS.values()]
_TOLD = 5  # findings of a result


class Block(NamedTuple):
    """Where the windows of a person lie, in one block of numbers."""

    mean: Tensor
    scale: Tensor
    precision: Tensor


@dataclass(frozen=True, eq=False)
class PersonModel:
    """How one person moves; make it with `fit` or `load`.

    Attributes:
        blocks: By block of numbers, the mean of the recordings' means, the windows' standard deviation from it, and the
            inverse of the shrunk covariance of what is so standardised.
        distances: Of each reference by the others ``(n,)``.
        center: Mean ``(99,)`` of the recordings' means.
        spread: Standard deviation between recordings ``(99,)``.
        settings: ``seconds`` of a window, ``different_below``, ``consistent_above`` and ``crf``.
        sources: ``name`` and ``sha256`` (of the landmarks) of each reference.
    """

    blocks: tuple[Block, ...]
    distances: Tensor
    center: Tensor
    spread: Tensor
    settings: dict[str, float]
    sources: tuple[dict[str, str], ...]

    @classmethod
    def fit(
        cls,
        references: Iterable[FaceTracks],
        names: Sequence[str] | None = None,
        seconds: float = 10.0,
        different_below: float = 0.05,
        consistent_above: float = 0.2,
        crf: float = 40.0,
    ) -> PersonModel:
        """Learns how a person moves.

        Each reference should be another occasion: parts of one recording are more alike than recordings are, and the
        p-values would come out too small. Of each, the face that is longest to be seen is taken.

        Args:
            references: Tracks of genuine recordings of one person, at least 3; 20 or more are needed for p-values by
                rank below 0.05. They are taken one after the other, and none is kept.
            names: What to call them in errors and in the file; their numbers if None.
            seconds: Length of a window; shorter ones are noisier, longer ones need longer recordings.
            different_below: Verdict "different" up to this p-value.
            consistent_above: Verdict "consistent" from this p-value on.
            crf: Rate of compression up to which recordings are compared with the references; 0 if all are as good.

        Raises:
            MediakitError: There are too few references, or one has no face for long enough, or is another one again.
            ValueError: A setting is out of range, or there is not one name for each reference.
        """
        if not (2 <= seconds < math.inf and 0 < different_below < consistent_above < 1):
            raise ValueError(
                "seconds must be at least 2 and 0 < different_below < consistent_above < 1, "
                f"got {seconds}, {different_below} and {consistent_above}"
            )
        if names is not None:
            _check_enough(len(names))
        called = map("reference {}".format, count(1)) if names is None else names
        found: dict[str, str] = {}
        described: list[list[Tensor]] = []
        for name, tracks in zip(called, references, strict=names is not None):
            windows = describe_tracks(tracks, seconds)
            if problem := _lack(windows, seconds):
                raise MediakitError(f"{name}: {problem}. Leave it out, or give another recording.")
            digest = _digest(tracks)
            if twin := found.get(digest):
                raise MediakitError(f"{name}: is the same recording as {twin}. Give each recording once.")
            found[digest] = name
            versions = [windows.values]
            if crf:
                versions.append(describe_tracks(_compressed(tracks, crf, len(described)), seconds).values)
            described.append(versions)
        _check_enough(len(described))
        pooled = [torch.cat(versions) for versions in described]
        distances = []
        for number, versions in enumerate(described):
            others = _fit(pooled[:number] + pooled[number + 1 :])
            distances.append(torch.stack([_distances(others, values).mean() for values in versions]).max())
        means = torch.stack([values.mean(0) for values in pooled])
        return cls(
            _fit(pooled),
            torch.stack(distances),
            means.mean(0),
            means.std(0).clamp_min(1e-6),
            {"seconds": seconds, "different_below": different_below, "consistent_above": consistent_above, "crf": crf},
            tuple({"name": name, "sha256": digest} for digest, name in found.items()),
        )

    def __str__(self) -> str:
        n, seconds = len(self.distances), self.settings["seconds"]
        least = math.ceil(1 / self.settings["different_below"]) - 1
        few = f"; {least} and more would give p-values without the assumption of a normal model" if n < least else ""
        return f"how one person moves, from {n} recordings in windows of {seconds:g} s{few}"

    def score(self, tracks: FaceTracks) -> PersonResult:
        """Compares a recording with the person.

        Args:
            tracks: Of the recording; no face, or too little of one, gives the verdict "undetermined".
        """
        n, seconds = len(self.distances), self.settings["seconds"]
        windows = describe_tracks(tracks, seconds)
        if problem := _lack(windows, seconds):
            return PersonResult("undetermined", problem, None, None, None, n, left_out=windows.left_out)
        digest = _digest(tracks)
        for source in self.sources:
            if source["sha256"] == digest:
                reason = f"it is the reference {source['name']} itself, which says nothing"
                return PersonResult("undetermined", reason, None, None, None, n, left_out=windows.left_out)
        distances = _distances(self.blocks, windows.values)
        distance = float(distances.mean())
        rank_p, p_value, how = self._p_values(distance)
        verdict, reason = self._judge(p_value, how, len(distances))
        return PersonResult(
            verdict,
            reason,
            p_value,
            rank_p,
            distance,
            n,
            tuple(
                (start, start + seconds, d) for start, d in zip(windows.start.tolist(), distances.tolist(), strict=True)
            ),
            self._findings(windows.values.mean(0)),
            windows.left_out,
        )

    def _p_values(self, distance: float) -> tuple[float, float, str]:
        """By rank; the one to judge by; and how that was found, in words."""
        n = len(self.distances)
        rank = (1 + int((self.distances >= distance).sum())) / (n + 1)
        if 1 / (n + 1) <= self.settings["different_below"]:
            return rank, rank, f"by rank among {n} references"
        stats = require("scipy.stats", "The p-value of few references", "scipy")
        logs = self.distances.log()
        t = (math.log(distance) - float(logs.mean())) / (max(float(logs.std()), 1e-3) * math.sqrt(1 + 1 / n))
        how = f"by a normal model of {n} references, too few to tell by rank, which gives {rank:.2f}"
        return rank, float(stats.t.sf(t, n - 1)), how

    def _judge(
        self, p_value: float, how: str, windows: int
    ) -> tuple[Literal["consistent", "different", "undetermined"], str]:
        counted = f"{windows} window{'s' * (windows > 1)}"
        told = f"a genuine recording of this person lies as far off with p = {p_value:.2g} ({how}; {counted})"
        if p_value <= self.settings["different_below"]:
            return "different", f"{told}, at most {self.settings['different_below']:g} is called different"
        if p_value >= self.settings["consistent_above"]:
            return "consistent", f"{told}; nothing in how the face moves speaks against the person, which is no proof"
        bounds = f"{self.settings['different_below']:g} and {self.settings['consistent_above']:g}"
        return "undetermined", f"{told}, between {bounds} neither is said"

    def _findings(self, mean: Tensor) -> tuple[Deviation, ...]:
        order = ((mean - self.center) / self.spread).abs().argsort(descending=True)[:_TOLD]
        ends = self.center + self.spread * torch.tensor([[-2.0], [2.0]], dtype=torch.double)
        return tuple(
            Deviation(NAMES[i], *(readable(NAMES[i], float(x[i])) for x in (mean, *ends))) for i in order.tolist()
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the model as one safetensors file; equal models give equal bytes.

        Raises:
            MediaError: The file cannot be written.
        """
        from safetensors.torch import save

        tensors = {
            f"{name}.{part}": x
            for name, block in zip(BLOCKS, self.blocks, strict=True)
            for part, x in block._asdict().items()
        }
        tensors |= {"distances": self.distances, "center": self.center, "spread": self.spread}
        header = {"format": FORMAT, "settings": self.settings, "sources": self.sources, "names": NAMES}
        content = save(
            {k: x.contiguous() for k, x in tensors.items()}, metadata={"mediakit": json.dumps(header, sort_keys=True)}
        )
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> PersonModel:
        """Reads what `save` wrote; nothing is unpickled.

        Raises:
            MediaError: The file is missing, or is no model of a person of this version.
        """
        from safetensors import SafetensorError, safe_open

        checked = check_readable(path)
        try:
            with safe_open(checked, framework="pt") as stored:
                header = json.loads((stored.metadata() or {})["mediakit"])
                if header["format"] != FORMAT or header["names"] != list(NAMES):
                    raise KeyError(header["format"])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
            blocks = tuple(Block(*(tensors[f"{name}.{part}"] for part in Block._fields)) for name in BLOCKS)
            settings = {
                name: float(header["settings"][name])
                for name in ("seconds", "different_below", "consistent_above", "crf")
            }
            sources = tuple({"name": str(s["name"]), "sha256": str(s["sha256"])} for s in header["sources"])
            model = cls(blocks, tensors["distances"], tensors["center"], tensors["spread"], settings, sources)
            shapes = [tuple(x.shape) for block in blocks for x in block]
            if shapes != [s for k in _SIZES for s in ((k,), (k,), (k, k))] or len(sources) != len(model.distances):
                raise ValueError("shapes")
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise MediaError(
                path,
                "is no model of a person, or one of another version",
                "Make one with `mediakit enroll VIDEO... -o FILE`.",
            ) from error
        return model


def _check_enough(recordings: int) -> None:
    if recordings < LEAST_REFERENCES:
        told = "1 recording says" if recordings == 1 else f"{recordings} recordings say"
        raise MediakitError(
            f"{told} too little about how a person moves. Give at least {LEAST_REFERENCES}, each of another occasion; "
            "with 20 and more, small p-values need no assumption."
        )


def _lack(windows: Windows, seconds: float) -> str:
    """Why there is nothing to compare; empty if there is."""
    if len(windows.start):
        return ""
    if not windows.longest:
        return "no face was found"
    if windows.longest < seconds - 0.1:
        return f"the face is followed for {windows.longest:.1f} s at most, and {seconds:g} s without a break are needed"
    return f"the face is missing too often, or nothing in it moves, in every {seconds:g} s"


def _compressed(tracks: FaceTracks, crf: float, seed: int) -> FaceTracks:
    """The same with landmarks as after compression, drawn."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for track in tracks.tracks:
        rate = (len(track) - 1) / max(track.duration, 1e-3)
        key = compression_noise(key_points(track.points), crf, generator, rate)
        made.append(replace(track, points=put_keypoints(track.points, key), denoised=None))
    return replace(tracks, tracks=tuple(made))


def _digest(tracks: FaceTracks) -> str:
    digest = hashlib.sha256()
    for track in tracks.tracks:
        digest.update(track.points.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _fit(described: Sequence[Tensor]) -> tuple[Block, ...]:
    """Each recording counts alike in the mean, each window in the covariance."""
    center = torch.stack([values.mean(0) for values in described]).mean(0)
    windows = torch.cat(list(described)) - center
    scale = windows.square().mean(0).sqrt().clamp_min(1e-6)
    parts = zip(*(x.split(_SIZES, dim=-1) for x in (center, scale, windows / scale)), strict=True)
    return tuple(Block(mean, size, torch.linalg.inv(shrunk_covariance(z))) for mean, size, z in parts)


def _distances(blocks: tuple[Block, ...], values: Tensor) -> Tensor:
    """Of windows ``(W, 99)`` from a person: the mean over blocks of squared Mahalanobis distances per number."""
    found = []
    for block, x in zip(blocks, values.split(_SIZES, dim=-1), strict=True):
        z = (x - block.mean) / block.scale
        found.append(((z @ block.precision) * z).mean(-1))
    return torch.stack(found).mean(0)


def shrunk_covariance(x: Tensor) -> Tensor:
    """Covariance about zero, shrunk towards a multiple of the identity as far as its noise asks (Ledoit and Wolf 2004).

    Args:
        x: Samples ``(N, P)`` of mean zero.

    Returns:
        ``(P, P)``, positive definite unless all samples are zero.
    """
    n, p = x.shape
    sample = x.T @ x / n
    size = sample.trace() / p
    away = (sample - size * torch.eye(p, dtype=x.dtype)).square().sum()
    noise = (x.square().sum(1).square().sum() / n - sample.square().sum()) / n
    share = (noise / away.clamp_min(1e-12)).clamp(0, 1)
    return (1 - share) * sample + share * size * torch.eye(p, dtype=x.dtype)
