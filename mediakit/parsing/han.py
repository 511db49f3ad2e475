"""HAN, the hybrid attention network: the holistic baseline of audio-visual video parsing.

Paper: "Unified Multisensory Perception: Weakly-Supervised Audio-Visual Video Parsing" (Tian, Li and Xu, ECCV 2020,
arXiv 2007.10558). Own writing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mediakit.parsing.model import ParsingOutput, mmil_pool
from mediakit.parsing.pooling import per_second


class HybridAttention(nn.Module):
    """Attention of one modality over time, within itself and to the other, and a feed-forward network.

    Args:
        dim: Channels.
        heads: Attention heads.
        hidden: Channels inside the feed-forward network.
        dropout: Of everything.
    """

    def __init__(self, dim: int = 512, heads: int = 1, hidden: int = 512, dropout: float = 0.1) -> None:
        super().__init__()
        self.within = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.across = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """``(B, T, dim)`` twice -> the first one enhanced."""
        across = self.across(x, other, other, need_weights=False)[0]
        within = self.within(x, x, x, need_weights=False)[0]
        x = self.norms[0](x + self.dropout(across) + self.dropout(within))
        changed = self.contract(self.dropout(F.relu(self.expand(x))))
        return self.norms[1](x + self.dropout(changed))


class HAN(nn.Module):
    """Features of sound and pictures -> events, through one feature a segment and modality for all classes.

    Args:
        classes: K, number of event classes.
        audio_dim: Channels of the audio features.
        frames_dim: Channels of the frame features.
        clips_dim: Channels of the motion features.
        hidden: Channels inside.
        heads: Attention heads.
        layers: Layers of hybrid attention; their weights serve both modalities.
        dropout: Of attention and feed-forward networks.
    """

    def __init__(
        self,
        classes: int = 25,
        audio_dim: int = 128,
        frames_dim: int = 2048,
        clips_dim: int = 512,
        hidden: int = 512,
        heads: int = 1,
        layers: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.audio = nn.Linear(audio_dim, hidden)
        self.frames = nn.Linear(frames_dim, hidden)
        self.clips = nn.Linear(clips_dim, hidden)
        self.visual = nn.Linear(2 * hidden, hidden)
        self.layers = nn.ModuleList(HybridAttention(hidden, heads, hidden, dropout) for _ in range(layers))
        self.heads = nn.Linear(hidden, 3 * classes)  # event logit, attention over time, attention over modalities

    def forward(self, audio: Tensor, frames: Tensor, clips: Tensor, reconstruct: bool = True) -> ParsingOutput:
        """Parses a batch; inputs as `.ParsingModel` takes them. There is nothing to reconstruct."""
        audio, frames, clips = per_second(audio, frames, clips)
        heard = self.audio(audio)
        seen = self.visual(torch.cat([self.frames(frames), self.clips(clips)], dim=-1))
        for layer in self.layers:
            heard, seen = layer(heard, seen), layer(seen, heard)
        logits, over_time, over_modalities = self.heads(torch.stack([heard, seen], dim=2)).float().chunk(3, dim=-1)
        pooled = mmil_pool(torch.sigmoid(logits), over_time, over_modalities)
        return ParsingOutput(logits, *pooled)
