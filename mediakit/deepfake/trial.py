"""The whole road in minutes: talking heads are filmed, their faces followed, a small detector trained and scored.

It learns from genuine films alone, whose face tracks it also sees manipulated (`mediakit.deepfake.pseudo_fakes`). The
films that it is scored on show other people in other rooms; half of them were manipulated before they were encoded,
some in ways that no pseudo-fake has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mediakit.deepfake.index.records import SPLITS, VideoRecord
from mediakit.deepfake.landmark_cache import LandmarkCache, fill_cache
from mediakit.deepfake.metrics import auc
from mediakit.deepfake.predict import detect_tracks, load_detector
from mediakit.deepfake.reasons import measures
from mediakit.deepfake.scoreboard import Scored
from mediakit.deepfake.signals import Signals
from mediakit.errors import MediaError
from mediakit.io import probe, scan_packets, write_bytes
from mediakit.io.files import StrPath
from mediakit.synthetic.corpus import generate_clips
from mediakit.synthetic.heads import KINDS
from mediakit.trials import MODEL, announce, fit_logistic, fit_to_bytes, quiet_thread

if TYPE_CHECKING:
    from mediakit.deepfake.data import DeepfakeDataModule, WindowDataset

BASELINE = "logistic regression on the same signals"
"""Row of a trial: what the network has to beat."""
SEED = 0
"""Of the films: those of any other seed show other people."""
# A window's length, eyes 60 px apart: more takes longer. More people than films, so that nobody occurs twice.
_LOOK: dict[str, Any] = {"seconds": 3.4, "size": (300, 300), "identities": 1000}
_VIEWS, _BATCH = 10, 32


@dataclass(frozen=True, eq=False)
class Trial:
    """A detector, and how well it tells genuine from manipulated films that it has not met.

    Attributes:
        checkpoint: The detector, as ``mediakit fit`` writes it.
        people: Number of people of each split: of genuine films, and in the test split of manipulated ones, too.
        epochs: How long it was trained; the epoch that told pseudo-fakes of val best was kept.
        rows: What is said of each test film, by `.MODEL` and `BASELINE`.
    """

    checkpoint: Path
    people: dict[str, int]
    epochs: int
    rows: dict[str, list[Scored]]


def run_trial(
    folder: StrPath,
    *,
    train: int = 30,
    val: int = 8,
    test: int = 21,
    epochs: int = 10,
    workers: int = 1,
    progress: bool = False,
) -> Trial:
    """Trains a small detector on generated films and scores it on unseen people.

    Writes the films to ``heads``, their face tracks to ``landmarks``, and the detector to ``deepfake.ckpt``; films and
    tracks of an earlier run are used again. Equal arguments give equal bytes on the same machine.

    A script that calls this needs the guard ``if __name__ == "__main__":``, because worker processes import it.

    Args:
        folder: Folder to write to.
        train: Number of people to learn from, of each a genuine film.
        val: Number of people that the epoch is chosen on, likewise.
        test: Number of people that are scored, of each a genuine film and a manipulated twin.
        epochs: How often the detector sees the views of the films that it learns from.
        workers: Number of processes that make films and follow faces.
        progress: Whether to show progress on stderr.

    Returns:
        The detector and what it says.

    Raises:
        MediaError: The folder cannot be written, or holds films made otherwise.
        MissingPackageError: MediaPipe is not installed, and faces are not followed yet.
        WeightsError: No face model is at hand.
    """
    from mediakit.deepfake.data import DeepfakeDataModule
    from mediakit.deepfake.module import DeepfakeModule

    folder = Path(folder)
    films, checkpoint = folder / "heads", folder / "deepfake.ckpt"
    data = DeepfakeDataModule(str(films), cache=str(folder / "landmarks"), views=_VIEWS, batch_size=_BATCH)
    data.cache.prepare()  # where faces cannot be followed, this fails before anything is drawn
    for split, people in zip(SPLITS, (train, val, test), strict=True):
        paired = split == "test"
        told = f"{people} talking heads" + (", and a manipulated twin of each" if paired else "")
        announce(f"{films / split}: {told}", progress)
        kinds = KINDS if paired else ("real",)
        options = {"split": split, "seed": SEED, "kinds": kinds, "pairs": paired, **_LOOK}
        generate_clips("heads", films / split, people * (1 + paired), workers=workers, progress=progress, **options)
    announce(f"{data.cache.folder}: their faces", progress)
    if failed := fill_cache(data.index(), data.cache, workers=workers, progress=progress):
        raise MediaError(*failed[0], "Remove it and run the same again.")
    with quiet_thread(progress):
        data.setup("fit")  # the views, which have a progress bar of their own
        write_bytes(checkpoint, fit_to_bytes(DeepfakeModule, data, "val/auc", "AUC on val {:.2f}", epochs, progress))
        unseen = [record for record in data.index() if record.split == "test"]
        rows = {MODEL: _judge(checkpoint, unseen, data.cache), BASELINE: _regress(data, unseen)}
    count = Counter(record.split for record in data.index() if record.label == 0)
    return Trial(checkpoint, {split: count[split] for split in SPLITS}, epochs, rows)


def _judge(checkpoint: Path, records: Sequence[VideoRecord], cache: LandmarkCache) -> list[Scored]:
    """What the detector in a file says of films, as ``mediakit analyze`` says it."""
    detector, rows = load_detector(checkpoint), []
    for record in records:
        path = record.path
        found = detect_tracks(detector, cache.get(path), info=probe(path), packets=scan_packets(path)).judgement
        rows.append(_row(record, 0.5 if found.probability is None else found.probability, found.verdict))
    return rows


def _row(record: VideoRecord, score: float, verdict: str) -> Scored:
    return Scored(record.id, record.label, score, verdict, record.method, group=record.group)


def _regress(data: DeepfakeDataModule, records: Sequence[VideoRecord]) -> list[Scored]:
    """What a logistic regression on `statistics` says of films; its weight decay is the best on val."""
    sets: dict[str, WindowDataset] = {
        "train": data.train_dataloader().dataset,  # type: ignore[dict-item]
        "val": data.val_dataloader().dataset,  # type: ignore[dict-item]
        "test": data.dataset("test"),  # type: ignore[dict-item]
    }
    x = {split: statistics(found.signals) for split, found in sets.items()}
    mean = x["train"].nanmean(0)
    x = {split: torch.where(values.isnan(), mean, values) - mean for split, values in x.items()}
    deviation = x["train"].std(0).clamp(min=1e-6)
    tried = []
    for decay in (1e-3, 1e-2, 1e-1, 1.0):
        layer = fit_logistic(x["train"] / deviation, sets["train"].columns["label"][:, None], decay)
        with torch.inference_mode():
            val, test = (layer(x[split] / deviation)[:, 0].sigmoid() for split in ("val", "test"))
        score = _by_video(val, sets["val"].columns["video"])
        label = _by_video(sets["val"].columns["label"], sets["val"].columns["video"])
        tried.append((auc(torch.tensor([*score.values()]), torch.tensor([*label.values()])), decay, test))
    *_, best = max(tried, key=lambda entry: entry[:2])
    # Where a film has no window, nothing is known; numbers of films are doubled there, see WindowDataset.
    found = _by_video(best, sets["test"].columns["video"])
    scores = [found.get(2 * number, 0.5) for number in range(len(records))]
    return [_row(r, score, "fake" if score >= 0.5 else "real") for r, score in zip(records, scores, strict=True)]


def _by_video(values: Tensor, video: Tensor) -> dict[int, float]:
    """Mean over the windows of each video."""
    return {int(n): float(values[video == n].mean()) for n in video.unique()}


def statistics(signals: Signals) -> Tensor:
    """How far and how fast each signal moves in a window, in the logarithm, and what a person can check.

    Args:
        signals: Windows ``(B, T, ...)``.

    Returns:
        ``(B, 2 * (20 + 273) + 7)``: standard deviation of each channel of ``head``, rms of its step from frame to
        frame, likewise of ``expression``, then `mediakit.deepfake.reasons.measures`, NaN where these are.
    """
    seen = signals.valid[..., None].float()
    both = seen[:, 1:] * seen[:, :-1]
    parts = []
    for x in signals[:2]:
        rest = (x * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
        spread = ((x - rest).square() * seen).sum(1) / seen.sum(1).clamp(min=1)
        step = (x.diff(dim=1).square() * both).sum(1) / both.sum(1).clamp(min=1)
        parts += [(variance.sqrt() + 1e-6).log() for variance in (spread, step)]
    return torch.cat([*parts, torch.stack([*measures(signals).values()], 1).float()], 1)
