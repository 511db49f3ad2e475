"""LLP-sim: audio-visual video parsing on drawn features, where the truth of every second is known.

LLP's own labels or labels drawn like them (`mediakit.parsing.simulation.label_statistics`), features of
`mediakit.parsing.simulation.features`, pseudo-labels of `mediakit.parsing.simulation.label_noise`. There is no media
behind it: it tests learning and evaluation, and says nothing about encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mediakit.base import BaseDataModule
from mediakit.base import Split as Stage
from mediakit.errors import MediakitError
from mediakit.features import Card
from mediakit.parsing.annotations.classes import CLASS_LISTS
from mediakit.parsing.annotations.tables import Annotations, Split, read_llp
from mediakit.parsing.simulation.features import ALIKE, Difficulty, draw_features, draw_prototypes, strengths
from mediakit.parsing.simulation.label_noise import corrupt
from mediakit.parsing.simulation.label_statistics import LabelStatistics, sample_dense, sample_weak
from mediakit.synthetic.clip import random_stream

LLP_COUNTS: dict[Split, int] = {"train": 10_000, "val": 649, "test": 1_200}


class _Clips(Dataset[dict[str, Any]]):
    """Tensors of N videos in memory, by name."""

    def __init__(self, ids: tuple[str, ...], tensors: Mapping[str, Tensor]) -> None:
        self.ids, self.tensors = ids, tensors

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"id": self.ids[index], **{name: values[index] for name, values in self.tensors.items()}}


class SimulatedDataModule(BaseDataModule):
    """LLP-sim: drawn features and pseudo-labels of a stated quality, for LLP's labels or for labels like them.

    Batches are those of `mediakit.parsing.data.ParsingDataModule`. The training split's dense labels, which LLP does
    not have, are drawn (`.sample_dense`); with LLP's annotation files those of val and test are real, without them all
    labels are drawn. Same arguments, same tensors, in whatever order the splits are asked for; a smaller split is the
    beginning of a larger one (pseudo-labels excepted, whose errors are spread over the whole split).

    Args:
        labels: Folder of LLP's annotation files; None draws labels from the statistics of LLP that mediakit brings.
        version: Of the audio events, ``"2020"`` or ``"2024"``; see `mediakit.parsing.annotations.tables.read_llp`.
        train: Training videos: the first so many. None takes LLP's number, as for the other splits.
        val: Validation videos.
        test: Test videos.
        audio_dim: Dimension of ``audio``; 31 at least, as the others.
        frame_dim: Dimension of ``frames``.
        clip_dim: Dimension of ``clips``.
        noise: Standard deviation of each second, where a class has length 1.
        instance_spread: That of a video's instance of a class.
        background: That of a video.
        gain: That of the logarithm of an instance's strength.
        confusion: Cosine of classes that are alike (`mediakit.parsing.simulation.features.ALIKE`), in [0, 1).
        leak: Strength of a class in the modality in which it is not.
        smear: Share of a second that comes from its neighbours, in [0, 1).
        pseudo_f_audio: Segment-level F of the audio pseudo-labels, percent. The defaults lie halfway between the true
            weak labels and the true labels of each modality, both in all seconds, on LLP's test split (audio 76.1 and
            80.1, visual 60.3 and 89.8): a teacher that settles half of what the weak label leaves open.
        pseudo_f_visual: That of the visual ones.
        batch_size: Videos a batch.
        num_workers: Loader processes.
        seed: Seed of everything that is drawn, and of the training order.

    Attributes:
        classes: LLP's 25.
        source: What the data is, for scores to say.

    Raises:
        MediakitError: A count, a dimension or a knob is out of its range.
    """

    classes = CLASS_LISTS["llp"]

    def __init__(
        self,
        labels: str | None = None,
        version: Literal["2020", "2024"] = "2020",
        train: int | None = None,
        val: int | None = None,
        test: int | None = None,
        audio_dim: int = 128,
        frame_dim: int = 128,
        clip_dim: int = 64,
        noise: float = Difficulty.noise,
        instance_spread: float = Difficulty.instance_spread,
        background: float = Difficulty.background,
        gain: float = Difficulty.gain,
        confusion: float = Difficulty.confusion,
        leak: float = Difficulty.leak,
        smear: float = Difficulty.smear,
        pseudo_f_audio: float = 78.0,
        pseudo_f_visual: float = 75.0,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        self.labels, self.version = labels, version
        self.counts: dict[Split, int | None] = {"train": train, "val": val, "test": test}
        self.dims = {"audio": audio_dim, "frames": frame_dim, "clips": clip_dim}
        self.difficulty = Difficulty(noise, instance_spread, background, gain, confusion, leak, smear)
        self.pseudo_f = (pseudo_f_audio, pseudo_f_visual)
        for split, count in self.counts.items():
            if count is not None and count < 1:
                raise MediakitError(f"{split} must be 1 video or more, got {count}.")
        groups = {name: number for number, names in enumerate(ALIKE) for name in names}
        members = torch.tensor([groups[name] for name in self.classes])
        self.prototypes = {
            name: draw_prototypes(members, dim, confusion, self._stream("prototypes", name))
            for name, dim in self.dims.items()
        }
        self._annotations: dict[Split, Annotations] = {}

    @property
    def source(self) -> str:
        """What the data is, for scores to say."""
        labels = f"labels of LLP, events of {self.version}" if self.labels else "labels drawn like LLP's"
        knobs = ", ".join(f"{name} {value:g}" for name, value in asdict(self.difficulty).items())
        quality = "pseudo-labels of segment F {:g} audio, {:g} visual".format(*self.pseudo_f)
        return f"LLP-sim (drawn features, no media), seed {self.seed}, {labels}, {knobs}, {quality}"

    @property
    def encoders(self) -> Mapping[str, Card | None]:
        """A card for each feature, so that a model trained here is refused features of media, and other prototypes."""
        drawn = {"drawn_by_seed": self.seed, "confusion": self.difficulty.confusion}
        return {name: {"name": "LLP-sim", "dim": dim, **drawn} for name, dim in self.dims.items()}

    def _stream(self, *key: str) -> torch.Generator:
        """A source of chance for each purpose, whatever else is drawn before."""
        return torch.Generator().manual_seed(int(random_stream("LLP-sim", self.seed, *key).integers(2**63)))

    def annotations(self, split: Split) -> Annotations:
        """Weak labels and dense truth of a split; that of the training split is drawn and in no batch.

        Raises:
            MediakitError: The annotation files cannot be read, or hold fewer videos than were asked for.
        """
        if split not in self._annotations:
            self._annotations[split] = self._drawn(split) if self.labels is None else self._read(self.labels, split)
        return self._annotations[split]

    def _drawn(self, split: Split) -> Annotations:
        statistics, count = LabelStatistics.llp(), self.counts[split] or LLP_COUNTS[split]
        labels = sample_weak(statistics, count, self._stream(split, "weak"))
        dense = sample_dense(labels, statistics, self._stream(split, "dense"))
        ids = tuple(f"llp-sim-{split}-{self.seed}-{number:05d}" for number in range(count))
        return Annotations(f"{self.source}, {split}", self.classes, ids, labels, *dense, findings=())

    def _read(self, folder: str, split: Split) -> Annotations:
        real, count = read_llp(folder, split, self.version), self.counts[split]
        if count is not None and count > len(real.ids):
            raise MediakitError(f"{folder}: {split} has {len(real.ids)} videos, not the {count} asked for.")
        labels = real.labels[:count]
        if real.audio is None or real.visual is None:
            statistics = LabelStatistics.count(read_llp(folder, "val", self.version))
            dense = sample_dense(labels, statistics, self._stream(split, "dense"))
        else:
            dense = real.audio[:count], real.visual[:count]
        return Annotations(f"{self.source}, {split}", self.classes, real.ids[:count], labels, *dense, real.findings)

    def dataset(self, split: Stage) -> Dataset:
        """Draws the features and pseudo-labels of a split; ``predict`` gets the test split."""
        part: Split = "test" if split == "predict" else split
        known = self.annotations(part)
        truth = [dense for dense in (known.audio, known.visual) if dense is not None]  # both are there
        tensors = {"labels": known.labels.float(), "valid": torch.ones(truth[0].shape[:2], dtype=torch.bool)}
        for name, prototypes in self.prototypes.items():
            own, other = truth if name == "audio" else truth[::-1]
            level = strengths(own, other, self.difficulty.leak, self.difficulty.smear)
            tensors[name] = draw_features(level, prototypes, self.difficulty, self._stream(part, name))
        for name, target, (own, other) in zip(("audio", "visual"), self.pseudo_f, (truth, truth[::-1]), strict=True):
            noisy = corrupt(own, other, known.labels, target, self._stream(part, "pseudo", name))
            tensors[f"{name}_segments"] = noisy.float()
            if part != "train":
                tensors[f"true_{name}"] = own
        return _Clips(known.ids, tensors)
