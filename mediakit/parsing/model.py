"""MM-CSE, the multimodal class-aware semantic enhancement network for audio-visual video parsing (plain torch).

Paper: "Multimodal Class-aware Semantic Enhancement Network for Audio-Visual Video Parsing" (AAAI 2025, arXiv
2412.11248). This is an own writing after the method as its authors run it; where their paper and their code differ the
code's numbers count. Classes are a dimension of every tensor instead of a loop, with equal results; `.load_official`
takes the authors' checkpoints.

Shapes: B videos, T segments of one second, K classes, D hidden channels, d = D / 2 channels of a class. Modalities are
always in the order audio, visual.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mediakit.parsing.fgse import FGSE, Maps
from mediakit.parsing.pooling import per_second

Pair = tuple[Tensor, Tensor]


class ParsingOutput(NamedTuple):
    """What a parsing network says about a batch.

    Attributes:
        frame_logits: Of each segment, modality (audio, visual) and class, ``(B, T, 2, K)``.
        video_prob: Probability of each class in the video, ``(B, K)``. The weights of MMIL pooling do not sum to 1, so
            that it can pass 1; the loss clamps it.
        audio_prob: Probability of each class in the sound, ``(B, K)`` in [0, 1].
        visual_prob: Probability of each class in the pictures, ``(B, K)`` in [0, 1].
        cooccurrence: Maps of the last FGSE layer, each ``(B, T, K, K)``; None where the network has none.
        holistic: Features of each modality before decoupling, ``(B, T, D)``; for the reconstruction loss.
        reconstructed: What the decoupled features say they were; None where it was not asked for.
        decoupled: Features of each class and, last, the background, ``(B, T, K + 1, d)``; for the orthogonality loss.
    """

    frame_logits: Tensor
    video_prob: Tensor
    audio_prob: Tensor
    visual_prob: Tensor
    cooccurrence: Maps | None = None
    holistic: Pair | None = None
    reconstructed: Pair | None = None
    decoupled: Pair | None = None


def mmil_pool(prob: Tensor, time_logits: Tensor, modality_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Multimodal multiple-instance pooling (Tian et al., ECCV 2020): attention over time and over modalities.

    Args:
        prob: ``(B, T, 2, K)`` in [0, 1].
        time_logits: The same shape; softmax over T.
        modality_logits: The same shape; softmax over the modalities.

    Returns:
        ``(B, K)`` each: video (both attentions; its weights do not sum to 1), audio and visual (over time alone).
    """
    weighted = prob * torch.softmax(time_logits, dim=1)
    video = (weighted * torch.softmax(modality_logits, dim=2)).sum((1, 2))
    audio, visual = weighted.sum(1).unbind(1)
    return video, audio, visual


