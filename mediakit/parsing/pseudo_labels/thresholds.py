"""Thresholds of pseudo-labels, chosen where the truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mediakit.errors import MediaError, MediakitError
from mediakit.features import read_array
from mediakit.io.files import StrPath
from mediakit.parsing.annotations.tables import Annotations
from mediakit.parsing.pseudo_labels.label_files import similarity_path
from mediakit.parsing.pseudo_labels.recipe import MODALITIES, pseudo_labels
from mediakit.parsing.pseudo_labels.weak import match_rows


class ThresholdChoice(NamedTuple):
    """Thresholds found on labelled videos.

    Attributes:
        threshold: float64 (K,), one per class.
        f_score: float64 (K,), F over the segments of all videos at that threshold, in [0, 1]; NaN where a class occurs
            in neither truth nor pseudo-labels.
        shared: The best single threshold for all classes.
        shared_f_score: Its F over the segments of all videos and classes.
    """

    threshold: Tensor
    f_score: Tensor
    shared: float
    shared_f_score: float


def choose_threshold(similarity: Tensor, weak: Tensor, truth: Tensor, *, min_videos: int = 5) -> ThresholdChoice:
    """Finds, on videos whose segments are labelled, the thresholds whose pseudo-labels have the highest F.

    F = 2 TP / (2 TP + FP + FN) over the segments of all videos together, per class and, for the shared threshold, over
    all classes. Every cut between two different similarities is tried, so no threshold is better on these videos; it
    lies half way between the two (1 below the lowest where all are kept). Choose on the validation split: what is
    chosen on few videos fits them better than others.

    Args:
        similarity: (..., T, K) of one modality; -inf in seconds that a video does not have.
        weak: 0 or 1, (..., K).
        truth: 0 or 1, (..., T, K), of the same modality.
        min_videos: Classes that fewer videos' weak labels have get the shared threshold.

    Returns:
        The thresholds and what they reach.

    Raises:
        ValueError: The shapes do not fit, a similarity is NaN, or no class occurs in both weak labels and truth.
    """
    if truth.shape != similarity.shape:
        raise ValueError(f"truth {(*truth.shape,)} and similarity {(*similarity.shape,)} must have one shape")
    allowed = pseudo_labels(similarity, weak, -torch.inf).bool()  # checks the rest
    if not (allowed & truth.bool()).any():
        raise ValueError("no class occurs in both the weak labels and the truth: nothing to choose a threshold by")
    classes = similarity.shape[-1]
    scores = similarity.double().masked_fill(~allowed, -torch.inf).reshape(-1, classes)
    present = truth.bool().reshape(-1, classes)
    best, f_score = _best_cut(scores, present)
    shared, shared_f = _best_cut(scores.reshape(-1, 1), present.reshape(-1, 1))
    few = (weak.reshape(-1, classes) > 0).sum(0) < min_videos
    best = torch.where(few | ~(f_score > 0), shared, best)
    kept = (scores > best) & (scores > -torch.inf)
    counts = 2.0 * (kept & present).sum(0).double(), kept.sum(0) + present.sum(0)
    return ThresholdChoice(best, counts[0] / counts[1], shared.item(), shared_f.item())


def _best_cut(scores: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Per column of (S, K): the threshold of the highest F, and that F; of several the highest threshold."""
    ranked, order = scores.sort(0, descending=True)
    hits = present.gather(0, order).cumsum(0).double()
    kept = torch.arange(1, len(ranked) + 1, device=scores.device)[:, None]
    f_score = 2.0 * hits / (kept + present.sum(0))
    following = torch.cat([ranked[1:], torch.full_like(ranked[:1], -torch.inf)])
    f_score = f_score.masked_fill((ranked == following) | ranked.isneginf(), -1.0)  # no cut there
    best = f_score.argmax(0, keepdim=True)
    low, high = following.gather(0, best)[0], ranked.gather(0, best)[0]
    return torch.where(low.isneginf(), high - 1.0, (low + high) / 2), f_score.gather(0, best)[0]


def tune_thresholds(out: StrPath, annotations: Annotations, min_videos: int = 5) -> dict[str, ThresholdChoice]:
    """Chooses thresholds for videos whose events are known, from the similarities on the disk.

    Args:
        out: Folder that `.pseudo_label_folder` has written with ``similarities=True``.
        annotations: Dense truth of some of its videos: of the validation split, for example. Beyond its last second
            nothing is heard or seen.
        min_videos: See `.choose_threshold`.

    Returns:
        The choice by modality.

    Raises:
        MediaError: A similarity cannot be read, or is of another number of classes.
        MediakitError: There is no dense truth, or no similarity of any of its videos.
    """
    out, number = Path(out), {id: n for n, id in enumerate(annotations.ids)}
    if annotations.audio is None or annotations.visual is None:
        raise MediakitError(f"{annotations.source}: has no dense truth to choose thresholds by.")
    choices = {}
    for modality, truth in zip(MODALITIES, (annotations.audio, annotations.visual), strict=True):
        place = similarity_path(out, modality, "_").parent
        ids = sorted(file.relative_to(place).as_posix().removesuffix(".npy") for file in place.rglob("[!.]*.npy"))
        values, rows, present = [], [], []
        for id, row in match_rows(ids, annotations.ids).items():
            path = similarity_path(out, modality, id)
            seconds = torch.from_numpy(read_array(path))
            if seconds.shape[1] != len(annotations.classes):
                raise MediaError(path, f"is of {seconds.shape[1]} classes, not {len(annotations.classes)}")
            values.append(seconds)
            rows.append(number[row])
            present.append(truth[rows[-1], : len(seconds)])
        if values:
            padded = pad_sequence(values, batch_first=True, padding_value=-torch.inf)
            known = torch.zeros(padded.shape, dtype=torch.uint8)
            for n, seconds in enumerate(present):
                known[n, : len(seconds)] = seconds
            choices[modality] = choose_threshold(padded, annotations.labels[rows], known, min_videos=min_videos)
    if not choices:
        raise MediakitError(f"{out}: holds no similarities of {annotations.source}: make them with --similarities.")
    return choices
