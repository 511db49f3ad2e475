"""MM-CSE written a second time, the slow way: class after class in Python, one `nn.MultiheadAttention` per attention.

It shares no line with `mediakit.parsing`; `tests/parsing/test_equality.py` loads its weights into ours through the
official names and compares every output, loss and gradient, and `benchmarks/parsing_training.py` times the two. To be a
fair opponent it must cost about what the authors' code costs on 2 cores: 5.1 s and 5 GiB for a training step of 64.

    python benchmarks/mmcse_loop.py [--batch 64] [--steps 4] [--threads 2]

Method: "Multimodal Class-aware Semantic Enhancement Network for Audio-Visual Video Parsing" (AAAI 2025, arXiv
2412.11248). B videos, T segments, K classes, D = 256 hidden, d = D / 2 for each class, 4 d in its feed-forward nets.
"""

from __future__ import annotations

import argparse
import copy
import resource
import statistics
import time
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLAP_POSITIONS = 64


class Output(NamedTuple):
    """What the network returns; pairs are (audio, visual)."""

    frame_logits: Tensor  # (B, T, 2, K)
    video_prob: Tensor  # (B, K)
    audio_prob: Tensor  # (B, K)
    visual_prob: Tensor  # (B, K)
    maps: tuple[Tensor, Tensor, Tensor, Tensor]  # aa, av, vv, va, each (B, T, K, K)
    holistic: tuple[Tensor, Tensor]  # (B, T, D)
    reconstructed: tuple[Tensor, Tensor]  # (B, T, D)
    decoupled: tuple[Tensor, Tensor]  # (B, T, K + 1, d), before the fusion with the background


class Sequence(nn.Module):
    """A `Sequential` under the name `model`."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


class SECM(nn.Module):
    """Attention over the K classes within one segment."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)

    def forward(self, query, other):
        b, t, k, d = query.shape
        query = query.reshape(b * t, k, d)
        other = other.reshape(b * t, k, d)
        out, attention = self.attn(query, other, other)
        return out.view(b, t, k, d), attention.view(b, t, k, k)


class IntraLGSF(nn.Module):
    """Each segment's likeness to the whole video, within one class and one modality."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.glob1 = nn.Linear(dim, dim)
        self.glob2 = nn.Linear(dim, dim)

    def forward(self, x):
        local = F.relu(self.glob1(x))
        video = F.relu(self.glob2(x)).mean(1, keepdim=True)
        likeness = torch.sigmoid(F.cosine_similarity(local, video, dim=-1))
        return likeness.unsqueeze(-1) * video


class CrossLGSF(nn.Module):
    """Each segment's likeness to the whole video of the other modality."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.glob = nn.Linear(dim, dim)

    def forward(self, x, other):
        local = F.relu(self.glob(x))
        video = F.relu(self.glob(other)).mean(1, keepdim=True)
        likeness = torch.sigmoid(F.cosine_similarity(local, video, dim=-1))
        return likeness.unsqueeze(-1) * video


class FGSELayer(nn.Module):
    """One enhancement layer; both modalities go through the same weights."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.SECM_1 = SECM(dim, heads, dropout)
        self.SECM_2 = SECM(dim, heads, dropout)
        self.LGSF_1 = IntraLGSF(dim)
        self.LGSF_2 = CrossLGSF(dim)
        self.fc1 = nn.Linear(dim, dim)
        self.fc2 = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(hidden, dim)

    def forward(self, query, other):
        attended, intra_map = self.SECM_1(query, query)
        intra = self.fc1(query + self.LGSF_1(query + attended))
        attended, cross_map = self.SECM_2(query, other)
        cross = self.fc2(query + self.LGSF_2(query + attended, other))
        x = self.norm1(intra + cross)
        return self.linear2(self.dropout(F.relu(self.linear1(x)))), intra_map, cross_map


class FGSE(nn.Module):
    """The stack of layers, which start as copies of one."""

    def __init__(self, layer: FGSELayer, layers: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([copy.deepcopy(layer) for _ in range(layers)])
        self.final_norm_a = nn.LayerNorm(dim)  # in the checkpoints, never called
        self.final_norm_v = nn.LayerNorm(dim)

    def forward(self, audio, visual):
        for layer in self.layers:
            new_audio, aa, av = layer(audio, visual)
            new_visual, vv, va = layer(visual, audio)
            audio, visual = new_audio, new_visual
        return audio, visual, (aa, av, vv, va)


class ClassHeads(nn.Module):
    """For each class its own linear unit."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.fc = nn.ModuleList([nn.Linear(dim, 1) for _ in range(classes)])

    def forward(self, x):
        return torch.cat([fc(x[:, :, :, k]) for k, fc in enumerate(self.fc)], dim=-1)


