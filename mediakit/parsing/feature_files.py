"""The features and pseudo-labels of a split, read and checked as a whole before training starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mediakit.errors import MediaError, MediakitError
from mediakit.features import FeatureFolder, read_array
from mediakit.parsing.pooling import per_second

FEATURES = ("audio", "frames", "clips")
Video = tuple[Tensor, Tensor, Tensor]
"""Audio, frames and clips of one video, ``(L, dim)`` float32 each, one row a second."""


class ReadFeatures(NamedTuple):
    """What was read of a split.

    Attributes:
        videos: Features by id, in the order asked for.
        left_out: Why others were left out, by id.
        filled: Which features of a video are zeros because its source has no sound or no pictures, by id.
        problems: What cannot be used.
    """

    videos: dict[str, Video]
    left_out: dict[str, str]
    filled: dict[str, tuple[str, ...]]
    problems: list[str]


def read_features(
    folder: FeatureFolder,
    ids: Iterable[str],
    *,
    short_names: bool = False,
    skip_missing: bool = False,
    fill_absent: bool = False,
) -> ReadFeatures:
    """Reads audio, frames and clips of videos at one vector a second.

    Args:
        folder: Where they lie.
        ids: Names of the videos.
        short_names: Whether files may be called by the first 11 characters of an id, as those of LLP that circulate.
        skip_missing: Leave out videos that lack a file, instead of counting them as problems.
        fill_absent: Let zeros stand for features that the manifest calls absent (no sound, no pictures), so that the
            video is there all the same; such videos come last.

    Returns:
        What was read, and all that is wrong.
    """
    found = ReadFeatures({}, {}, {}, [])
    known, waiting = {*folder.ids}, {}
    widths: dict[str, tuple[int, Path]] = {}
    for id in ids:
        name = id[:11] if short_names and id not in known and id[:11] in known else id
        absent = {feature: reason for feature in FEATURES if (reason := folder.absence(name, feature))}
        missing = [f for f in FEATURES if f not in absent and not folder.file(name, f).exists()]
        if missing or (absent and not (fill_absent and len(absent) < len(FEATURES))):
            feature = missing[0] if missing else next(iter(absent))
            reason = f"{folder.file(name, feature)} {'does not exist' if missing else absent[feature]}"
            if skip_missing:
                found.left_out[id] = reason
            else:
                found.problems.append(reason)
            continue
        try:
            arrays = {f: folder.load(name, f, unchanged=True) for f in FEATURES if f not in absent}
            for feature, array in arrays.items():
                width, path = array.shape[1], folder.file(name, feature)
                first, other = widths.setdefault(feature, (width, path))
                if width != first:
                    raise MediaError(path, f"is {width} wide, but {other} is {first}")
            if absent:
                found.filled[id] = tuple(absent)
                waiting[id] = arrays
            else:
                found.videos[id] = per_second(arrays["audio"], arrays["frames"], arrays["clips"])
        except MediaError as error:
            found.problems.append(f"{error.path} {error.problem}")
        except ValueError as error:
            found.problems.append(f"{folder.path}, {name}: {error}")
    for id, arrays in waiting.items():
        seconds = len(arrays["clips"] if "clips" in arrays else arrays["audio"])
        arrays |= {feature: torch.zeros(seconds, _width(folder, feature)) for feature in found.filled[id]}
        try:
            found.videos[id] = per_second(arrays["audio"], arrays["frames"], arrays["clips"])
        except ValueError as error:
            found.problems.append(f"{folder.path}, {id}: {error}")
    return found


def _width(folder: FeatureFolder, feature: str) -> int:
    """The width of a feature, from the first file that has it."""
    for id in folder.ids:
        if folder.file(id, feature).exists():
            return folder.load(id, feature).shape[1]
    raise MediakitError(f"{folder.path}: no file has {feature} features, so it is not known how wide they are.")


def read_pseudo_labels(
    folder: Path, seconds: Mapping[str, int], classes: int, *, short_names: bool = False
) -> tuple[dict[str, tuple[Tensor, Tensor]], list[str]]:
    """Reads segment pseudo-labels, ``audio/ID.npy`` and ``visual/ID.npy`` of shape (L, K) in [0, 1].

    Args:
        folder: Where they lie.
        seconds: L of each video, by id.
        classes: K.
        short_names: Whether files may be called by the first 11 characters of an id.

    Returns:
        Audio and visual pseudo-labels by id, float32, and what cannot be used.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    problems: list[str] = []
    for id, length in seconds.items():
        pair = []
        for modality in ("audio", "visual"):
            path = folder / modality / f"{id}.npy"
            if short_names and not path.exists() and (short := path.with_name(f"{id[:11]}.npy")).exists():
                path = short
            try:
                array = torch.from_numpy(read_array(path))
                if array.shape != (length, classes):
                    raise MediaError(path, f"is {(*array.shape,)}, not {(length, classes)} seconds and classes")
                if array.min() < 0 or array.max() > 1:
                    raise MediaError(path, "holds values outside [0, 1]")
                pair.append(array)
            except MediaError as error:
                problems.append(f"{error.path} {error.problem}")
        if len(pair) == 2:
            found[id] = (pair[0], pair[1])
    return found, problems


def refuse(problems: Sequence[str], what: str, advice: str) -> None:
    """Raises one error that lists the first few of many problems.

    Raises:
        MediakitError: There is a problem.
    """
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise MediakitError(f"{what}: {'; '.join(problems[:5])}{more}. {advice}")
