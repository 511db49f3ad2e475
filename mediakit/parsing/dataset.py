"""Videos of any length as windows of T seconds, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mediakit.parsing.feature_files import FEATURES, Video
from mediakit.parsing.windows import windows


class ParsingDataset(Dataset[dict[str, Any]]):
    """Windows of T seconds.

    Args:
        ids: The video of each window.
        starts: Its first second in the video.
        tensors: What else a window has, by name, ``(N, ...)``. Half precision is given out as float32.
    """

    def __init__(self, ids: Sequence[str], starts: Sequence[int], tensors: Mapping[str, Tensor]) -> None:
        self.ids, self.starts, self.tensors = tuple(ids), tuple(starts), dict(tensors)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item: dict[str, Any] = {"id": self.ids[index], "start": self.starts[index]}
        for name, values in self.tensors.items():
            item[name] = values[index].float() if values.dtype == torch.half else values[index]
        return item


def cut_windows(
    videos: dict[str, Video], targets: Mapping[str, Mapping[str, Tensor]], segments: int, *, half: bool = False
) -> ParsingDataset:
    """Cuts videos into windows side by side, the last one moved back to end with the video.

    A video of up to T seconds is one window, filled up with its last second: there ``valid`` is False and the truth 0.
    Of a longer one, the weak label of each window is the union of its segment labels.

    Args:
        videos: Features by id. Emptied on the way, so that memory holds them once.
        targets: Labels of each video by id: ``labels`` (K,), and ``audio_segments``, ``visual_segments``,
            ``true_audio``, ``true_visual`` (L, K). Empty where there are none.
        segments: T, seconds of a window.
        half: Whether to keep features in half precision.
    """
    ids: list[str] = []
    starts: list[int] = []
    columns: dict[str, list[Tensor]] = {}
    for id in [*videos]:
        video, known = videos.pop(id), targets.get(id, {})
        length = len(video[0])
        spans = windows(length, segments, segments)
        for start, _ in spans:
            rows = torch.arange(start, start + segments)
            valid = rows < length
            # A view where nothing is missing: no second copy of the features in memory.
            part = slice(start, start + segments) if valid.all() else rows.clamp(max=length - 1)
            window = {"valid": valid}
            for name, array in zip(FEATURES, video, strict=True):
                window[name] = array[part].half() if half else array[part]
            for name, values in known.items():
                window[name] = values if name == "labels" else values[part]
                if name.startswith("true_"):
                    window[name] = window[name] * valid[:, None]
            if known and len(spans) > 1:
                window["labels"] = torch.maximum(window["audio_segments"], window["visual_segments"]).amax(0)
            for name, values in window.items():
                columns.setdefault(name, []).append(values)
            ids.append(id)
            starts.append(start)
    return ParsingDataset(ids, starts, {name: torch.stack(columns.pop(name)) for name in [*columns]})