class MMCSELoop(nn.Module):
    """The network.

    Args:
        audio_dim: Channels of the audio features, A.
        frames_dim: Channels of the frame features, V.
        clips_dim: Channels of the clip features, S.
        hidden: Channels after the projections, D.
        classes: Event classes, K.
        heads: Attention heads.
        layers: FGSE layers.
        dropout: Probability of every dropout.
    """

    def __init__(
        self,
        audio_dim: int = 768,
        frames_dim: int = 768,
        clips_dim: int = 512,
        hidden: int = 256,
        classes: int = 25,
        heads: int = 8,
        layers: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.classes = classes
        dim = hidden // 2
        self.fc_a = nn.Linear(audio_dim, hidden)
        self.fc_v = nn.Linear(frames_dim, hidden)
        self.fc_st = nn.Linear(clips_dim, hidden)
        self.fc_fusion = nn.Linear(2 * hidden, hidden)
        self.a_unmix = nn.ModuleList(
            [nn.Sequential(nn.ReLU(), nn.Linear(hidden, dim), nn.ReLU()) for _ in range(classes + 1)]
        )
        self.v_unmix = nn.ModuleList(
            [
                nn.Sequential(
                    nn.ReLU(),
                    nn.Linear(hidden, dim),
                    nn.ReLU(),
                    nn.Dropout(dropout),
                    nn.Linear(dim, dim),
                    nn.ReLU(),
                )
                for _ in range(classes + 1)
            ]
        )
        flat = (classes + 1) * dim
        self.a_recon = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.v_recon = Sequence(
            nn.ReLU(), nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )  # starts with a ReLU that its input, after a ReLU, does not need
        self.alpha_a = self._alpha(hidden, dim, dropout)
        self.alpha_v = self._alpha(hidden, dim, dropout)
        self.reduce_a = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU())
        self.reduce_v = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU())
        self.av_enhance = FGSE(FGSELayer(dim, heads, 4 * dim, dropout), layers, dim)
        self.fc_prob = ClassHeads(classes, dim)
        self.fc_frame_att = ClassHeads(classes, dim)
        self.fc_av_att = ClassHeads(classes, dim)

    @staticmethod
    def _alpha(hidden: int, dim: int, dropout: float) -> Sequence:
        return Sequence(nn.ReLU(), nn.Linear(hidden, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, 1))

    def project_audio(self, audio, segments):
        """(B, T, A), or CLAP's map (B, 64, A) of 2 frequencies times 32 moments, to (B, T, D)."""
        if audio.shape[1] == segments or audio.shape[1] != CLAP_POSITIONS:
            return self.fc_a(audio)
        b, _, channels = audio.shape
        grid = audio.permute(0, 2, 1).reshape(b, channels, 2, 32)
        grid = F.interpolate(grid, size=(2, 1024), mode="bicubic", align_corners=False)
        projected = self.fc_a(grid.permute(0, 2, 3, 1)).mean(1)  # (B, 1024, D)
        return F.adaptive_avg_pool1d(projected.permute(0, 2, 1), segments).permute(0, 2, 1)

    def project_visual(self, frames, clips):
        """(B, T, V), or 8 frames a segment (B, 8T, V), with clips (B, T, S), to (B, T, D)."""
        b, segments, _ = clips.shape
        frames = self.fc_v(frames)
        if frames.shape[1] != segments:
            frames = frames.view(b, segments, -1, frames.shape[-1]).mean(2)
        return self.fc_fusion(torch.cat([frames, self.fc_st(clips)], dim=-1))

    def fuse(self, decoupled, alpha, reduce):
        """Each event's feature, mixed with the background's: (B, T, K + 1, d) to (B, T, K, d)."""
        background = decoupled[:, :, -1]
        fused = []
        for k in range(self.classes):
            event = decoupled[:, :, k]
            fused.append(reduce(torch.cat([alpha * event, (1 - alpha) * background], dim=-1)))
        return torch.stack(fused, dim=2)

    def forward(self, audio, frames, clips) -> Output:
        segments = clips.shape[1]
        a = self.project_audio(audio, segments)
        v = self.project_visual(frames, clips)

        a_events = torch.stack([unmix(a) for unmix in self.a_unmix], dim=2)
        v_events = torch.stack([unmix(v) for unmix in self.v_unmix], dim=2)
        a_again = self.a_recon(a_events.flatten(2))
        v_again = self.v_recon(v_events.flatten(2))
        a_fused = self.fuse(a_events, torch.sigmoid(self.alpha_a(a)), self.reduce_a)
        v_fused = self.fuse(v_events, torch.sigmoid(self.alpha_v(v)), self.reduce_v)

        a_fused, v_fused, maps = self.av_enhance(a_fused, v_fused)

        x = torch.stack([a_fused, v_fused], dim=2)  # (B, T, 2, K, d)
        logits = self.fc_prob(x)
        prob = torch.sigmoid(logits)
        over_time = torch.softmax(self.fc_frame_att(x), dim=1)
        over_modalities = torch.softmax(self.fc_av_att(x), dim=2)
        video = (over_time * over_modalities * prob).sum(dim=2).sum(dim=1)
        audio_prob = (over_time[:, :, 0] * prob[:, :, 0]).sum(dim=1)
        visual_prob = (over_time[:, :, 1] * prob[:, :, 1]).sum(dim=1)
        return Output(
            logits, video, audio_prob, visual_prob, maps, (a, v), (a_again, v_again), (a_events, v_events)
        )  # fmt: skip


