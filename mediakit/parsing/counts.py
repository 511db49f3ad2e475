"""What was hit, predicted and true, in seconds and in events: the integers under every score."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def binary(**tensors: Tensor) -> list[Tensor]:
    """Checks decisions and brings them to the CPU, so that what is counted there does not depend on the device.

    Args:
        **tensors: 0 or 1, or bool, (N, T, K), of equal shape; their names are those of the error messages.

    Returns:
        The same as bool tensors, in order.

    Raises:
        ValueError: The shapes differ, or a value is neither 0 nor 1.
    """
    checked: list[Tensor] = []
    shapes = {name: tuple(torch.as_tensor(x).shape) for name, x in tensors.items()}
    for name, shape in shapes.items():
        if len(shape) != 3 or 0 in shape[1:]:
            raise ValueError(f"{name} must be (videos, seconds, classes), got shape {shape}")
    if len(set(shapes.values())) > 1:
        raise ValueError(f"shapes differ: {', '.join(f'{name} is {shape}' for name, shape in shapes.items())}")
    for name, given in tensors.items():
        x = torch.as_tensor(given).detach().cpu()
        if x.dtype != torch.bool:
            positive = x == 1
            if (wrong := ~positive & (x != 0)).any():
                found = x[wrong][0].item()
                raise ValueError(f"{name} must hold 0 and 1 only, found {found:g}; `decide` takes probabilities")
            x = positive
        checked.append(x)
    return checked


def count_hits(pred_audio: Tensor, pred_visual: Tensor, true_audio: Tensor, true_visual: Tensor) -> Tensor:
    """Counts hits, predictions and truths of each video, modality and class.

    On the segment level these are seconds; on the event level, runs of seconds, where a hit is a predicted run and a
    true one of the same class with IoU >= 0.5. F = 2 hits / (predicted + true) on both.

    Args:
        pred_audio: Decisions 0 or 1, or bool, (N, T, K).
        pred_visual: The same for the picture.
        true_audio: Truth, likewise.
        true_visual: The same for the picture.

    Returns:
        int64 (N, 2, 3, 3, K): videos; segment, event; hits, predicted, true; audio, visual, both at once; classes.

    Raises:
        ValueError: The shapes differ, or a value is neither 0 nor 1.
    """
    audio, visual, heard, seen = binary(
        pred_audio=pred_audio, pred_visual=pred_visual, true_audio=true_audio, true_visual=true_visual
    )
    videos, seconds, classes = audio.shape
    pred, true = _line(audio, visual), _line(heard, seen)
    (start, end), (pred_start, pred_end), (true_start, true_end) = map(_runs, (pred & true, pred, true))
    overlap, pred_length, true_length = end - start, pred_end - pred_start, true_end - true_start
    # Each run of both is the overlap of one predicted and one true run, and each overlapping pair has one. Matches are
    # one to one: two that shared a run would each cover half of it, touch, and so be a single run.
    lengths = pred_length[np.searchsorted(pred_start, start, "right") - 1]
    lengths = lengths + true_length[np.searchsorted(true_start, start, "right") - 1]
    matched = 3 * overlap >= lengths  # overlap / (lengths - overlap) >= 1/2, in integers
    counts = np.empty((2, 3, videos * 3 * classes), np.int64)
    tallies = ((start, overlap, matched), (pred_start, pred_length, None), (true_start, true_length, None))
    for index, (at, segments, events) in enumerate(tallies):
        row = at // (seconds + 1)
        counts[0, index] = np.bincount(row, segments, counts.shape[-1])
        counts[1, index] = np.bincount(row, events, counts.shape[-1])
    return torch.from_numpy(counts).view(2, 3, videos, 3, classes).movedim(2, 0)


def _line(audio: Tensor, visual: Tensor) -> np.ndarray:
    """All videos, modalities and classes in one line, each of its T seconds followed by a 0; before them another 0."""
    videos, seconds, classes = audio.shape
    line = torch.zeros(1 + videos * 3 * classes * (seconds + 1), dtype=torch.bool)
    grid = line[1:].view(videos, 3, classes, seconds + 1)
    grid[:, 0, :, :-1] = audio.transpose(1, 2)
    grid[:, 1, :, :-1] = visual.transpose(1, 2)
    torch.logical_and(grid[:, 0], grid[:, 1], out=grid[:, 2])
    return line.numpy()


def _runs(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and (exclusive) ends of the runs of a line, counted from behind its first 0."""
    edges = np.flatnonzero(line[1:] != line[:-1])
    return edges[0::2], edges[1::2]
