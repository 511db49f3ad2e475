"""How well events are found: the field's ten F scores, their ladder of oracles, classes and intervals.

Everything is decided on integers (hits, predicted, true), so no rounding can move a match. Modality order is audio,
visual, audio-visual; the audio-visual events are those of both matrices at once. The protocol is that of Tian et al.,
"Unified Multisensory Perception: Weakly-Supervised Audio-Visual Video Parsing" (ECCV 2020).
"""

from __future__ import annotations

from math import fsum
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from mediakit import base  # noqa: F401 imports torchmetrics where packages that it loads unasked are broken
from mediakit.errors import MediakitError
from mediakit.parsing.counts import binary, count_hits

# isort: split
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

_FILTERS: dict[str, tuple[str, str] | None] = {
    "mmcse": ("video_prob", "visual_prob"),
    "han": ("video_prob", "video_prob"),
    "jomold": ("audio_prob", "visual_prob"),
    "raw": None,
}
PROTOCOLS = tuple(_FILTERS)
"""Names of the rules of `decide`."""
LEVELS = ("segment", "event")
ASPECTS = ("audio", "visual", "av", "type", "event")
SCORES = tuple(f"{level}_{what}" for level in LEVELS for what in ASPECTS)
"""Names of the ten scores, in the order of the tables of the papers."""
CLASS_SCORES = tuple(f"{level}_{what}" for level in LEVELS for what in ASPECTS[:3])
"""Names of the columns of `ClassScores`."""


class Probabilities(Protocol):
    """What :func:`decide` reads of a network's output."""

    @property
    def frame_logits(self) -> Tensor:
        """(B, T, 2, K)."""

    @property
    def video_prob(self) -> Tensor:
        """(B, K)."""

    @property
    def audio_prob(self) -> Tensor:
        """(B, K)."""

    @property
    def visual_prob(self) -> Tensor:
        """(B, K)."""


def decide(
    output: Probabilities,
    protocol: str = "mmcse",
    threshold: float | Tensor = 0.5,
    filter_threshold: float | Tensor = 0.5,
) -> tuple[Tensor, Tensor]:
    """Turns probabilities into decisions, by one of the rules that the published scores were made with.

    A segment is positive where its own probability reaches ``threshold`` and that of the whole video reaches
    ``filter_threshold``. Which probability of the video that is tells the papers apart:

    ============  ===============  ================  ==========================
    ``protocol``  audio asks       visual asks       used by
    ============  ===============  ================  ==========================
    ``"mmcse"``   ``video_prob``   ``visual_prob``   MM-CSE
    ``"han"``     ``video_prob``   ``video_prob``    HAN, VALOR, LEAP
    ``"jomold"``  ``audio_prob``   ``visual_prob``   JoMoLD, LSLD, CMPAE
    ``"raw"``     nothing          nothing
    ============  ===============  ================  ==========================

    Args:
        output: ``frame_logits`` (B, T, 2, K), ``video_prob``, ``audio_prob`` and ``visual_prob`` (B, K).
        protocol: One of `PROTOCOLS`.
        threshold: Of segments: a number, one for each class (K,), or for each modality and class (2, K).
        filter_threshold: Of the whole video, likewise (CMPAE: 0.45 and tuned visual ones, with 0.25 for segments).

    Returns:
        Audio and visual decisions, bool (B, T, K).

    Raises:
        ValueError: There is no such protocol, or a threshold has another shape.
        MediakitError: The logits hold NaN, which would pass for "no event".
    """
    if protocol not in _FILTERS:
        raise ValueError(f"there is no protocol {protocol!r}; take one of {', '.join(PROTOCOLS)}")
    logits = output.frame_logits
    if logits.isnan().any():
        raise MediakitError("The network gives NaN: its training diverged, or its weights or features are damaged.")
    decisions = logits.float().sigmoid() >= _limits("threshold", threshold, logits)
    if names := _FILTERS[protocol]:
        whole = torch.stack([getattr(output, name) for name in names], 1)
        decisions &= (whole >= _limits("filter_threshold", filter_threshold, logits))[:, None]
    audio, visual = decisions.unbind(2)
    return audio, visual


def _limits(name: str, value: float | Tensor, logits: Tensor) -> Tensor:
    limits = torch.as_tensor(value, dtype=torch.float32, device=logits.device)
    classes = logits.shape[-1]
    if limits.shape not in {(), (classes,), (2, classes)}:
        raise ValueError(
            f"{name} must be a number, one for each class ({classes},) or for each modality and class (2, {classes}), "
            f"got shape {tuple(limits.shape)}"
        )
    return limits


