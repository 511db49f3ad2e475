"""Videos with labels -> windows of signals for training and testing."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mediakit.base import BaseDataModule, Split
from mediakit.deepfake.augment import change_circumstances
from mediakit.deepfake.index.records import VideoRecord
from mediakit.deepfake.index.scanners import scan
from mediakit.deepfake.index.splits import assign_splits, check_disjoint
from mediakit.deepfake.index.summary import describe
from mediakit.deepfake.landmark_cache import LandmarkCache, fill_cache
from mediakit.deepfake.pseudo_fakes import KINDS
from mediakit.deepfake.quality import bits_per_pixel, conditions, measure
from mediakit.deepfake.signals import (
    HOP,
    RATE,
    WINDOW,
    Motion,
    Signals,
    cut_windows,
    resample_track,
    split_motion,
    track_signals,
    windows,
)
from mediakit.errors import MediakitError, require
from mediakit.io import probe, scan_packets
from mediakit.quiet import quiet_native_code
from mediakit.threads import one_thread

_SHORTEST = 1.0  # seconds of face that a window needs


@dataclass(frozen=True, eq=False)
class TrackItem:
    """One face track of a split.

    Attributes:
        video: Number of its record in the split.
        track: Number of the track in the video.
        label: 1 = fake.
        points: ``(T, 478, 3)`` at 30 Hz in pixels; NaN without a face.
        starts: First frames of its windows.
        quality: Of each window, in [0, 1]; 0 where nothing should be said.
        fps: Frames a second of the film.
    """

    video: int
    track: int
    label: int
    points: Tensor
    starts: list[int]
    quality: list[float]
    fps: float


class WindowDataset(Dataset):
    """Windows that are ready.

    An item is a dictionary of ``head``, ``expression``, ``valid``, ``label``, ``quality``, ``video`` (twice the number
    of its record, and one more for a pseudo-fake), ``track`` and ``start`` (seconds in the track).

    Args:
        signals: ``(W, T, ...)``.
        columns: The other values, ``(W,)`` each.
    """

    def __init__(self, signals: Signals, columns: dict[str, Tensor]) -> None:
        self.signals, self.columns = signals, columns

    def __len__(self) -> int:
        return len(self.signals.valid)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {
            **{name: part[index] for name, part in self.signals._asdict().items()},
            **{name: column[index] for name, column in self.columns.items()},
        }


class ViewDataset(Dataset):
    """Fresh views of tracks, made when they are asked for: an item is one window, whatever the epoch.

    Args:
        items: Tracks; each gives one item, a genuine one and a pseudo-fake by turns if ``pseudo``.
        pseudo: Whether genuine tracks also give pseudo-fakes.
        window: Frames.
    """

    def __init__(self, items: Sequence[TrackItem], pseudo: bool, window: int) -> None:
        self.items, self.window = items, window
        self.wanted = [(n, fake) for n, item in enumerate(items) for fake in ((False, True) if pseudo else (False,))]
        self.wanted = [(n, fake) for n, fake in self.wanted if not (fake and items[n].label)]

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, fake = self.wanted[index]
        # torch seeds each loader process anew in each epoch
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, (1,))))
        signals = view(self.items, number, fake, generator)
        room = len(signals.valid) - self.window
        start = int(torch.randint(room + 1, (1,), generator=generator)) if room > 0 else 0
        window = cut_windows(signals, [start], self.window)
        return {
            **{name: part[0] for name, part in window._asdict().items()},
            "label": torch.tensor(float(fake or self.items[number].label)),
            "quality": torch.tensor(1.0),
        }


def view(items: Sequence[TrackItem], number: int, fake: bool, generator: torch.Generator) -> Signals:
    """Signals of one view of a track under chance circumstances, genuine or as a pseudo-fake of any kind."""
    # The manipulation draws from a source of its own, so that a fake meets what its original met.
    seed = int(torch.randint(2**62, (1,), generator=generator))
    camera, generator = (torch.Generator().manual_seed(seed + n) for n in range(2))
    kind = donor = None
    if fake:
        kind = KINDS[int(torch.randint(len(KINDS), (1,), generator=generator))]
        others = [n for n, item in enumerate(items) if item.label == 0 and item.video != items[number].video]
        if others:
            donor = _face(items[others[int(torch.randint(len(others), (1,), generator=generator))]])
    return track_signals(change_circumstances(items[number].points, camera, kind, donor, items[number].fps))


@lru_cache(maxsize=256)
def _face(item: TrackItem) -> Motion:
    return split_motion(item.points)


class DeepfakeDataModule(BaseDataModule):
    """Videos of a data set as windows of head and face signals.

    Faces are found once and kept in ``cache`` by the content of the file. By default the detector learns from genuine
    videos alone: each training and validation window has a pseudo-fake twin, and fakes of the data set are used for
    testing only.

    Args:
        root: Folder of the data set.
        dataset: ``"folder"`` (``real`` and ``fake``), ``"faceforensics"``, ``"celebdf"`` or ``"dfdc"``; see
            `mediakit.deepfake.index.scanners.scan`.
        cache: Folder for the face tracks; ``landmarks`` below the current folder if None.
        methods: Take these fakes only.
        compressions: Take these levels only.
        official: Use the data set's own splits, and where they have no validation split, a tenth of the persons of
            the training videos; else persons are split by ``shares``. Videos on no list are left out.
        shares: Train, val and test.
        partial: Take what is there of a data set that is not complete.
        lists: Folder of the official lists (FaceForensics++, Celeb-DF), where they do not lie in ``root``.
        pseudo_fakes: ``"only"`` trains and validates on genuine videos and pseudo-fakes of them, ``"also"`` takes the
            data set's fakes, too, ``"none"`` takes these alone.
        views: Views of each track that are made once, before training, and kept in memory, for validation likewise; 0
            makes a fresh training view for each window and epoch, which takes about 0.1 s of a loader process
            (``num_workers``).
        window: Frames of a window at 30 a second.
        hop: Frames from one to the next.
        max_seconds: What is read of a track, from its start.
        face_model: A ``face_landmarker.task`` file, where MediaPipe bundles no model.
        max_faces: Most faces looked for in a frame.
        workers: Processes that look for faces.
        progress: Whether to show on stderr how looking for faces and making views gets on.
        batch_size: Windows a batch.
        num_workers: Loader processes.
        seed: Of splits, views and the training order.
    """

    def __init__(
        self,
        root: str,
        dataset: Literal["folder", "faceforensics", "celebdf", "dfdc"] = "folder",
        cache: str | None = None,
        methods: list[str] | None = None,
        compressions: list[str] | None = None,
        official: bool = True,
        shares: tuple[float, float, float] = (0.7, 0.15, 0.15),
        partial: bool = False,
        lists: str | None = None,
        pseudo_fakes: Literal["only", "also", "none"] = "only",
        views: int = 4,
        window: int = WINDOW,
        hop: int = HOP,
        max_seconds: float = 60.0,
        face_model: str | None = None,
        max_faces: int = 2,
        workers: int = 1,
        progress: bool = True,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        if pseudo_fakes not in ("only", "also", "none"):
            raise MediakitError(f"pseudo_fakes must be only, also or none, not {pseudo_fakes!r}.")
        self.root, self.kind = root, dataset
        self.methods, self.compressions, self.official, self.shares = methods, compressions, official, shares
        self.options: dict[str, Any] = {"partial": partial} | ({} if lists is None else {"lists": lists})
        self.pseudo_fakes, self.views, self.window, self.hop = pseudo_fakes, views, window, hop
        self.max_seconds, self.workers, self.progress = max_seconds, workers, progress
        self.cache = LandmarkCache(cache or "landmarks", face_model=face_model, max_faces=max_faces)
        self.records: dict[str, list[VideoRecord]] = {}
        self._index: list[VideoRecord] | None = None
        self._tracks: dict[str, list[TrackItem]] = {}

    def index(self) -> list[VideoRecord]:
        """All records with their splits.

        Raises:
            MediakitError: Own splits share a person, or the folder is damaged.
        """
        if self._index is None:
            try:
                records = scan(
                    self.kind, self.root, methods=self.methods, compressions=self.compressions, **self.options
                )
            except TypeError as error:
                raise MediakitError(
                    f"the dataset {self.kind!r} has no lists of its own: leave --data.lists out."
                ) from error
            listed = [record for record in records if record.split is not None] if self.official else []
            if not listed:
                records = assign_splits(records, self.shares, self.seed)
                check_disjoint(records)
            elif not any(record.split == "val" for record in listed) and any(r.split == "train" for r in listed):
                known = [record for record in listed if record.split == "train"]
                own = assign_splits(known, (0.9, 0.1, 0.0), self.seed)
                check_disjoint(own)
                records = own + [record for record in listed if record.split != "train"]
            self._index = records
        return self._index

    def tracks(self, split: Split) -> list[TrackItem]:
        """Face tracks of a split, at 30 Hz; those shorter than a second are left out."""
        if split not in self._tracks:
            name = "test" if split == "predict" else split
            found = [record for record in self.index() if record.split == name]
            if name != "test" and self.pseudo_fakes == "only":
                found = [record for record in found if record.label == 0]
            if not found:
                raise MediakitError(
                    f"{self.root}: holds no videos of the split {name!r}.\n{describe(self.index())}\n"
                    "Put videos there, or set --data.official false to split them by person."
                )
            with quiet_native_code():
                failures = fill_cache(found, self.cache, workers=self.workers, progress=self.progress)
            broken = {path for path, _ in failures}
            if failures:
                told = "; ".join(f"{path}: {problem}" for path, problem in failures[:3])
                warnings.warn(f"{len(failures)} videos cannot be read and are left out ({told})", stacklevel=2)
            self.records[split] = [record for record in found if str(record.path) not in broken]
            self._tracks[split] = [
                item for number, record in enumerate(self.records[split]) for item in self._read(number, record)
            ]
        return self._tracks[split]

    def _read(self, number: int, record: VideoRecord) -> list[TrackItem]:
        items = []
        ready = record.path.suffix == ".safetensors"  # tracks do not tell what their film was compressed by
        bits = None if ready else bits_per_pixel(scan_packets(record.path), probe(record.path))
        for index, track in enumerate(self.cache.get(record.path).tracks):
            points, time = resample_track(track)
            points = points[: round(self.max_seconds * RATE)]
            if len(points) < _SHORTEST * RATE:
                continue
            starts = windows(len(points), self.window, self.hop)
            seen = conditions(track)
            quality = []
            for start in starts:
                end = min(start + self.window, len(points)) - 1
                quality.append(measure(seen, float(time[start]), float(time[end]), bits, track.flow_failures).score)
            fps = 1 / float(track.time.diff().median())
            items.append(TrackItem(number, index, record.label, points, starts, quality, fps))
        return items

    @one_thread()
    def plain_windows(self) -> tuple[Signals, Tensor]:
        """Training windows as they are, ``(W, T, ...)``, and their labels ``(W,)``: what inputs are measured by."""
        ready = _windows(self.tracks("train"), self.window)
        return ready.signals, ready.columns["label"]

    @one_thread()
    def dataset(self, split: Split) -> Dataset:
        """Windows of a split."""
        items = self.tracks(split)
        pseudo = self.pseudo_fakes != "none"
        if split in ("test", "predict") or (split == "val" and not pseudo):
            return _windows(items, self.window)
        if split == "train" and not self.views:
            return ViewDataset(items, pseudo, self.window)
        return self._views(items, pseudo, max(self.views, 1), split)

    def _views(self, items: Sequence[TrackItem], pseudo: bool, views: int, split: str) -> WindowDataset:
        """Views of every track, made now: genuine ones and as many pseudo-fakes, under the same circumstances."""
        made: list[tuple[Signals, list[int], TrackItem, bool]] = []
        tqdm = require("tqdm", "Progress").tqdm
        wanted = [(turn, number) for turn in range(views) for number in range(len(items))]
        for turn, number in tqdm(wanted, desc=f"views ({split})", disable=not self.progress):
            for fake in (False, True) if pseudo and not items[number].label else (False,):
                name = f"{self.seed}/{split}/{turn}/{number}"
                generator = torch.Generator().manual_seed(random.Random(name).getrandbits(62))
                signals = view(items, number, fake, generator)
                shift = random.Random(name).randrange(self.hop) if split == "train" else 0
                room = max(len(signals.valid) - self.window, 0)
                starts = [
                    start + min(shift, room) for start in windows(len(signals.valid) - shift, self.window, self.hop)
                ]
                item = items[number]
                if split == "val":  # each view is a video of its own
                    item = replace(item, video=turn * len(self.records[split]) + item.video)
                made.append((signals, starts, item, fake))
        return _join(made, self.window)


def _windows(items: Sequence[TrackItem], window: int) -> WindowDataset:
    """Tracks as they are."""
    return _join([(track_signals(item.points), item.starts, item, False) for item in items], window)


def _join(made: Sequence[tuple[Signals, list[int], TrackItem, bool]], window: int) -> WindowDataset:
    if not made:
        raise MediakitError("there is no face of a second or longer in these videos: nothing to read.")
    parts = [cut_windows(signals, starts, window) for signals, starts, _, _ in made]
    signals = Signals(*(torch.cat(part) for part in zip(*parts, strict=True)))
    columns: dict[str, list[Any]] = {name: [] for name in ("label", "quality", "video", "track", "start")}
    for _, starts, item, fake in made:
        for number, start in enumerate(starts):
            columns["label"].append(float(fake or item.label))
            columns["quality"].append(item.quality[number] if starts == item.starts else 1.0)
            # a pseudo-fake is a video of its own
            columns["video"].append(2 * item.video + fake)
            columns["track"].append(item.track)
            columns["start"].append(start / RATE)
    tensors = {name: torch.tensor(values) for name, values in columns.items()}
    return WindowDataset(signals, tensors)