def loop_losses(output: Output, labels, audio_segments, visual_segments) -> dict[str, Tensor]:
    """The losses and their weighted total.

    Args:
        output: What `MMCSELoop` returned.
        labels: (B, K) weak labels.
        audio_segments: (B, T, K) pseudo-labels of what is heard.
        visual_segments: (B, T, K) pseudo-labels of what is seen.
    """
    video = F.binary_cross_entropy(output.video_prob.clamp(1e-7, 1 - 1e-7), labels)
    audio = F.binary_cross_entropy_with_logits(output.frame_logits[:, :, 0], audio_segments)
    visual = F.binary_cross_entropy_with_logits(output.frame_logits[:, :, 1], visual_segments)

    reconstruction = sum(
        F.mse_loss(again, whole) for again, whole in zip(output.reconstructed, output.holistic, strict=True)
    )

    a_events, v_events = output.decoupled
    classes = a_events.shape[2] - 1
    a_orthogonality = 0
    for k in range(classes):
        a_orthogonality = a_orthogonality + F.cosine_similarity(a_events[:, :, k], a_events[:, :, -1], dim=-1).mean()
    a_orthogonality = a_orthogonality / classes
    v_orthogonality = F.cosine_similarity(v_events[:, :, :-1].mean(2), v_events[:, :, -1], dim=-1).mean()

    sides = ((audio_segments, audio_segments), (audio_segments, visual_segments))
    sides += ((visual_segments, visual_segments), (visual_segments, audio_segments))
    cooccurrence = 0
    for attention, (rows, columns) in zip(output.maps, sides, strict=True):
        cooccurrence = cooccurrence + F.mse_loss(attention, rows.unsqueeze(-1) * columns.unsqueeze(-2))

    losses = {
        "video": video,
        "audio_segments": audio,
        "visual_segments": visual,
        "reconstruction": reconstruction,
        "orthogonality": a_orthogonality + v_orthogonality,
        "cooccurrence": cooccurrence,
    }
    losses["total"] = video + audio + visual + 0.5 * reconstruction + 0.1 * losses["orthogonality"] + 0.1 * cooccurrence
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = MMCSELoop()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    inputs = [torch.randn(args.batch, 10, channels) for channels in (768, 768, 512)]
    labels = (torch.rand(args.batch, 25) < 0.1).float()
    segments = [(torch.rand(args.batch, 10, 25) < 0.1).float() for _ in range(2)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(args.steps):
        begin = time.perf_counter()
        optimizer.zero_grad()
        loop_losses(network(*inputs), labels, *segments)["total"].backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    print(
        f"step of {args.batch}: median {statistics.median(seconds):.2f} s, least {min(seconds):.2f} s, "
        f"peak {peak:.2f} GiB above the model"
    )


if __name__ == "__main__":
    main()
