"""The colorization network: gray to colour, guided by a vector of scene semantics that may come from a sound.

Paper: "Audio-Infused Automatic Image Colorization by Exploiting Audio Scene Semantics" (arXiv 2401.13270), of which no
code was released. Its stages, its guidance by AdaIN and its relevance score are here as published; sizes, losses and
what the relevance learns from are our choice.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mediakit.encoders.audio import AudioEncoder
from mediakit.encoders.backbones import create_image_backbone

AB_RANGE = 110.0
"""Largest magnitude of the a and b that the network gives."""

_EPSILON = 1e-5
_SCENE = 64  # length of the vectors in which gray pictures and semantics are compared


class ColorizeOutput(NamedTuple):
    """What the network says of a batch.

    Attributes:
        ab: CIELAB a and b, float (B, 2, H, W), within +-110.
        relevance: How far the semantics were believed, (B,) in [0, 1]; 0 where none were given.
        relevance_logit: Its logit before ``present`` is applied, (B,); 0 where none were given.
        context: What `ColorizationModel.judge` needs of the gray pictures: means of the deepest maps, (B, C).
        expected: Unit vectors of the scenes that the gray pictures show, (B, 64), to be compared with those that
            semantics tell.
    """

    ab: Tensor
    relevance: Tensor
    relevance_logit: Tensor
    context: Tensor
    expected: Tensor


def modulate(x: Tensor, gamma: Tensor, beta: Tensor, relevance: Tensor, present: Tensor) -> Tensor:
    """Relevance-based semantic guidance: adaptive instance normalisation (Huang and Belongie, ICCV 2017), softened.

    ``sg = gamma (x - mean) / deviation + beta`` over the places of each channel, and ``s sg + (1 - s) x`` with
    ``s = relevance * present``.

    Args:
        x: Maps, (B, C, H, W).
        gamma: Scales, (B, C).
        beta: Shifts, (B, C).
        relevance: (B,) in [0, 1].
        present: (B,) in [0, 1]; where it is 0, exactly ``x`` comes back whatever the others are, NaN included.

    Returns:
        (B, C, H, W).
    """
    mean = x.mean((2, 3), keepdim=True)
    # Written out: instance_norm refuses maps of one pixel.
    deviation = ((x - mean).square().mean((2, 3), keepdim=True) + _EPSILON).sqrt()
    guided = gamma[..., None, None] * (x - mean) / deviation + beta[..., None, None]
    share = (relevance * present)[:, None, None, None]
    return torch.where(present[:, None, None, None] > 0, share * guided + (1 - share) * x, x)


class Guidance(nn.Module):
    """The gamma and beta of one place in the decoder; 1 and 0 before training."""

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.scale_and_shift = nn.Linear(dim, 2 * channels)
        nn.init.zeros_(self.scale_and_shift.weight)
        nn.init.zeros_(self.scale_and_shift.bias)

    def forward(self, x: Tensor, condition: Tensor, relevance: Tensor, present: Tensor) -> Tensor:
        """See `modulate`; condition (B, dim)."""
        scale, shift = self.scale_and_shift(condition).chunk(2, dim=1)
        return modulate(x, 1 + scale, shift, relevance, present)


class DecoderBlock(nn.Module):
    """Upsamples, takes in the gray encoder's maps, and guides: (B, in, h, w), (B, skip, H, W) -> (B, out, H, W)."""

    def __init__(self, inputs: int, skip: int, outputs: int, dim: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(inputs + skip, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
        )
        self.guidance = Guidance(dim, outputs)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
        )

    def forward(self, x: Tensor, skip: Tensor, guide: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
        """``guide`` is condition, relevance and present; None guides nothing."""
        x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
        x = self.first(torch.cat([x, skip], dim=1))
        return self.second(x if guide is None else self.guidance(x, *guide))


class ColorizationModel(nn.Module):
    """Lightness and, if there are any, scene semantics to colour.

    The relevance is one number for the pair of picture and semantics, used at all places of the decoder: it reads what
    the deepest gray maps and the semantics are, and how far the scenes agree that both tell of.

    Args:
        gray_encoder: timm network that reads lightness; it must give maps of several sizes (``resnet34``,
            ``convnext_tiny``, ...).
        semantic_encoder: timm network that reads the colour picture: the teacher of the sound, and what reads an
            exemplar.
        audio_encoder: Network of the shared `.AudioEncoder`.
        gray_weights: None (random), ``"pretrained"``, a tag or a local file; likewise the next two.
        semantic_weights: Of the semantic encoder.
        audio_weights: Of the audio encoder.
        dim: Length of the vectors of semantics.
        width: Channels of the decoder's finest block; each coarser one has twice as many, up to 16 times.
        audio_segment: Seconds of sound that give one vector of the audio encoder; longer sound is averaged.
        audio_mels: Mel bands of its spectrogram.
        audio_hop: Samples between its frames.
        dropout: Share of the deepest maps that training drops; it also serves to measure how sure a guess is.
        seed: Seed of the random weights of the three encoders.

    Raises:
        MediakitError: There is no such network.
        WeightsError: Weights cannot be fetched or do not fit.
        ValueError: A network gives no maps of several sizes, or a size is not positive.
    """

    def __init__(
        self,
        gray_encoder: str = "resnet34",
        semantic_encoder: str = "resnet18",
        audio_encoder: str = "resnet18",
        gray_weights: str | None = None,
        semantic_weights: str | None = None,
        audio_weights: str | None = None,
        dim: int = 512,
        width: int = 32,
        audio_segment: float = 10.0,
        audio_mels: int = 128,
        audio_hop: int = 160,
        dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if dim < 1 or width < 1:
            raise ValueError(f"dim and width must be positive, got {dim} and {width}")
        self.dim = dim
        self.gray_encoder, _ = create_image_backbone(gray_encoder, gray_weights, seed, 1, owner="gray_encoder")
        channels = _pyramid(self.gray_encoder, gray_encoder)
        self.semantic_encoder, config = create_image_backbone(
            semantic_encoder, semantic_weights, seed + 1, 3, owner="semantic_encoder"
        )
        self.fixed_size = config.size if config.fixed_size else None
        self.register_buffer("pixel_mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)
        self.semantic_head = nn.Linear(config.dim, dim)
        self.audio_encoder = AudioEncoder(
            audio_encoder,
            audio_weights,
            seed + 2,
            frozen=False,
            segment=audio_segment,
            n_mels=audio_mels,
            hop_length=audio_hop,
        )
        self.audio_head = nn.Linear(self.audio_encoder.dim, dim)

        self.condition = nn.Sequential(
            nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim)
        )
        deepest = channels[-1]
        # Gray and semantics agree in a space of their own: in that of the semantics itself, agreement would leave
        # nothing but what gray shows, and so nothing to colour by.
        self.expect = nn.Sequential(nn.Linear(deepest, dim), nn.SiLU(), nn.Linear(dim, _SCENE))
        self.scene = nn.Linear(dim, _SCENE)
        self.relevance = nn.Sequential(nn.Linear(deepest + dim + 1, 128), nn.SiLU(), nn.Linear(128, 1))
        self.agreement = nn.Parameter(torch.tensor(4.0))
        self.dropout = nn.Dropout2d(dropout)
        self.bottleneck = Guidance(dim, deepest)
        blocks, inputs = [], deepest
        for step, skip in enumerate(reversed(channels[:-1])):
            outputs = width * 2 ** min(len(channels) - 2 - step, 4)
            blocks.append(DecoderBlock(inputs, skip, outputs, dim))
            inputs = outputs
        self.decoder = nn.ModuleList(blocks)
        self.to_ab = nn.Conv2d(inputs, 2, 3, 1, 1)
        nn.init.normal_(self.to_ab.weight, std=0.01)
        assert self.to_ab.bias is not None
        nn.init.zeros_(self.to_ab.bias)
        self.to(memory_format=torch.channels_last)  # a seventh faster on a CPU

    pixel_mean: Tensor
    pixel_std: Tensor

    def semantics(self, rgb: Tensor) -> Tensor:
        """Semantics of colour pictures, sRGB (B, 3, H, W) in [0, 1] -> unit vectors (B, dim)."""
        x = (rgb - self.pixel_mean) / self.pixel_std
        if self.fixed_size is not None and x.shape[-2:] != self.fixed_size:
            x = F.interpolate(x, self.fixed_size, mode="bilinear", align_corners=False, antialias=True)
        return F.normalize(self.semantic_head(self.semantic_encoder(x)), dim=1)

    def hear(self, waveform: Tensor) -> Tensor:
        """Semantics of sound, mono (B, N) at 16 kHz in [-1, 1] -> unit vectors (B, dim)."""
        return F.normalize(self.audio_head(self.audio_encoder(waveform).mean(1)), dim=1)

    def judge(self, context: Tensor, expected: Tensor, semantics: Tensor) -> Tensor:
        """How well semantics go with gray pictures, as logits (B,).

        Args:
            context: Of a `ColorizeOutput`, (B, C).
            expected: Likewise, (B, 64).
            semantics: Unit vectors (B, dim).
        """
        agreement = (expected * F.normalize(self.scene(semantics), dim=1)).sum(1, keepdim=True)
        seen = torch.cat([context, self.dim**0.5 * semantics, agreement], dim=1)
        logit = self.relevance(seen) + self.agreement * agreement
        return logit.squeeze(1)

    def forward(
        self, lightness: Tensor, semantics: Tensor | None = None, present: Tensor | None = None
    ) -> ColorizeOutput:
        """Colours pictures of any size.

        Args:
            lightness: CIE L, (B, 1, H, W) in 0 to 100.
            semantics: Unit vectors (B, dim) from `semantics` or `hear`; None for none.
            present: How far to use them, (B,) in [0, 1]; None for 1. Where it is 0 the result is, to the bit, that of
                ``semantics=None``.

        Returns:
            Colour and relevance.
        """
        maps = self._maps((lightness - 50) / 50)
        context = maps[-1].mean((2, 3))
        expected = F.normalize(self.expect(context), dim=1)
        guide = None
        logit = relevance = torch.zeros(len(lightness), dtype=expected.dtype, device=expected.device)
        if semantics is not None:
            present = torch.ones_like(relevance) if present is None else present.to(relevance)
            logit = self.judge(context, expected, semantics)
            guide = self.condition(self.dim**0.5 * semantics), logit.sigmoid(), present
            relevance = torch.where(present > 0, guide[1] * present, torch.zeros_like(relevance))
        x = self.dropout(maps[-1])
        if guide is not None:
            x = self.bottleneck(x, *guide)
        for block, skip in zip(self.decoder, reversed(maps[:-1]), strict=True):
            x = block(x, skip, guide)
        ab = F.interpolate(self.to_ab(x), lightness.shape[-2:], mode="bilinear", align_corners=False)
        return ColorizeOutput(AB_RANGE * ab.tanh(), relevance, logit, context, expected)

    def _maps(self, x: Tensor) -> list[Tensor]:
        """The gray encoder's maps, from fine to coarse."""
        return self.gray_encoder.forward_intermediates(x, intermediates_only=True)  # type: ignore[operator]


def _pyramid(network: nn.Module, name: str) -> list[int]:
    """Channels of a network's maps from fine to coarse, which must be of several sizes."""
    info = getattr(network, "feature_info", None)
    info = info if isinstance(info, list) else []
    sizes = [entry["reduction"] for entry in info]
    if not hasattr(network, "forward_intermediates") or len({*sizes}) < 3 or sizes != sorted(sizes):
        raise ValueError(f"the gray encoder {name} gives no maps of several sizes: take a network such as resnet34")
    return [int(entry["num_chs"]) for entry in info]
