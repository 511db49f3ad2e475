"""The reading side of features on disk: what ``mediakit extract`` wrote, or bare folders of ``.npy`` files.

Layout: ``audio/ID.npy``, ``frames/ID.npy``, ``clips/ID.npy``, ``faces/ID.safetensors`` and ``manifest.json``, which
says which encoder made them from which files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mediakit.errors import MediaError, MediakitError
from mediakit.io import check_readable, sha256
from mediakit.io.files import StrPath
from mediakit.tracks import FaceTracks

SCHEMA = "mediakit.features/1"
ENDINGS = {"audio": ".npy", "frames": ".npy", "clips": ".npy", "faces": ".safetensors"}
"""Features by name, and how their files end."""

Card = Mapping[str, Any]


def feature_path(folder: StrPath, feature: str, id: str) -> Path:
    """Where ``mediakit extract`` puts the feature of a file."""
    return Path(folder, feature, id + ENDINGS[feature])


def identity(card: Card) -> dict[str, Any]:
    """What tells one encoder from another: a weight file may be renamed, and seeds show in the weights."""
    return {key: value for key, value in card.items() if key not in ("weights", "seed")}


def same_encoder(expected: Card | None, found: Card | None, feature: str) -> None:
    """Refuses features of one encoder where those of another are expected.

    Args:
        expected: ``card()`` of the encoder that is expected; None if any will do.
        found: That of the encoder that made the features; None if it is not known, which passes.
        feature: Name of the feature, for the message.

    Raises:
        MediakitError: They differ; the message names both.
    """
    if expected is not None and found is not None and identity(expected) != identity(found):
        raise MediakitError(
            f"the {feature} features were made by {_named(found)}, but {_named(expected)} is expected. Features of "
            "different encoders do not mix: extract them anew, or name the encoder that made these."
        )


def _named(card: Card) -> str:
    details = [f"weights {card['weights']}"] if "weights" in card else []
    details += [f"seed {card['seed']}"] if card.get("seed") is not None else []
    details += [f"sha256 {card['sha256'][:8]}"] if "sha256" in card else []
    known = {"name", "weights", "seed", "sha256"}
    details += [f"{key} {value}" for key, value in card.items() if key not in known]
    return f"{card.get('name', 'an unnamed encoder')} ({', '.join(details)})"


class FeatureFolder:
    """Features of many files, by id.

    A folder without ``manifest.json`` opens too, if it has at least one of the sub-folders: features as they circulate
    for LLP. Then the encoders are not known, and the ids are the names of the files.

    Args:
        path: The folder.
        folders: Other names of its sub-folders, by feature: ``{"audio": "vggish"}``.

    Attributes:
        path: The folder.
        manifest: What ``manifest.json`` holds; None without one.
        ids: All ids, sorted.
        features: The features that are there, by name.
        encoders: The card of the encoder that made each feature; None if it is not known.

    Raises:
        MediaError: There is no such folder, it holds no features, or its manifest is damaged.
    """

    def __init__(self, path: StrPath, folders: Mapping[str, str] | None = None) -> None:
        self.path = Path(path)
        self._folders = {name: name for name in ENDINGS} | dict(folders or {})
        if not self.path.is_dir():
            problem = "is not a folder" if self.path.exists() else "does not exist"
            raise MediaError(path, problem, "Make features with `mediakit extract FOLDER --out DIR`.")
        self.manifest: dict[str, Any] | None = None
        self.encoders: dict[str, dict[str, Any] | None]
        if (file := self.path / "manifest.json").exists():
            self.manifest = _read_manifest(file)
            self.ids = tuple(sorted(self.manifest["files"]))
            self.encoders = {name: entry["encoder"] for name, entry in self.manifest["features"].items()}
        else:
            found = {name: self._listed(name) for name in ENDINGS if (self.path / self._folders[name]).is_dir()}
            self.ids = tuple(sorted(set().union(*found.values())))
            self.encoders = {name: None for name, ids in found.items() if ids}
            if not self.ids:
                raise MediaError(
                    path,
                    f"holds no features: no folder {', '.join(self._folders.values())} with files in it",
                    "Make some with `mediakit extract`, or put ID.npy files there.",
                )
        self.features = tuple(self.encoders)

    def _listed(self, feature: str) -> set[str]:
        folder, ending = self.path / self._folders[feature], ENDINGS[feature]
        files = (file.relative_to(folder).as_posix() for file in folder.rglob(f"*{ending}"))
        return {file.removesuffix(ending) for file in files if not file.rpartition("/")[2].startswith(".")}

    def file(self, id: str, feature: str) -> Path:
        """Where the feature of a file lies."""
        return self.path / self._folders[feature] / (id + ENDINGS[feature])

    def load(self, id: str, feature: str, *, unchanged: bool = False) -> torch.Tensor:
        """Reads one feature of one file.

        Args:
            id: The file.
            feature: Name of the feature.
            unchanged: Whether it must still have the SHA-256 that the manifest says.

        Returns:
            ``(T, dim)`` float32.

        Raises:
            MediaError: The file is missing, damaged or changed, holds another shape than the manifest says or is not
                finite.
            ValueError: The feature is not one of those that are arrays.
        """
        if feature not in ("audio", "frames", "clips"):
            raise ValueError(f"feature must be audio, frames or clips (for faces see tracks), got {feature!r}")
        path = self.file(id, feature)
        if problem := self.absence(id, feature):
            raise MediaError(path, problem, "Take another file or feature.")
        array = read_array(path)
        expected = self._shape(id, feature)
        if expected is not None and array.shape != expected:
            raise MediaError(path, f"holds {array.shape} where the manifest says {expected}", "Extract it again.")
        if unchanged:
            self._check_hash(id, feature)
        return torch.from_numpy(array)

    def tracks(self, id: str) -> FaceTracks:
        """Reads the face tracks of one file.

        Raises:
            MediaError: The file is missing or damaged, or the film has no pictures.
        """
        path = self.file(id, "faces")
        if problem := self.absence(id, "faces"):
            raise MediaError(path, problem, "Take another file.")
        return FaceTracks.load(path)

    def check(self, ids: Iterable[str] | None = None, features: Iterable[str] | None = None) -> None:
        """Reads everything that is going to be used, so that nothing is missing at step 3,000.

        Where there is a manifest, each file must still have the SHA-256 that it says.

        Args:
            ids: The files that are needed; None for all.
            features: The features that each of them must have; None for all that there are, and then a feature may be
                absent where the manifest says why.

        Raises:
            MediakitError: Files are missing, damaged, changed, misshapen or hold values that are not finite. The
                message names the first few and counts all.
        """
        problems: list[str] = []
        widths: dict[str, tuple[int, Path]] = {}
        for id in self.ids if ids is None else ids:
            for feature in self.features if features is None else features:
                if features is None and self.absence(id, feature):
                    continue
                try:
                    if feature == "faces":
                        self.tracks(id)
                        self._check_hash(id, feature)
                    else:
                        width, path = self.load(id, feature, unchanged=True).shape[1], self.file(id, feature)
                        first, other = widths.setdefault(feature, (width, path))
                        if width != first:
                            raise MediaError(path, f"is {width} wide, but {other} is {first}")
                except MediaError as error:
                    problems.append(f"{error.path} {error.problem}")
        if problems:
            more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise MediakitError(
                f"{self.path}: {len(problems)} feature files cannot be used: {'; '.join(problems[:5])}{more}. "
                "`mediakit extract` makes what is missing."
            )

    def _check_hash(self, id: str, feature: str) -> None:
        path = self.file(id, feature)
        known = self._entry(id).get("features", {}).get(feature, {}).get("sha256")
        if known is not None and known != sha256(path):
            raise MediaError(path, "has changed since it was made")

    def _entry(self, id: str) -> dict[str, Any]:
        return {} if self.manifest is None else self.manifest["files"].get(id, {})

    def absence(self, id: str, feature: str) -> str | None:
        """Why, says the manifest, a file has no such feature; None if it says nothing."""
        reason = self._entry(id).get("absent", {}).get(feature)
        return reason and f"is not there: the source {reason}"

    def _shape(self, id: str, feature: str) -> tuple[int, ...] | None:
        shape = self._entry(id).get("features", {}).get(feature, {}).get("shape")
        return shape and tuple(shape)


def _read_manifest(file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(check_readable(file).read_text("utf-8"))
        if manifest["schema"] != SCHEMA or not {"files", "features"} <= manifest.keys():
            raise KeyError("schema")
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(
            file, f"is no manifest of features ({SCHEMA})", "Make it again with `mediakit extract`."
        ) from error
    return manifest


def read_array(path: Path) -> np.ndarray:
    """Reads a matrix of numbers, ``(T, dim)`` float32.

    Raises:
        MediaError: The file is missing or damaged, holds something else, or values that are not finite.
    """
    try:
        array = np.load(check_readable(path), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise MediaError(path, "is no intact .npy file of numbers", "Make or fetch it again.") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiu":
        held = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise MediaError(path, f"holds {held} where (T, dim) numbers belong", "Make or fetch it again.")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise MediaError(path, "holds values that are not finite (NaN or infinite)", "Make or fetch it again.")
    return array