class ClassLinear(nn.Module):
    """A linear map of its own for each class.

    Args:
        classes: Number of maps, C.
        inputs: Channels in.
        outputs: Channels out.
        shared: Whether all classes read the same input.
    """

    def __init__(self, classes: int, inputs: int, outputs: int, shared: bool = False) -> None:
        super().__init__()
        self.shared = shared
        bound = inputs**-0.5  # as nn.Linear begins
        self.weight = nn.Parameter(torch.empty(classes, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(classes, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., inputs)`` if shared, else ``(..., C, inputs)`` -> ``(..., C, outputs)``."""
        if self.shared:
            return F.linear(x, self.weight.flatten(0, 1), self.bias.flatten()).unflatten(-1, self.bias.shape)
        flat = x.flatten(0, -3).transpose(0, 1)
        out = torch.baddbmm(self.bias.unsqueeze(1), flat, self.weight.transpose(1, 2))
        return out.transpose(0, 1).reshape(*x.shape[:-1], -1)


class Decoupled(NamedTuple):
    """What CAFD makes of one modality.

    Attributes:
        events: Features of each class with the background fused in, ``(B, T, K, d)``.
        decoupled: Those before the fusion and, last, the background, ``(B, T, K + 1, d)``.
        restored: The holistic features again, ``(B, T, D)``; None where they are not wanted.
    """

    events: Tensor
    decoupled: Tensor
    restored: Tensor | None


class CAFD(nn.Module):
    """Class-aware feature decoupling of one modality, with dynamic background fusion and reconstruction.

    Args:
        classes: Event classes, K; the background is one more.
        hidden: D, channels of the holistic features.
        dim: d, channels of a class.
        deep: Whether each class has a second linear map, as the visual branch does.
        background: Whether the background is fused into each class.
        dropout: Of the second map and of the fusion weight.
    """

    def __init__(
        self, classes: int, hidden: int, dim: int, deep: bool, background: bool = True, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.decouple = ClassLinear(classes + 1, hidden, dim, shared=True)
        self.refine = ClassLinear(classes + 1, dim, dim) if deep else None
        self.dropout = nn.Dropout(dropout)
        self.reconstruct = nn.Sequential(
            nn.Linear((classes + 1) * dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.share = (
            nn.Sequential(nn.ReLU(), nn.Linear(hidden, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, 1))
            if background
            else None
        )
        self.fuse = nn.Linear(2 * dim, dim) if background else None

    def forward(self, holistic: Tensor, reconstruct: bool = True) -> Decoupled:
        """Holistic features ``(B, T, D)`` -> features of the classes."""
        decoupled = F.relu(self.decouple(F.relu(holistic)))
        if self.refine is not None:
            decoupled = F.relu(self.refine(self.dropout(decoupled)))
        restored = self.reconstruct(decoupled.flatten(-2)) if reconstruct else None
        events, background = decoupled[..., :-1, :], decoupled[..., -1:, :]
        if self.fuse is None or self.share is None:
            return Decoupled(events, decoupled, restored)
        alpha = torch.sigmoid(self.share(holistic)).unsqueeze(-1)
        # W [a e ; (1 - a) b] = a W1 e + (1 - a) W2 b: the background is mapped once instead of K times.
        first, second = self.fuse.weight.chunk(2, dim=1)
        fused = alpha * F.linear(events, first) + (1 - alpha) * F.linear(background, second) + self.fuse.bias
        return Decoupled(F.relu(fused), decoupled, restored)


class SharedFeatures(nn.Module):
    """What stands in for CAFD in the ablation: one map for all classes, and a learned vector that tells them apart.

    Args:
        classes: K.
        hidden: D.
        dim: d.
    """

    def __init__(self, classes: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden, dim)
        self.classes = nn.Parameter(torch.randn(classes, dim) / math.sqrt(dim))

    def forward(self, holistic: Tensor) -> Tensor:
        """``(B, T, D) -> (B, T, K, d)``."""
        return F.relu(self.project(F.relu(holistic)).unsqueeze(-2) + self.classes)


class ParsingModel(nn.Module):
    """MM-CSE: features of sound and pictures -> which events are heard and seen in each second.

    Args:
        classes: K, number of event classes.
        audio_dim: Channels of the audio features: 128 VGGish, 768 CLAP, 320 the reference encoder.
        frames_dim: Channels of the frame features: 768 CLIP, 2048 ResNet-152, 320 the reference encoder.
        clips_dim: Channels of the motion features: 512 R(2+1)D-18, 320 the reference encoder.
        hidden: D; a class gets half of it.
        heads: Attention heads.
        layers: FGSE layers; 0 leaves FGSE out.
        dropout: Of CAFD, attention and feed-forward networks.
        decoupling: Whether each class has features of its own (CAFD); without, all read one.
        background: Whether the background is fused into each class.
        secm: Whether classes attend to one another (segment-wise event co-occurrence).
        lgsf: Whether local and global semantics are fused.
        same_start: Whether the FGSE layers begin with equal weights, as the authors' deep copies do.
    """

    def __init__(
        self,
        classes: int = 25,
        audio_dim: int = 768,
        frames_dim: int = 768,
        clips_dim: int = 512,
        hidden: int = 256,
        heads: int = 8,
        layers: int = 4,
        dropout: float = 0.1,
        decoupling: bool = True,
        background: bool = True,
        secm: bool = True,
        lgsf: bool = True,
        same_start: bool = True,
    ) -> None:
        super().__init__()
        dim = hidden // 2
        self.audio = nn.Linear(audio_dim, hidden)
        self.frames = nn.Linear(frames_dim, hidden)
        self.clips = nn.Linear(clips_dim, hidden)
        self.visual = nn.Linear(2 * hidden, hidden)
        self.decoupling = (
            nn.ModuleList(CAFD(classes, hidden, dim, deep, background, dropout) for deep in (False, True))
            if decoupling
            else None
        )
        self.shared = (
            None if decoupling else nn.ModuleList(SharedFeatures(classes, hidden, dim) for _ in ("audio", "visual"))
        )
        self.fgse = FGSE(layers, dim, heads, 4 * dim, dropout, secm, lgsf, same_start)
        self.heads = ClassLinear(classes, dim, 3)  # event logit, attention over time, attention over modalities
        # The authors' checkpoints hold two norms that nothing uses; they are kept so that nothing is lost on the way.
        self.unused = nn.ModuleList(nn.LayerNorm(dim) for _ in ("audio", "visual")).requires_grad_(False)

    def forward(self, audio: Tensor, frames: Tensor, clips: Tensor, reconstruct: bool = True) -> ParsingOutput:
        """Parses a batch.

        Args:
            audio: ``(B, T, A)``, or CLAP's map ``(B, 64, 768)``.
            frames: ``(B, T, V)``, or several frames a second, ``(B, n T, V)``, of which the mean is taken.
            clips: ``(B, T, S)``.
            reconstruct: Whether the reconstruction, which only its loss needs, is computed.
        """
        audio, frames, clips = per_second(audio, frames, clips)
        heard = self.audio(audio)
        seen = self.visual(torch.cat([self.frames(frames), self.clips(clips)], dim=-1))
        holistic, decoupled, reconstructed = (heard, seen), None, None
        if self.decoupling is not None:
            a, v = (cafd(x, reconstruct) for cafd, x in zip(self.decoupling, holistic, strict=True))
            features, decoupled = [a.events, v.events], (a.decoupled, v.decoupled)
            reconstructed = (a.restored, v.restored) if reconstruct else None
        else:
            assert self.shared is not None
            features = [shared(x) for shared, x in zip(self.shared, holistic, strict=True)]
        enhanced, maps = self.fgse(torch.stack(features))
        logits, over_time, over_modalities = self.heads(enhanced.movedim(0, 2)).float().unbind(-1)
        pooled = mmil_pool(torch.sigmoid(logits), over_time, over_modalities)
        return ParsingOutput(logits, *pooled, maps, holistic, reconstructed, decoupled)