def avvp_scores(pred_audio: Tensor, pred_visual: Tensor, true_audio: Tensor, true_visual: Tensor) -> dict[str, float]:
    """The ten scores that papers on audio-visual video parsing print.

    Each is a mean over videos; a video's score is the mean of F = 2TP / (2TP + FP + FN) over the classes that occur in
    its prediction or truth, and 1 where none does. ``segment_*`` count seconds. ``event_*`` count runs of seconds: a
    predicted one is right if a true one of its class overlaps it with IoU >= 0.5. ``*_audio``, ``*_visual`` and
    ``*_av`` (both at once) look at one modality; ``*_type`` is their mean; ``*_event`` pools the counts of audio and
    visual for each class.

    Args:
        pred_audio: Decisions 0 or 1, or bool, (N, T, K): videos, seconds, classes. Seconds that a video lacks are 0.
        pred_visual: The same for the picture.
        true_audio: Truth, likewise.
        true_visual: The same for the picture.

    Returns:
        Percent by name, in the order of `SCORES`.

    Raises:
        ValueError: The shapes differ, a value is neither 0 nor 1, or there are no videos.
    """
    return mean_scores(video_scores(pred_audio, pred_visual, true_audio, true_visual))


def video_scores(pred_audio: Tensor, pred_visual: Tensor, true_audio: Tensor, true_visual: Tensor) -> Tensor:
    """Scores of each video.

    Args:
        pred_audio: As for :func:`avvp_scores`.
        pred_visual: Likewise.
        true_audio: Likewise.
        true_visual: Likewise.

    Returns:
        float64 (N, 10) in [0, 1], columns `SCORES`.

    Raises:
        ValueError: The shapes differ, or a value is neither 0 nor 1.
    """
    return _score(count_hits(pred_audio, pred_visual, true_audio, true_visual))


def mean_scores(scores: Tensor) -> dict[str, float]:
    """Means over videos, from exact sums: the order of the videos does not matter.

    Args:
        scores: Of :func:`video_scores`, (N, 10).

    Returns:
        Percent by name, in the order of `SCORES`.

    Raises:
        ValueError: There are no videos.
    """
    if not len(scores):
        raise ValueError("there are no videos to score")
    return {name: 100 * fsum(column) / len(scores) for name, column in zip(SCORES, scores.T.tolist(), strict=True)}


class ClassScores(NamedTuple):
    """Scores of each class over all videos, columns `CLASS_SCORES`.

    Attributes:
        f: 2TP / (2TP + FP + FN) in percent, of the counts of all videos together, float64 (K, 6); NaN where a class
            occurs in neither prediction nor truth.
        predicted: Predicted seconds (first three columns) and events (last three), int64 (K, 6).
        true: Those in the truth, likewise.
    """

    f: Tensor
    predicted: Tensor
    true: Tensor


def class_scores(pred_audio: Tensor, pred_visual: Tensor, true_audio: Tensor, true_visual: Tensor) -> ClassScores:
    """Scores of each class, its counts pooled over all videos.

    Args:
        pred_audio: As for :func:`avvp_scores`.
        pred_visual: Likewise.
        true_audio: Likewise.
        true_visual: Likewise.

    Returns:
        F, and how much was predicted and true.

    Raises:
        ValueError: The shapes differ, or a value is neither 0 nor 1.
    """
    return _score_classes(count_hits(pred_audio, pred_visual, true_audio, true_visual).sum(0))


