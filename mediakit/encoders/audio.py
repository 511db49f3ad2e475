"""Sound: log-mel spectrograms in torch and an encoder that gives one vector per segment of time.

The mel power is librosa's (Slaney's filters, periodic Hann window, centred frames padded with zeros), but runs on any
device, inside autograd and inside the network that reads it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from mediakit.encoders.backbones import create_image_backbone
from mediakit.encoders.identity import Encoder, within
from mediakit.errors import require

_LOUDEST = 10.0  # mixing and augmentation overshoot 1; samples that were never scaled go far beyond this


@lru_cache(maxsize=16)
def mel_filters(
    rate: int = 16000, n_fft: int = 1024, n_mels: int = 128, fmin: float = 0.0, fmax: float | None = None
) -> Tensor:
    """Slaney's triangular mel filters, each of unit area, from librosa.

    Args:
        rate: Sampling rate in Hz.
        n_fft: Samples per window.
        n_mels: Number of filters.
        fmin: Lowest frequency in Hz.
        fmax: Highest frequency in Hz; None for ``rate / 2``.

    Returns:
        ``(n_mels, n_fft // 2 + 1)`` float32; shared between calls, not to be written to.

    Raises:
        MissingPackageError: librosa is not installed.
    """
    filters = require("librosa.filters", "The mel filter bank").mel(
        sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax
    )
    return torch.from_numpy(filters)


def mel_power(
    waveform: Tensor,
    rate: int = 16000,
    n_fft: int = 1024,
    hop_length: int = 160,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    power: float = 2.0,
    filters: Tensor | None = None,
) -> Tensor:
    """Mel spectrogram, equal to ``librosa.feature.melspectrogram`` within 1e-4 of each frame's maximum.

    Always computed in float32 (float64 for a float64 waveform), also under autocast.

    Args:
        waveform: ``(..., N)`` float samples, N >= 1.
        rate: Sampling rate in Hz.
        n_fft: Samples per window.
        hop_length: Samples between frames.
        n_mels: Number of mel bands.
        fmin: Lowest frequency in Hz.
        fmax: Highest frequency in Hz; None for ``rate / 2``.
        power: 2 for power, 1 for magnitude.
        filters: The filter bank, where the caller keeps it (then ``rate``, ``n_mels``, ``fmin``, ``fmax`` are unused).

    Returns:
        ``(..., n_mels, 1 + N // hop_length)``; frame i is centred on sample ``i * hop_length``.

    Raises:
        ValueError: The waveform is empty or not of floating point.
    """
    if not waveform.is_floating_point() or waveform.ndim == 0 or waveform.shape[-1] == 0:
        raise ValueError(f"waveform must be (..., N >= 1) float, not {tuple(waveform.shape)} {waveform.dtype}")
    dtype = torch.float64 if waveform.dtype == torch.float64 else torch.float32
    if filters is None:
        filters = mel_filters(rate, n_fft, n_mels, fmin, fmax)
    with torch.autocast(waveform.device.type, enabled=False):
        flat = waveform.to(dtype).reshape(-1, waveform.shape[-1])
        window = torch.hann_window(n_fft, dtype=dtype, device=waveform.device)
        spectrum = torch.stft(
            flat, n_fft, hop_length, window=window, center=True, pad_mode="constant", return_complex=True
        )
        if power == 2.0:
            energy = torch.view_as_real(spectrum).square().sum(-1)  # smooth at zero, unlike abs()
        else:
            energy = spectrum.abs().pow(power)
        mel = filters.to(energy) @ energy
    return mel.reshape(*waveform.shape[:-1], *mel.shape[-2:])


def power_to_db(power: Tensor, ref: float = 1.0, amin: float = 1e-10, top_db: float | None = None) -> Tensor:
    """Decibels, ``10 log10(max(amin, power) / max(amin, ref))``, as ``librosa.power_to_db``.

    Args:
        power: Power, any shape.
        ref: What 0 dB is; the fixed 1.0 keeps quiet sound quiet.
        amin: Floor of the power; 1e-10 is -100 dB.
        top_db: Floor below the tensor's own maximum in dB; None for none, so that no item depends on its batch.

    Returns:
        dB, same shape.
    """
    decibels = 10.0 * power.clamp(min=amin).log10() - 10.0 * math.log10(max(amin, ref))
    return decibels if top_db is None else decibels.clamp(min=decibels.amax() - top_db)


def log_mel(
    waveform: Tensor,
    rate: int = 16000,
    n_fft: int = 1024,
    hop_length: int = 160,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    power: float = 2.0,
    filters: Tensor | None = None,
) -> Tensor:
    """Log-mel spectrogram in dB: `.power_to_db` (ref 1.0, floor -100 dB) of `mel_power`; same arguments.

    Returns:
        ``(..., n_mels, 1 + N // hop_length)`` in dB.
    """
    return power_to_db(mel_power(waveform, rate, n_fft, hop_length, n_mels, fmin, fmax, power, filters))


class AudioEncoder(Encoder):
    """Sound to one vector per segment: ``(B, N)`` mono waveform -> ``(B, T, dim)``.

    ``T = max(1, ceil(N / (segment * rate) - 0.05))``: a remainder of at most 5 % of a segment opens none, because
    files last a little longer than they say (a clip of 5.001 s gives five vectors).

    The log-mel of the whole waveform is cut into segments, each an image of one channel, frames x mels (time is the
    first axis, the layout of AudioMAE), and all B * T images pass through one timm network together. A short last
    segment is filled up with silence. A network of fixed size gets its images resized bilinearly.

    Input: float samples in [-1, 1] at ``rate`` Hz, mono: the waveform of ``read_audio(path, rate=rate, channels=1)`` is
    (1, N), a batch of one. One of two channels, (2, N), would be taken as a batch of two. Output: one vector each
    ``segment`` seconds.

    Args:
        model: Any timm model, or ``vit_base_patch16_1024_128`` for AudioMAE (1024 frames x 128 mels, made for
            ``segment=10``; it was trained with half the spread, so give it ``db_std=44.8``, and on Kaldi's filter bank,
            which is close to this one but not the same); or ``reference``.
        weights: None (random), ``"pretrained"``, a timm tag, or a local file. Weights for pictures are adapted to the
            one channel.
        seed: Seed of the random weights.
        frozen: Parameters and statistics fixed, always in eval mode; False to train it.
        rate: Sampling rate in Hz.
        segment: Seconds per vector; 10 gives one vector for a whole 10 s clip.
        n_fft: Samples per window of the spectrogram.
        hop_length: Samples between frames of the spectrogram.
        n_mels: Number of mel bands.
        fmin: Lowest frequency in Hz.
        fmax: Highest frequency in Hz; None for ``rate / 2``.
        db_mean: Subtracted from the log-mel, in dB. The default is the mean over the 150 ESC-10 recordings at the
            default settings, digital silence left out (-27.2 dB).
        db_std: Divides it, in dB; the default is their standard deviation (22.4 dB).

    Raises:
        MediakitError: No such model.
        WeightsError: The weights cannot be fetched or do not fit.
        ValueError: ``segment`` is shorter than one frame.
    """

    filters: Tensor

    def __init__(
        self,
        model: str = "resnet18",
        weights: str | None = None,
        seed: int = 0,
        frozen: bool = True,
        rate: int = 16000,
        segment: float = 1.0,
        n_fft: int = 1024,
        hop_length: int = 160,
        n_mels: int = 128,
        fmin: float = 0.0,
        fmax: float | None = None,
        db_mean: float = -27.2,
        db_std: float = 22.4,
    ) -> None:
        super().__init__()
        if segment * rate < hop_length:
            raise ValueError(f"segment={segment} s is shorter than one frame ({hop_length / rate} s)")
        self.backbone, config = create_image_backbone(model, weights, seed, in_chans=1, owner="AudioEncoder")
        self.dim, self.size = config.dim, config.size if config.fixed_size else None
        self.variant, self.weights, self.seed = model, config.weights, seed
        self.rate, self.segment_length = rate, round(segment * rate)
        self.n_fft, self.hop_length, self.db_mean, self.db_std = n_fft, hop_length, db_mean, db_std
        # Derived from the arguments, so neither saved nor hashed.
        self.register_buffer("filters", mel_filters(rate, n_fft, n_mels, fmin, fmax), persistent=False)
        self.freeze(frozen)

    def images(self, waveform: Tensor) -> Tensor:
        """Normalised log-mel segments before any resizing: ``(B, N)`` -> ``(B, T, 1, frames, n_mels)``."""
        if not isinstance(waveform, Tensor):
            raise ValueError(
                f"AudioEncoder takes a waveform tensor (B, N), not {type(waveform).__name__}; "
                f"pass audio.waveform of read_audio(..., rate={self.rate}, channels=1)"
            )
        if waveform.ndim != 2 or waveform.shape[1] == 0:
            raise ValueError(f"AudioEncoder takes a waveform (B, N >= 1) mono, not {tuple(waveform.shape)}")
        if not waveform.is_floating_point() or not within(waveform, -_LOUDEST, _LOUDEST):
            raise ValueError(
                "AudioEncoder takes float samples in [-1, 1], but these are integers, NaN or far larger; "
                "divide integers by their full scale (int16: waveform / 32768)"
            )
        count = max(1, -(-(waveform.shape[1] - self.segment_length // 20) // self.segment_length))
        waveform = F.pad(waveform, (0, max(0, count * self.segment_length - waveform.shape[1])))
        decibels = log_mel(waveform, n_fft=self.n_fft, hop_length=self.hop_length, filters=self.filters).float()
        # Frame numbers per segment, rounded where a segment is no whole number of hops (in integers: exact for hours).
        segment, hop = self.segment_length, self.hop_length
        starts = (2 * segment * torch.arange(count, device=waveform.device) + hop) // (2 * hop)
        frames = starts[:, None] + torch.arange(round(segment / hop), device=waveform.device)
        segments = ((decibels - self.db_mean) / self.db_std).transpose(1, 2)[:, frames]
        return segments.unsqueeze(2)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, N)`` mono waveform in [-1, 1] at ``rate`` Hz -> ``(B, T, dim)``.

        Raises:
            ValueError: The waveform has another shape, is not float, or holds NaN or values far beyond 1.
        """
        images = self.images(waveform)
        flat = images.flatten(0, 1)
        if self.size is not None and flat.shape[-2:] != self.size:
            flat = F.interpolate(flat, self.size, mode="bilinear", align_corners=False, antialias=True)
        return self.backbone(flat).unflatten(0, images.shape[:2])
