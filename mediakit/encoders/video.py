"""Pictures and motion: one vector per frame from an image network, one vector per clip from a video network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mediakit.encoders.backbones import create_image_backbone, create_video_backbone
from mediakit.encoders.identity import Encoder, within


def unit_range(frames: Tensor) -> Tensor:
    """Frames as floats in [0, 1]: uint8 is divided by 255, floats pass as they are.

    Raises:
        ValueError: Another type of integer.
    """
    if frames.dtype == torch.uint8:
        return frames.float() / 255.0
    if not frames.is_floating_point():
        raise ValueError(f"frames must be uint8 or float in [0, 1], not {frames.dtype}")
    return frames


def resize_frames(frames: Tensor, size: int, mode: str = "squash") -> Tensor:
    """Resizes to a square with bicubic, antialiased interpolation (Pillow's, up to its rounding).

    Args:
        frames: ``(N, C, H, W)`` float in [0, 1].
        size: Height and width in pixels.
        mode: ``"squash"`` brings the whole frame to the square, changing its aspect ratio; ``"shortest"`` brings the
            short side to ``size`` and crops the centre.

    Returns:
        ``(N, C, size, size)`` in [0, 1].
    """
    height, width = frames.shape[-2:]
    short = min(height, width)
    target = (size, size) if mode == "squash" else (size * height // short, size * width // short)
    if (height, width) != target:
        frames = F.interpolate(frames, target, mode="bicubic", align_corners=False, antialias=True)
    top, left = round((target[0] - size) / 2), round((target[1] - size) / 2)
    return frames[..., top : top + size, left : left + size].clamp(0.0, 1.0)  # bicubic overshoots


def in_chunks(step: Callable[[Tensor], Tensor], items: Tensor, chunk: int) -> Tensor:
    """Applies ``step`` to at most ``chunk`` items at a time: the memory of one chunk, the same result."""
    return torch.cat([step(part) for part in items.split(chunk)])


class FrameEncoder(Encoder):
    """Frames to one vector each: ``(B, T, 3, H, W)`` RGB -> ``(B, T, dim)``.

    Frames of any size are brought to the network's own size and normalised with its own mean and standard deviation.
    By default the whole frame is squashed into the square: what happens at its sides counts, and a centre crop of a
    16:9 picture would lose 44 % of it. For features equal to those of CLIP's own preprocessing take
    ``resize="shortest"``, and ``projection=True`` for the embedding shared with text (``vit_large_patch14_clip_224``
    with ``weights="openai"``: 768).

    Input: uint8 or float in [0, 1], at any frame rate (audio-visual parsing: 1 fps). Output: one vector per frame.

    Args:
        model: Any timm model: ``resnet18``, ``resnet152``, ``vit_base_patch16_clip_224``, ...; or ``reference``.
        weights: None (random), ``"pretrained"``, a timm tag, or a local file.
        seed: Seed of the random weights.
        frozen: Parameters and statistics fixed, always in eval mode; False to train it.
        size: Height = width in pixels that the network sees; None for its own.
        resize: ``"squash"`` or ``"shortest"`` (short side, then centre crop).
        projection: Keep the network's last linear layer (CLIP's projection).
        chunk: Frames per forward pass in eval mode; bounds the memory.

    Raises:
        MediakitError: No such model.
        WeightsError: The weights cannot be fetched or do not fit.
        ValueError: Unknown ``resize``.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: str = "resnet18",
        weights: str | None = None,
        seed: int = 0,
        frozen: bool = True,
        size: int | None = None,
        resize: str = "squash",
        projection: bool = False,
        chunk: int = 32,
    ) -> None:
        super().__init__()
        if resize not in ("squash", "shortest"):
            raise ValueError(f"resize must be 'squash' or 'shortest', not {resize!r}")
        self.backbone, config = create_image_backbone(
            model, weights, seed, size=size, projection=projection, owner="FrameEncoder"
        )
        self.dim, self.size, self.resize, self.chunk = config.dim, config.size[0], resize, chunk
        self.variant, self.weights, self.seed = model, config.weights, seed
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.std)[:, None, None], persistent=False)
        self.freeze(frozen)

    def images(self, frames: Tensor) -> Tensor:
        """What the network sees: ``(N, 3, H, W)`` -> ``(N, 3, size, size)``, normalised."""
        return (resize_frames(unit_range(frames), self.size, self.resize) - self.mean) / self.std

    def forward(self, frames: Tensor) -> Tensor:
        """``(B, T, 3, H, W)`` uint8 or float in [0, 1], RGB -> ``(B, T, dim)``.

        Raises:
            ValueError: The frames have another shape or type, or floats beyond [0, 1].
        """
        _check_frames(self, frames)
        # In training, batch statistics must see all frames at once (and the graph keeps them all anyway).
        chunk = frames.shape[0] * frames.shape[1] if self.training else self.chunk
        features = in_chunks(lambda part: self.backbone(self.images(part)), frames.flatten(0, 1), chunk)
        return features.unflatten(0, frames.shape[:2])


