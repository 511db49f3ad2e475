"""Labels and features of audio-visual video parsing, as batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mediakit.base import BaseDataModule
from mediakit.base import Split as Stage
from mediakit.errors import MediakitError
from mediakit.features import Card, FeatureFolder, same_encoder
from mediakit.parsing.annotations.labels import DEFAULT_CLASSES, Format, read_labels
from mediakit.parsing.annotations.tables import Annotations, Split, class_names
from mediakit.parsing.dataset import ParsingDataset, cut_windows
from mediakit.parsing.feature_files import FEATURES, ReadFeatures, Video, read_features, read_pseudo_labels, refuse


class ParsingDataModule(BaseDataModule):
    """Videos as features with their labels: LLP, AVE, UnAV-100, or videos of one's own.

    Everything is read, checked and pooled to one vector a second when a split is set up, and kept in memory (LLP's
    training split with 768 + 768 + 512 features: 820 MB, half of that with ``half``, up to twice while it is read), so
    that bad data is named before training starts. Loader processes are rarely worth while.

    A batch is a dict:

    - ``id`` (list of B names), ``start`` (B,) int64, the window's first second in its video;
    - ``audio`` (B, T, A), ``frames`` (B, T, V), ``clips`` (B, T, S) float32; ``valid`` (B, T) bool, False on seconds
      that the video does not have;
    - ``labels`` (B, K) float32, weak labels; ``audio_segments``, ``visual_segments`` (B, T, K) float32, what losses on
      segments compare with: pseudo-labels in training, the dense truth in val and test;
    - in val and test ``true_audio``, ``true_visual`` (B, T, K) uint8, dense truth.

    For prediction there are no labels in it. A video longer than T is cut into windows, the last one moved back to end
    with the video; the weak label of such a window is the union of its segments' labels, or the video's where
    ``segment_labels`` is ``"weak"``. A shorter one is filled up with its last second, where ``valid`` is False and the
    truth is 0.

    Args:
        features: Folder as ``mediakit extract`` writes it, or with folders of .npy files as they circulate for LLP:
            audio ``(10, A)`` or CLAP maps ``(64, 768)``, frames ``(10, V)`` or ``(80, 2048)``, clips ``(10, S)``.
            Sub-folders ``train``, ``val``, ``test``, where it has them, hold those of each split.
        labels: Folder of the labels, see `.read_labels`; None to predict without.
        format: ``"llp"``, ``"folder"`` (plain tables), ``"ave"`` or ``"unav"``.
        version: Which of LLP's audio events score: ``"2020"`` or ``"2024"``, see `.read_llp`.
        classes: Names of the classes of plain tables, or the key of a list in `.CLASS_LISTS`; None for the format's own
            (``"events"`` for plain tables). As an attribute, the K names.
        pseudo_labels: Folder with ``audio/ID.npy`` and ``visual/ID.npy``, (L, K) in [0, 1], for the training split.
        segment_labels: What segments are trained on: ``"pseudo"`` (``pseudo_labels``), ``"dense"`` (the tables' own
            dense truth) or ``"weak"`` (the weak label in every second).
        audio_folder: Name of the folder of audio features, such as ``vggish``.
        frames_folder: Name of the folder of frame features, such as ``res152``.
        clips_folder: Name of the folder of clip features, such as ``r2plus1d_18``.
        segments: T, seconds of a window.
        skip_missing: Leave out videos without features, as many of LLP have vanished, and say so, instead of failing.
        half: Keep features in half precision.
        batch_size: Windows a batch.
        num_workers: Loader processes.
        seed: Seed of the training order.

    Attributes:
        left_out: Ids of the videos that were left out, by split.

    Raises:
        MediakitError: The arguments do not go together.
    """

    def __init__(
        self,
        features: str,
        labels: str | None = None,
        format: Format = "llp",
        version: Literal["2020", "2024"] = "2020",
        classes: list[str] | str | None = None,
        pseudo_labels: str | None = None,
        segment_labels: Literal["pseudo", "dense", "weak"] = "pseudo",
        audio_folder: str = "audio",
        frames_folder: str = "frames",
        clips_folder: str = "clips",
        segments: int = 10,
        skip_missing: bool = False,
        half: bool = False,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        if segments < 1:
            raise MediakitError(f"segments must be 1 or more, got {segments}.")
        if format not in DEFAULT_CLASSES or segment_labels not in ("pseudo", "dense", "weak"):
            raise MediakitError(f"there is no format {format!r} or no kind of segment labels {segment_labels!r}.")
        if pseudo_labels is not None and segment_labels != "pseudo":
            raise MediakitError(
                f"pseudo_labels are given, but segment_labels is {segment_labels!r}: one of them is meant."
            )
        self.features, self.labels, self.format, self.version = features, labels, format, version
        self.classes = class_names(DEFAULT_CLASSES[format] if classes is None else classes)
        self.pseudo_labels, self.segment_labels = pseudo_labels, segment_labels
        self.folders = dict(zip(FEATURES, (audio_folder, frames_folder, clips_folder), strict=True))
        self.segments, self.skip_missing, self.half = segments, skip_missing, half
        self.left_out: dict[str, tuple[str, ...]] = {}
        self._annotations: dict[Split, Annotations] = {}
        self._cards: dict[str, Card | None] = {}
        self._widths: dict[str, tuple[int, str]] = {}

    @property
    def encoders(self) -> Mapping[str, Card | None]:
        """Cards of the encoders behind the features of the splits that are set up; None where it is not known."""
        return dict(self._cards)

    @property
    def source(self) -> str:
        """What the splits that are set up hold, for scores to say."""
        return "; ".join(known.source for known in self._annotations.values()) or f"features in {self.features}"

    def annotations(self, split: Split) -> Annotations:
        """Labels of a split; once it is set up, those of the videos in use.

        Raises:
            MediakitError: There are none, or they cannot be read.
        """
        if split not in self._annotations:
            if self.labels is None:
                raise MediakitError(f"the {split} split needs labels: name their folder (--data.labels).")
            try:
                known = read_labels(self.labels, self.format, split, self.version, self.classes)
            except ValueError as error:
                raise MediakitError(f"labels: {error}.") from error
            if known.findings:
                command = f"mediakit check-labels {self.labels}"
                _warn(f"{known.source}: {len(known.findings)} findings in the labels; `{command}` lists them")
            self._annotations[split] = known
        return self._annotations[split]

    def dataset(self, split: Stage) -> ParsingDataset:
        """Reads labels and features of a split, and checks them as a whole.

        Raises:
            MediakitError: Something is missing, damaged or does not fit; the message names the first few and counts
                all.
        """
        part: Split = "test" if split == "predict" else split
        if split == "predict":
            folder = self._open_features(part)
            found = self._read(folder, part, self.annotations(part).ids if self.labels else folder.ids, predict=True)
            return self._cut(found.videos, {})
        known = self.annotations(part)
        if part == "train" and self.segment_labels == "pseudo" and self.pseudo_labels is None:
            raise MediakitError(
                "segment_labels 'pseudo' needs the folder of pseudo_labels; without, train on 'dense' or 'weak' ones."
            )
        if known.audio is None and (part != "train" or self.segment_labels == "dense"):
            need = "segment_labels is 'dense'" if part == "train" else "scores need it"
            raise MediakitError(f"{known.source} has no dense truth (when a class is heard and seen), but {need}.")
        found = self._read(self._open_features(part), part, known.ids)
        kept = torch.tensor([id in found.videos for id in known.ids])
        if not kept.all():
            known = self._annotations[part] = _kept(known, kept)
        return self._cut(found.videos, self._targets(part, known, found.videos))

    def _open_features(self, part: Split) -> FeatureFolder:
        path = _of_split(self.features, part)
        folder = FeatureFolder(path, self.folders)
        for feature in FEATURES:
            if feature not in folder.encoders:
                raise MediakitError(
                    f"{path}: has no {feature} features (folder {self.folders[feature]!r}). If they go by another "
                    f"name, give it: --data.{feature}_folder."
                )
            card = folder.encoders[feature]
            try:
                same_encoder(self._cards.get(feature), card, feature)
            except MediakitError as error:
                raise MediakitError(f"{path} and the features of another split: {error}") from error
            self._cards[feature] = self._cards.get(feature) or card
        return folder

    def _read(self, folder: FeatureFolder, part: Split, ids: Sequence[str], predict: bool = False) -> ReadFeatures:
        found = read_features(
            folder, ids, short_names=self.format == "llp", skip_missing=self.skip_missing, fill_absent=predict
        )
        advice = "`mediakit extract` makes features; skip_missing leaves out videos that lack them."
        if not found.videos and folder.ids:
            advice = f"The labels name {ids[0]!r}, the features {folder.ids[0]!r}. {advice}"
        if not found.videos and not found.problems:
            found.problems.extend(found.left_out.values())
        for name, array in zip(FEATURES, next(iter(found.videos.values()), ()), strict=False):
            width, other = self._widths.setdefault(name, (array.shape[1], str(folder.path)))
            if width != array.shape[1]:
                found.problems.append(f"{name} features are {array.shape[1]} wide, but {width} in {other}")
        what = f"{folder.path}: {len(found.problems)} features of {len(ids)} videos cannot be used"
        refuse(found.problems, what, advice)
        self.left_out[part] = tuple(found.left_out)
        if found.left_out:
            _warn(
                f"{part}: {len(found.left_out)} of {len(ids)} videos have no features and are left out; scores are "
                f"over {len(found.videos)}: {_listed(found.left_out)}"
            )
        if found.filled:
            names = [f"{id} ({' and '.join(features)})" for id, features in found.filled.items()]
            _warn(
                f"{len(names)} videos have no sound or no pictures; zeros stand for these features, so do not trust "
                f"what is found in them: {_listed(names)}"
            )
        return found

    def _targets(self, part: Split, known: Annotations, videos: Mapping[str, Video]) -> dict[str, dict[str, Tensor]]:
        """Per video: ``labels`` (K,), and (L, K) segment labels and truth."""
        seconds = {id: len(video[0]) for id, video in videos.items()}
        dense: dict[str, tuple[Tensor, Tensor]] = {}
        if known.audio is not None and known.visual is not None:
            dense = {id: (known.audio[n], known.visual[n]) for n, id in enumerate(known.ids)}
            late = [id for id, pair in dense.items() if any(truth[seconds[id] :].any() for truth in pair)]
            if late:
                _warn(f"{known.source}: events after the end of the features are cut off in {_listed(late)}")
            dense = {id: (_fit(a, seconds[id]), _fit(v, seconds[id])) for id, (a, v) in dense.items()}
        if part != "train" or self.segment_labels == "dense":
            segments = dense
        elif self.segment_labels == "pseudo":
            assert self.pseudo_labels is not None
            root, short = _of_split(self.pseudo_labels, part), self.format == "llp"
            segments, problems = read_pseudo_labels(root, seconds, len(self.classes), short_names=short)
            refuse(problems, f"{root}: {len(problems)} pseudo-labels cannot be used", "Make them for this class list.")
        else:
            rows = {id: known.labels[n].expand(seconds[id], -1) for n, id in enumerate(known.ids)}
            segments = {id: (row, row) for id, row in rows.items()}
        targets: dict[str, dict[str, Tensor]] = {}
        for n, id in enumerate(known.ids):
            audio, visual = segments[id]
            targets[id] = {
                "labels": known.labels[n].float(),
                "audio_segments": audio.float(),
                "visual_segments": visual.float(),
            }
            if part != "train":
                targets[id] |= {"true_audio": dense[id][0], "true_visual": dense[id][1]}
        return targets

    def _cut(self, videos: dict[str, Video], targets: Mapping[str, Mapping[str, Tensor]]) -> ParsingDataset:
        data = cut_windows(videos, targets, self.segments, half=self.half)
        if self.half and not all(data.tensors[name].isfinite().all() for name in FEATURES):
            raise MediakitError("some features are too large for half precision: leave out `half`.")
        return data


def _warn(text: str) -> None:
    # Imported here: mediakit.base must come first, which makes Lightning importable everywhere.
    from pytorch_lightning.utilities import rank_zero_warn

    rank_zero_warn(text)


def _of_split(folder: str, part: Split) -> Path:
    """The sub-folder of a split where there is one, else the folder itself."""
    return Path(folder, part) if Path(folder, part).is_dir() else Path(folder)


def _kept(known: Annotations, kept: Tensor) -> Annotations:
    """The annotations of some of the videos; their source says of how many."""
    ids = tuple(id for id, keep in zip(known.ids, kept.tolist(), strict=True) if keep)
    audio, visual, seconds = (
        None if values is None else values[kept] for values in (known.audio, known.visual, known.seconds)
    )
    source = f"{known.source}, {len(ids)} of {len(known.ids)} videos"
    return replace(
        known, source=source, ids=ids, labels=known.labels[kept], audio=audio, visual=visual, seconds=seconds
    )


def _fit(truth: Tensor, seconds: int) -> Tensor:
    """(T, K) cut or filled with zeros to so many seconds."""
    return torch.nn.functional.pad(truth[:seconds], (0, 0, 0, max(0, seconds - len(truth))))


def _listed(names: Sequence[str] | Mapping[str, str], most: int = 50) -> str:
    shown = ", ".join([*names][:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
