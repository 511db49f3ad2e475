"""Pictures with their sound, as batches for colorization."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import DataLoader

from mediakit.base import BaseDataModule, Split
from mediakit.colorize.clips.cache import CachedClip, CachedFile, ClipCache, Wanted, digest_files, fill_cache
from mediakit.colorize.clips.dataset import ClipDataset, ClipItem
from mediakit.colorize.clips.decoding import NEARLY_GRAY, STILL, Window
from mediakit.colorize.clips.readers import READERS
from mediakit.colorize.clips.records import ClipRecord, LeftOut, complete_splits, drop_copies
from mediakit.colorize.sound import WINDOW
from mediakit.errors import MediakitError
from mediakit.io import write_bytes


class ColorizeDataModule(BaseDataModule):
    """Videos with their sound, or photographs, for colorization.

    Clips are decoded once, pictures and sound in one pass, and kept in ``cache`` by the content of their files. A batch
    is a dict:

    - ``frames`` uint8 RGB (B, n, 3, S, S): for training n pictures of the clip by chance, cropped and mirrored; else
      the middle of those nearest to the clip's middle, that first;
    - ``waveform`` float32 (B, 160000): 10 s at 16 kHz, longer sound cut, shorter repeated; zeros where absent;
    - ``present`` float32 (B,): 1, or 0 where the sound is silent, missing or cannot be decoded;
    - ``label`` and ``group`` int64 (B,): -1 where unknown; the group is the label where there are no groups;
    - ``id``, ``source`` (lists of B names).

    Nearly gray pictures are left out, and clips that have no others; so are files that cannot be read. They are listed
    in ``left_out``, counted in one warning, and never fatal as long as others are left; what is used although it is
    still, silent or short is listed in ``remarks``. ``findings.csv`` in the cache has both.

    Args:
        root: Folder of the data.
        layout: ``"clips"`` (as ``mediakit build-clips`` or ``mediakit generate scenes`` write it, or sub-folders of
            that kind), ``"folder"`` (videos of any kind), ``"photos"``, ``"vggsound"`` or ``"ave"``.
        annotations: Table of VGGSound or AVE, where it does not lie in ``root``.
        cache: Folder for decoded clips; ``clip-cache`` below the current folder if None.
        label_folders: Whether the folder that a file lies in names its label (layouts ``folder`` and ``photos``).
        shares: Train, val and test, where the data have no splits of their own; without a val split, a tenth of the
            training sources is one. No source is ever in two splits.
        size: S, side of the pictures.
        frames: n, pictures of a clip in a batch; a photograph has one.
        stored_frames: Pictures of a clip that are kept, evenly spread over it; odd, so that the middle is one.
        seconds: Length of the clips that videos are cut into, at most 10.
        min_colorfulness: Pictures below are left out.
        need_sound: Whether to leave out clips without sound, too.
        crop: Smallest share of the picture that a training crop covers.
        flip: Whether to mirror training pictures.
        workers: Processes that decode.
        progress: Whether to show the progress of decoding.
        batch_size: Clips a batch.
        num_workers: Loader processes.
        seed: Of splits and the training order.

    Attributes:
        labels: Names of the labels of all splits.
        groups: Names of the groups of all splits.
        left_out: Clips of the splits that are set up which cannot be used, and why; those that no split names first.
        remarks: Clips that are used all the same: still, silent, shorter than they should be, or damaged.

    Raises:
        MediakitError: An argument is out of its range.
    """

    def __init__(
        self,
        root: str,
        layout: Literal["clips", "folder", "photos", "vggsound", "ave"] = "clips",
        annotations: str | None = None,
        cache: str | None = None,
        label_folders: bool = False,
        shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
        size: int = 256,
        frames: int = 4,
        stored_frames: int = 5,
        seconds: float = WINDOW,
        min_colorfulness: float = NEARLY_GRAY,
        need_sound: bool = False,
        crop: float = 0.6,
        flip: bool = True,
        workers: int = 1,
        progress: bool = True,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        if layout not in READERS:
            raise MediakitError(f"layout must be one of {', '.join(READERS)}, not {layout!r}.")
        if size < 8 or frames < 1 or stored_frames < 1 or not 0 < seconds <= WINDOW or not 0 < crop <= 1:
            raise MediakitError(
                "need size >= 8, frames >= 1, stored_frames >= 1, 0 < seconds <= 10 and 0 < crop <= 1, got "
                f"{size}, {frames}, {stored_frames}, {seconds} and {crop}."
            )
        if annotations is not None and layout not in ("vggsound", "ave"):
            raise MediakitError(f"the layout {layout} has no table of its own: leave annotations out.")
        self.root, self.layout, self.shares = root, layout, shares
        self.options: dict[str, Any] = {}
        if annotations is not None:
            self.options["annotations"] = annotations
        if layout in ("folder", "photos"):
            self.options["label_folders"] = label_folders
        self.cache = ClipCache(Path(cache or "clip-cache"), size, stored_frames, seconds)
        self.size, self.frames = size, 1 if layout == "photos" else frames
        self.min_colorfulness, self.need_sound = min_colorfulness, need_sound
        self.drawing: dict[str, Any] = {"crop": crop, "flip": flip}
        self.workers, self.progress = workers, progress
        self.left_out: LeftOut = []
        self.remarks: LeftOut = []
        self._records: list[ClipRecord] | None = None
        self._labels: dict[str, int] = {}
        self._groups: dict[str, int] = {}
        self._files: dict[str, CachedFile] = {}
        self._problems: dict[str, str] = {}

    def records(self) -> list[ClipRecord]:
        """All clips that the data list, with their splits.

        Raises:
            MediakitError: The folder is missing or damaged, or a source is in two splits.
        """
        if self._records is None:
            found, left_out = READERS[self.layout](self.root, **self.options)
            contents, _ = digest_files(sorted({str(r.path) for r in found}), self.cache, self.workers)
            found, copies = drop_copies(found, contents)
            try:
                self._records = complete_splits(found, self.shares, self.seed)
            except ValueError as error:
                raise MediakitError(f"{error}.") from error
            self.left_out = left_out + copies
            self._labels = _numbered({record.label for record in found})
            self._groups = _numbered({record.group or record.label for record in found})
        return self._records

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels of all splits, sorted."""
        self.records()
        return tuple(self._labels)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups of all splits, sorted; the labels where there are none."""
        self.records()
        return tuple(self._groups)

    def train_dataloader(self) -> DataLoader:
        """Shuffled training batches; a last one of a single clip is left out: BatchNorm has no statistics of one."""
        count = len(self._datasets["train"])  # type: ignore[arg-type]
        return self._loader("train", drop_last=count > self.batch_size and count % self.batch_size == 1)

    def dataset(self, split: Split) -> ClipDataset:
        """Decodes the clips of a split, or finds them in the cache.

        Raises:
            MediakitError: The split has no clip that can be used.
        """
        name = "test" if split == "predict" else split
        records = [record for record in self.records() if record.split == name]
        if not records:
            raise MediakitError(f"{self.root}: has no clips of the split {name!r}.")
        # Who trains also validates: one start of the workers for both.
        self._decode([r for r in self.records() if r.split == name or (name, r.split) == ("train", "val")])
        items: list[ClipItem] = []
        left_out: LeftOut = []
        for record in records:
            clips = self._clips(record)
            if isinstance(clips, str):
                left_out.append((record.id, clips))
                continue
            for clip in clips:
                id = record.id if len(clips) == 1 else f"{record.id}@{clip.start:g}"
                if problem := self._problem(clip):
                    left_out.append((id, problem))
                else:
                    items.append(self._item(id, record, clip))
                    self.remarks += [(id, remark) for remark in self._remarks(record, clip)]
        self._tell(name, left_out, len(items))
        return ClipDataset(items, self.size, self.frames, split == "train", **self.drawing)

    def _decode(self, records: Sequence[ClipRecord]) -> None:
        spans: dict[str, set[Window]] = {}
        for record in records:
            if (path := str(record.path)) not in self._files and path not in self._problems:
                spans.setdefault(path, set()).update([] if record.end is None else [(record.start, record.end)])
        jobs = [Wanted(path, tuple(sorted(windows)) or None) for path, windows in spans.items()]
        if jobs:
            files, problems = fill_cache(jobs, self.cache, workers=self.workers, progress=self.progress)
            self._files |= files
            self._problems |= dict(problems)

    def _clips(self, record: ClipRecord) -> Sequence[CachedClip] | str:
        """The clips of a record, or why there are none."""
        path = str(record.path)
        if path in self._problems:
            return self._problems[path]
        clips = self._files[path].clips
        if record.end is not None:
            clips = tuple(clip for clip in clips if (clip.start, clip.end) == (record.start, record.end))
        return clips or "has no pictures: its file ends before"

    def _problem(self, clip: CachedClip) -> str:
        if max(clip.colorfulness) < self.min_colorfulness:
            return f"is nearly gray (colourfulness {max(clip.colorfulness):.1f})"
        if self.need_sound and clip.sound != "present":
            return f"its sound is {clip.sound}"
        return ""

    def _remarks(self, record: ClipRecord, clip: CachedClip) -> list[str]:
        if self.layout == "photos":
            return []
        wanted = min(clip.end, record.end or clip.end) - clip.start
        found = {
            f"is still (motion {clip.motion:.2f})": clip.motion < STILL,
            f"its sound is {clip.sound}": clip.sound != "present",
            f"ends after {clip.last - clip.start:.2f} of {wanted:.2f} s": clip.last < clip.end - 0.5,
            f"is short ({wanted:.2f} s)": record.end is None and wanted < self.cache.seconds / 2,
        }
        return [*(text for text, holds in found.items() if holds), *self._files[str(record.path)].warnings]

    def _item(self, id: str, record: ClipRecord, clip: CachedClip) -> ClipItem:
        middle = (len(clip.colorfulness) - 1) / 2
        colorful = [n for n, value in enumerate(clip.colorfulness) if value >= self.min_colorfulness]
        order = tuple(sorted(colorful, key=lambda n: (abs(n - middle), n)))
        label, group = (
            names.get(name, -1)
            for names, name in ((self._labels, record.label or ""), (self._groups, record.group or record.label or ""))
        )
        return ClipItem(id, record.source, clip, order, label, group)

    def _tell(self, split: str, left_out: LeftOut, kept: int) -> None:
        from pytorch_lightning.utilities import rank_zero_warn

        self.left_out = self.left_out + left_out
        table = self.cache.folder / "findings.csv"
        text = io.StringIO()
        rows = [
            (id, used, problem)
            for used, found in (("no", self.left_out), ("yes", self.remarks))
            for id, problem in found
        ]
        csv.writer(text, lineterminator="\n").writerows([("clip", "used", "finding"), *rows])
        write_bytes(table, text.getvalue().encode("utf-8", "surrogateescape"))
        if not kept:
            told = "; ".join(f"{id}: {problem}" for id, problem in left_out[:3])
            raise MediakitError(
                f"{self.root}: none of the {len(left_out)} clips of the split {split!r} can be used ({told}). Add "
                "colour videos with sound, or change min_colorfulness or need_sound."
            )
        if left_out:
            kinds = Counter(problem.partition(" (")[0].partition(" of ")[0] for _, problem in left_out)
            told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
            rank_zero_warn(f"{split}: {len(left_out)} of {len(left_out) + kept} clips are left out ({told}): {table}")


def _numbered(names: Iterable[str | None]) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted(name for name in names if name))}