class ClipEncoder(Encoder):
    """Motion, one vector per clip of consecutive frames: ``(B, F, 3, H, W)`` RGB -> ``(B, T, dim)``.

    ``T = ceil(F / frames_per_clip)``; a short last clip repeats its last frame. The network is R(2+1)D-18 (Tran et al.,
    "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018) behind torchvision's own
    preprocessing for its Kinetics-400 weights: 128 x 171 bilinear, centre crop 112 x 112, Kinetics mean and deviation.

    Input: uint8 or float in [0, 1] at 8 fps, so that a clip of 8 frames is a second. Output: one vector per clip.

    Args:
        model: ``r2plus1d_18``, ``r3d_18`` or ``mc3_18``, 512 features each; or ``reference``, which sees the whole
            frame at 64 x 64 (320 features).
        weights: None (random), ``"pretrained"``, ``"KINETICS400_V1"``, or a local file.
        seed: Seed of the random weights.
        frozen: Parameters and statistics fixed, always in eval mode; False to train it.
        frames_per_clip: Frames per vector.
        chunk: Clips per forward pass in eval mode; bounds the memory.

    Raises:
        MediakitError: No such model.
        WeightsError: The weights cannot be fetched or do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: str = "r2plus1d_18",
        weights: str | None = None,
        seed: int = 0,
        frozen: bool = True,
        frames_per_clip: int = 8,
        chunk: int = 8,
    ) -> None:
        super().__init__()
        self.backbone, config = create_video_backbone(model, weights, seed, owner="ClipEncoder")
        self.dim, self.size, self.resize = config.dim, config.size[0], config.resize or config.size
        self.frames_per_clip, self.chunk = frames_per_clip, chunk
        self.variant, self.weights, self.seed = model, config.weights, seed
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.std)[:, None, None], persistent=False)
        self.freeze(frozen)

    def clips(self, frames: Tensor) -> Tensor:
        """What the network sees: ``(N, F, 3, H, W)`` -> ``(N, 3, F, size, size)``, normalised."""
        flat = unit_range(frames).flatten(0, 1)
        # torchvision shrinks without antialiasing, and its weights are used to that.
        smooth = self.resize == (self.size, self.size)
        images = F.interpolate(flat, self.resize, mode="bilinear", align_corners=False, antialias=smooth)
        top, left = (round((side - self.size) / 2) for side in self.resize)
        images = (images[..., top : top + self.size, left : left + self.size] - self.mean) / self.std
        return images.unflatten(0, frames.shape[:2]).transpose(1, 2)

    def forward(self, frames: Tensor) -> Tensor:
        """``(B, F, 3, H, W)`` uint8 or float in [0, 1], RGB at 8 fps -> ``(B, ceil(F / frames_per_clip), dim)``.

        Raises:
            ValueError: The frames have another shape or type, or floats beyond [0, 1].
        """
        _check_frames(self, frames)
        if short := -frames.shape[1] % self.frames_per_clip:
            frames = torch.cat([frames, frames[:, -1:].expand(-1, short, -1, -1, -1)], dim=1)
        clips = frames.unflatten(1, (-1, self.frames_per_clip))
        chunk = clips.shape[0] * clips.shape[1] if self.training else self.chunk  # as in FrameEncoder
        features = in_chunks(lambda part: self.backbone(self.clips(part)), clips.flatten(0, 1), chunk)
        return features.unflatten(0, clips.shape[:2])


def _check_frames(encoder: nn.Module, frames: Tensor) -> None:
    if frames.ndim != 5 or frames.shape[2] != 3 or 0 in frames.shape:
        raise ValueError(f"{type(encoder).__name__} takes frames (B, T >= 1, 3, H, W), not {tuple(frames.shape)}")
    if frames.is_floating_point() and not within(frames, -0.01, 1.01):
        raise ValueError("float frames must be in [0, 1]; uint8 in 0..255")
