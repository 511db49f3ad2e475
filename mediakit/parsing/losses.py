"""Losses of audio-visual video parsing, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mediakit.parsing.model import ParsingOutput

_EDGE = 1e-7  # probabilities are kept this far from 0 and 1


def video_loss(prob: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of probabilities that may pass 1 a little.

    Args:
        prob: ``(B, K)``.
        labels: ``(B, K)`` in [0, 1].
    """
    with torch.autocast(prob.device.type, enabled=False):
        return F.binary_cross_entropy(prob.float().clamp(_EDGE, 1 - _EDGE), labels.float())


def orthogonality_loss(decoupled: tuple[Tensor, Tensor]) -> Tensor:
    """How much event features point where the background does; the sum over both modalities.

    Audio: mean cosine of each class with the background. Visual: mean cosine of the mean class with it.

    Args:
        decoupled: Audio and visual, ``(B, T, K + 1, d)``, the background last.
    """
    audio, visual = (x.float() for x in decoupled)
    heard = F.cosine_similarity(audio[..., :-1, :], audio[..., -1:, :], dim=-1)
    seen = F.cosine_similarity(visual[..., :-1, :].mean(-2), visual[..., -1, :], dim=-1)
    return heard.mean() + seen.mean()


def cooccurrence_loss(maps: tuple[Tensor, Tensor, Tensor, Tensor], audio: Tensor, visual: Tensor) -> Tensor:
    """Mean squared difference between maps and what occurs together, summed over the four maps.

    The rows of a map sum to 1 and those of its target to 0 or more, so that the loss has a floor above 0.

    Args:
        maps: aa, av, vv, va, each ``(B, T, K, K)``.
        audio: Which classes are heard in each segment, ``(B, T, K)``.
        visual: Which are seen.
    """
    found = zip(maps, ((audio, audio), (audio, visual), (visual, visual), (visual, audio)), strict=True)
    return torch.stack([F.mse_loss(m.float(), a.unsqueeze(-1) * b.unsqueeze(-2)) for m, (a, b) in found]).sum()


def mmcse_loss(
    output: ParsingOutput,
    labels: Tensor,
    audio_segments: Tensor,
    visual_segments: Tensor,
    *,
    segment_weight: float = 1.0,
    reconstruction_weight: float = 0.5,
    orthogonality_weight: float = 0.1,
    cooccurrence_weight: float = 0.1,
) -> dict[str, Tensor]:
    """The objective of MM-CSE.

    ``total = video + segments + 0.5 reconstruction + 0.1 orthogonality + 0.1 cooccurrence``; the parts are sums over
    modalities or maps, without weights. A part that the network has nothing for (a baseline, an ablation) is 0.

    Args:
        output: Of the network.
        labels: Weak labels of the video, ``(B, K)``.
        audio_segments: Pseudo-labels of the sound, ``(B, T, K)``.
        visual_segments: Pseudo-labels of the pictures, ``(B, T, K)``.
        segment_weight: Of both segment losses.
        reconstruction_weight: Of the mean squared error between holistic features and what is decoupled from them.
        orthogonality_weight: Of `orthogonality_loss`.
        cooccurrence_weight: Of `cooccurrence_loss`.

    Returns:
        Scalars ``video, audio_segments, visual_segments, reconstruction, orthogonality, cooccurrence, total``.
    """
    logits = output.frame_logits.float()
    audio, visual = audio_segments.float(), visual_segments.float()
    none = logits.new_zeros(())
    parts = {
        "video": video_loss(output.video_prob, labels),
        "audio_segments": F.binary_cross_entropy_with_logits(logits[:, :, 0], audio),
        "visual_segments": F.binary_cross_entropy_with_logits(logits[:, :, 1], visual),
        "reconstruction": none,
        "orthogonality": none,
        "cooccurrence": none,
    }
    if output.reconstructed is not None and output.holistic is not None:
        pairs = zip(output.reconstructed, output.holistic, strict=True)
        parts["reconstruction"] = torch.stack([F.mse_loss(a.float(), b.float()) for a, b in pairs]).sum()
    if output.decoupled is not None:
        parts["orthogonality"] = orthogonality_loss(output.decoupled)
    if output.cooccurrence is not None:
        parts["cooccurrence"] = cooccurrence_loss(output.cooccurrence, audio, visual)
    segments = parts["audio_segments"] + parts["visual_segments"]
    parts["total"] = (
        parts["video"]
        + segment_weight * segments
        + reconstruction_weight * parts["reconstruction"]
        + orthogonality_weight * parts["orthogonality"]
        + cooccurrence_weight * parts["cooccurrence"]
    )
    return parts


def han_loss(
    output: ParsingOutput, labels: Tensor, *, audio_smoothing: float = 0.0, visual_smoothing: float = 0.1
) -> dict[str, Tensor]:
    """The objective of HAN (Tian et al., ECCV 2020): the weak labels alone, smoothed for each modality.

    Args:
        output: Of the network.
        labels: Weak labels of the video, ``(B, K)``.
        audio_smoothing: ``s`` in ``(1 - s) y + s / 2``, for the sound.
        visual_smoothing: The same for the pictures.

    Returns:
        Scalars ``video, audio, visual, total``.
    """
    labels = labels.float()
    audio, visual = ((1 - s) * labels + s / 2 for s in (audio_smoothing, visual_smoothing))
    parts = {
        "video": video_loss(output.video_prob, labels),
        "audio": video_loss(output.audio_prob, audio),
        "visual": video_loss(output.visual_prob, visual),
    }
    parts["total"] = torch.stack(list(parts.values())).sum()
    return parts
