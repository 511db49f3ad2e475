"""The whole road in minutes: films are generated, their features extracted, a small model trained and scored.

Films of the test split have timbres, noises, styles and backdrops that training never met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mediakit.extract import extract_folder
from mediakit.io import write_bytes
from mediakit.io.files import StrPath
from mediakit.parsing.annotations.tables import Split
from mediakit.parsing.pseudo_labels.thresholds import choose_threshold
from mediakit.synthetic.corpus import generate_clips
from mediakit.trials import MODEL, announce, fit_logistic, fit_to_bytes, quiet_thread

if TYPE_CHECKING:
    from mediakit.parsing.data import ParsingDataModule

SPLITS: tuple[Split, ...] = ("train", "val", "test")
FEATURES = ("audio", "frames", "clips")
BASELINE = "logistic regression on the same features"
"""Row of a trial: what the network has to beat."""
BATCH = 16
_FPS = 8  # what the clip encoder sees; drawing more would take longer


@dataclass(frozen=True, eq=False)
class Trial:
    """A model, and how well it does on unseen films.

    Attributes:
        checkpoint: The model, as ``mediakit fit`` writes it.
        clips: Number of films of each split.
        epochs: How long the model was trained; the best epoch on val was kept.
        scores: `.video_scores` (N, 10) of the test films, by row: `.MODEL`, `BASELINE`, and those of
            `.oracle_predictions`.
    """

    checkpoint: Path
    clips: dict[str, int]
    epochs: int
    scores: dict[str, Tensor]


def run_trial(
    folder: StrPath,
    *,
    train: int = 120,
    val: int = 20,
    test: int = 40,
    epochs: int = 20,
    workers: int = 1,
    progress: bool = False,
) -> Trial:
    """Trains a small model on generated films and scores it on unseen ones.

    Writes the films and their labels to ``clips``, their features to ``features``, and the model to ``parsing.ckpt``;
    films and features of an earlier run are used again. Equal arguments give equal bytes on the same machine.

    A script that calls this needs the guard ``if __name__ == "__main__":``, because worker processes import it.

    Args:
        folder: Folder to write to.
        train: Number of films to learn from.
        val: Number of films that the epoch is chosen on.
        test: Number of films that are scored.
        epochs: How often the model sees the films it learns from.
        workers: Number of processes that make films and features.
        progress: Whether to show progress on stderr.

    Returns:
        The model and its scores.

    Raises:
        MediaError: The folder cannot be written, or holds films or features made otherwise.
    """
    from mediakit.parsing.data import ParsingDataModule
    from mediakit.parsing.metrics import oracle_predictions, video_scores

    folder = Path(folder)
    for split, count in zip(SPLITS, (train, val, test), strict=True):
        clips, features = folder / "clips" / split, folder / "features" / split
        announce(f"{clips}: {count} films with events, and their features", progress)
        videos = generate_clips("events", clips, count, split=split, fps=_FPS, workers=workers, progress=progress)
        extract_folder(videos, features, features=FEATURES, workers=workers, progress=progress)
    data = ParsingDataModule(
        str(folder / "features"), str(folder / "clips"), format="folder", segment_labels="dense", batch_size=BATCH
    )
    sets = {split: data.dataset(split) for split in SPLITS}
    checkpoint = folder / "parsing.ckpt"
    with quiet_thread(progress):
        dims = {f"{name}_dim": sets["train"].tensors[name].shape[-1] for name in FEATURES}
        write_bytes(checkpoint, _fit(data, dims, epochs, progress))
        unseen = sets["test"].tensors
        truth = unseen["true_audio"], unseen["true_visual"]
        decided = oracle_predictions(*truth, unseen["labels"])
        decided[BASELINE] = _regress({split: found.tensors for split, found in sets.items()})
        decided[MODEL] = _decide(checkpoint, unseen)
        scores = {name: video_scores(*pair, *truth) for name, pair in decided.items()}
    return Trial(checkpoint, {split: len(found) for split, found in sets.items()}, epochs, scores)


def _fit(data: ParsingDataModule, dims: Mapping[str, Any], epochs: int, progress: bool) -> bytes:
    """Trains; returns the checkpoint of the best epoch."""
    from mediakit.parsing.module import ParsingModule

    def build() -> ParsingModule:
        return ParsingModule(
            "events", **dims, hidden=64, heads=4, layers=1, lr=2e-3, weight_decay=1e-2, schedule="cosine"
        )

    return fit_to_bytes(build, data, "val/segment_type", "segment Type@AV on val {:.1f}", epochs, progress)


@torch.inference_mode()
def _decide(checkpoint: Path, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What the model in a file decides on films, bool (N, T, K) heard and seen."""
    from mediakit.parsing.metrics import decide
    from mediakit.weights import load

    module = load(checkpoint)
    batches = zip(*(tensors[name].split(BATCH) for name in FEATURES), strict=True)
    found = [decide(module(*batch), module.protocol) for batch in batches]
    audio, visual = (torch.cat(parts) for parts in zip(*found, strict=True))
    return audio, visual


def _regress(sets: Mapping[str, Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """What logistic regressions on each second's features decide on the test films, bool (N, T, K) heard and seen.

    The weight decay, and a threshold for each class, are the best on val.
    """
    decided = []
    for names, target in ((("audio",), "audio_segments"), (("frames", "clips"), "visual_segments")):
        x = {split: torch.cat([tensors[name] for name in names], -1) for split, tensors in sets.items()}
        mean, deviation = x["train"].mean((0, 1)), x["train"].std((0, 1)).clamp(min=1e-6)
        x = {split: (values - mean) / deviation for split, values in x.items()}
        tried = []
        for decay in (1e-3, 1e-2, 1e-1):
            layer = fit_logistic(x["train"].flatten(0, 1), sets["train"][target].flatten(0, 1), decay)
            with torch.inference_mode():
                logits = layer(x["val"])
            everywhere = torch.ones(len(logits), logits.shape[-1])
            choice = choose_threshold(logits, everywhere, sets["val"][target].byte())
            tried.append((choice.shared_f_score, choice.threshold, layer))
        _, threshold, layer = max(tried, key=lambda entry: entry[0])
        with torch.inference_mode():
            decided.append(layer(x["test"]) >= threshold)
    return decided[0], decided[1]