def oracle_predictions(
    true_audio: Tensor, true_visual: Tensor, labels: Tensor | None = None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Predictions that use a part of the truth: between their scores a model's tells what it misses.

    ``"nothing"`` predicts no event; ``"weak labels everywhere"`` knows the classes of the video, but neither modality
    nor time; ``"modality labels everywhere"`` lacks the time only.

    Args:
        true_audio: Truth 0 or 1, or bool, (N, T, K).
        true_visual: The same for the picture.
        labels: The weak labels 0 or 1 (N, K); without them, the classes that occur in the truth.

    Returns:
        Audio and visual predictions, bool (N, T, K), by row of the ladder.

    Raises:
        ValueError: The shapes differ, or a value is neither 0 nor 1.
    """
    audio, visual = binary(true_audio=true_audio, true_visual=true_visual)
    heard, seen = (x.any(1, keepdim=True) for x in (audio, visual))
    weak = heard | seen
    if labels is not None:
        (weak,) = binary(labels=torch.as_tensor(labels).unsqueeze(1))
        if weak.shape != heard.shape:
            raise ValueError(f"labels must be {(len(audio), audio.shape[2])}, got {tuple(weak[:, 0].shape)}")
    rows = {
        "nothing": (torch.zeros_like(weak), torch.zeros_like(weak)),
        "weak labels everywhere": (weak, weak),
        "modality labels everywhere": (heard, seen),
    }
    return {name: (a.expand_as(audio), v.expand_as(audio)) for name, (a, v) in rows.items()}


def oracle_ladder(true_audio: Tensor, true_visual: Tensor, labels: Tensor | None = None) -> dict[str, dict[str, float]]:
    """Scores of the oracles, to stand beside every result.

    Args:
        true_audio: As for :func:`oracle_predictions`.
        true_visual: Likewise.
        labels: Likewise.

    Returns:
        :func:`avvp_scores` of each row of :func:`oracle_predictions`.

    Raises:
        ValueError: The shapes differ, a value is neither 0 nor 1, or there are no videos.
    """
    rows = oracle_predictions(true_audio, true_visual, labels)
    return {name: avvp_scores(*row, true_audio, true_visual) for name, row in rows.items()}


class AVVPScore(Metric):
    """:func:`avvp_scores` gathered over batches and processes.

    The result does not depend on how the videos are shared out, to the last bit. Batches may differ in T. A sampler
    that repeats videos to even out the processes' shares does change it: such videos count twice.

    Args:
        num_classes: K.
        **kwargs: Of `torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    videos: list[Tensor] | Tensor
    counts: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("videos", default=[], dist_reduce_fx="cat")
        self.add_state("counts", default=torch.zeros(2, 3, 3, num_classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, pred_audio: Tensor, pred_visual: Tensor, true_audio: Tensor, true_visual: Tensor) -> None:
        """Adds a batch, given as to :func:`avvp_scores`."""
        counts = count_hits(pred_audio, pred_visual, true_audio, true_visual)
        if counts.shape[-1] != self.counts.shape[-1]:
            raise ValueError(f"this metric is for {self.counts.shape[-1]} classes, got {counts.shape[-1]}")
        # As integers the doubles' bits pass through devices without float64 and through casts of a whole module.
        self.videos.append(_score(counts).view(torch.long).to(self.device))  # type: ignore[union-attr]
        self.counts = self.counts + counts.sum(0).to(self.device)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gathers the processes' states; one that saw no video takes part all the same."""
        if isinstance(self.videos, list) and not self.videos:
            self.videos = [torch.zeros(0, len(SCORES), dtype=torch.long, device=self.device)]
        super().sync(*args, **kwargs)

    def compute(self) -> dict[str, float]:
        """Percent by name, in the order of `SCORES`.

        Raises:
            ValueError: No video was added.
        """
        return mean_scores(self._videos())

    def per_video(self) -> Tensor:
        """:func:`video_scores` of all videos of all processes, in no stated order; every process must call it."""
        with self._synced():
            return self._videos()

    def per_class(self) -> ClassScores:
        """:func:`class_scores` over all videos of all processes; every process must call it."""
        with self._synced():
            return _score_classes(self.counts.cpu())

    def _synced(self) -> Any:
        return self.sync_context(self.dist_sync_fn, should_sync=self.sync_on_compute)

    def _videos(self) -> Tensor:
        if isinstance(self.videos, list) and not self.videos:
            return torch.zeros(0, len(SCORES), dtype=torch.double)
        return dim_zero_cat(self.videos).cpu().view(torch.double)


def _score(counts: Tensor) -> Tensor:
    """Scores (N, 10) of counts (N, 2, 3, 3, K)."""
    hits, predicted, true = counts.movedim(0, 2).unbind(1)
    size = predicted + true
    audio, visual, av = _mean_f(hits, size).unbind(-1)
    event = _mean_f(hits[..., :2, :].sum(-2), size[..., :2, :].sum(-2))
    return torch.stack([audio, visual, av, (audio + visual + av) / 3, event], -1).movedim(0, 1).flatten(1)


def _mean_f(hits: Tensor, size: Tensor) -> Tensor:
    """Mean F over the classes (last axis) that occur, 1 where none does."""
    # A running sum adds in the order of the classes, as a loop over them would: equal to one to the last bit.
    total = (2 * hits.double() / size.clamp(min=1)).cumsum(-1)[..., -1]
    occurring = (size > 0).sum(-1)
    return torch.where(occurring > 0, total / occurring, 1.0)


def _score_classes(counts: Tensor) -> ClassScores:
    """Scores of counts (2, 3, 3, K) that are summed over videos."""
    hits, predicted, true = (x.flatten(0, 1).T for x in counts.unbind(1))
    return ClassScores(200 * hits.double() / (predicted + true), predicted, true)
