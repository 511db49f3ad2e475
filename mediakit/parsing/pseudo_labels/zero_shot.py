"""The two teachers of VALOR: CLIP compares a picture with words, CLAP a second of sound.

CLIP comes from open_clip, CLAP from transformers (``pip install "mediakit[pseudo]"``). Both take a published name,
which is fetched once, or a local folder, which needs no network. Weight files are read as plain tensors, never
unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mediakit.encoders.identity import Identity, within
from mediakit.encoders.video import resize_frames, unit_range
from mediakit.parsing.pseudo_labels.teacher_files import load_clap, load_clip, optional

CLIP_MODEL, CLIP_WEIGHTS = "ViT-L-14-quickgelu", "openai"
"""VALOR's picture teacher, by open_clip's names."""

CLAP_MODEL = "laion/clap-htsat-fused"
"""The published CLAP that is nearest to VALOR's sound teacher (LAION's, 630k, fusion), by its name on the hub."""

_HEARD = (
    *("feature_size", "sampling_rate", "hop_length", "max_length_s", "fft_window_size", "truncation", "padding"),
    *("frequency_min", "frequency_max", "top_db"),
)
_CHUNK = 16  # seconds of sound per forward pass: each is padded to CLAP's ten


class ClipTeacher(Identity, nn.Module):
    """Pictures and words to one space: ``(B, T, 3, H, W)`` RGB -> ``(B, T, D)``, on the CPU.

    As VALOR does, and other than CLIP's own preprocessing, the whole picture is squashed into the square: what happens
    at its sides counts.

    Args:
        model: A model of open_clip (``ViT-B-32``), ``hf-hub:`` and a name on the hub, or a local folder with
            ``open_clip_config.json`` and its weights.
        weights: A tag of open_clip (``openai``) or a local file; None where the model is a folder or on the hub. A
            local file is taken for one that sees pictures as OpenAI's CLIP does; a folder says so itself.
        device: Where it computes.

    Attributes:
        scale: Factor of the cosine in its logits.
        bias: Summand in its logits; 0 for CLIP, not for SigLIP.

    Raises:
        MissingPackageError: open_clip is not installed.
        MediakitError: There is no such model, or it has no weights.
        WeightsError: The weights cannot be fetched or do not fit.
    """

    network: Any
    tokenizer: Any

    def __init__(self, model: str = CLIP_MODEL, weights: str | None = None, device: str = "cpu") -> None:
        super().__init__()
        open_clip = optional("open_clip", "Pseudo-labels from pictures")
        weights = CLIP_WEIGHTS if model == CLIP_MODEL and weights is None else weights
        self.variant = "" if os.path.isdir(model) else model
        self.weights = weights or os.path.basename(os.path.normpath(model))
        self.network, name = load_clip(open_clip, model, weights)
        self.tokenizer = open_clip.get_tokenizer(name)
        seen = open_clip.get_model_preprocess_cfg(self.network)
        size = seen["size"] if isinstance(seen["size"], int) else max(seen["size"])
        self.size, self.mean, self.std = size, tuple(seen["mean"]), tuple(seen["std"])
        self.scale = self.network.logit_scale.detach().exp().item()
        bias = getattr(self.network, "logit_bias", None)
        self.bias = 0.0 if bias is None else bias.item()
        self.device = torch.device(device)
        self.requires_grad_(False).eval().to(self.device)

    @torch.inference_mode()
    def forward(self, frames: Tensor) -> Tensor:
        """``(B, T, 3, H, W)`` uint8, or float in [0, 1] -> embeddings ``(B, T, D)`` of length 1."""
        images = resize_frames(unit_range(frames.flatten(0, 1).to(self.device)), self.size, "squash")
        mean, std = images.new_tensor(self.mean)[:, None, None], images.new_tensor(self.std)[:, None, None]
        embedded = self.network.encode_image((images - mean) / std)
        return F.normalize(embedded.float(), dim=-1).cpu().unflatten(0, frames.shape[:2])

    @torch.inference_mode()
    def embed_text(self, sentences: Sequence[str]) -> Tensor:
        """K sentences -> embeddings ``(K, D)`` of length 1."""
        tokens = self.tokenizer(list(sentences)).to(self.device)
        return F.normalize(self.network.encode_text(tokens).float(), dim=-1).cpu()

    def card(self) -> dict[str, Any]:
        """As `.Identity.card`, with what the weights alone do not tell."""
        quick = any(type(module).__name__ == "QuickGELU" for module in self.network.modules())
        seen = {"size": self.size, "mean": list(self.mean), "std": list(self.std)}
        return {**super().card(), **seen, "quick_gelu": quick}


class ClapTeacher(Identity, nn.Module):
    """Sound and words to one space, second by second: ``(B, N)`` mono waveform -> ``(B, N / rate, D)``, on the CPU.

    Each second is heard alone: repeated up to CLAP's ten seconds, as its own preprocessing does with short sounds.

    Args:
        model: A name on the hub or a local folder of a ``ClapModel`` and its processor, as ``save_pretrained`` writes
            them; the folder may hold ``pytorch_model.bin`` instead of safetensors.
        device: Where it computes.

    Attributes:
        rate: Samples per second that it hears.
        scale: Factor of the cosine in its logits.

    Raises:
        MissingPackageError: transformers is not installed.
        WeightsError: The folder is incomplete, the weights do not fit, or the name cannot be fetched.
    """

    network: Any
    tokenizer: Any
    listen: Any
    bias = 0.0

    def __init__(self, model: str = CLAP_MODEL, device: str = "cpu") -> None:
        super().__init__()
        transformers = optional("transformers", "Pseudo-labels from sound")
        self.variant = "" if os.path.isdir(model) else model
        self.weights = os.path.basename(os.path.normpath(model))
        self.network, processor = load_clap(transformers, model)
        self.listen, self.tokenizer = processor.feature_extractor, processor.tokenizer
        self.rate = self.segment_length = self.hop_length = int(self.listen.sampling_rate)
        self.scale = self.network.logit_scale_a.detach().exp().item()
        self.device = torch.device(device)
        self.requires_grad_(False).eval().to(self.device)

    @torch.inference_mode()
    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, N)`` mono floats in [-1, 1], ``rate`` a second -> embeddings ``(B, T, D)`` of length 1.

        T is that of `.AudioEncoder`: a remainder of at most 5 % of a second opens none, a longer one is filled up with
        silence.

        Raises:
            ValueError: The waveform is no batch of samples, or far out of range.
        """
        if waveform.ndim != 2 or waveform.shape[1] == 0:
            raise ValueError(f"waveform must be (B, N >= 1) mono, got {(*waveform.shape,)}")
        if not waveform.is_floating_point() or not within(waveform, -10.0, 10.0):
            raise ValueError("waveform must be float in [-1, 1]; divide integers by their full scale")
        count = max(1, -(-(waveform.shape[1] - self.rate // 20) // self.rate))
        waveform = F.pad(waveform, (0, max(0, count * self.rate - waveform.shape[1])))[:, : count * self.rate]
        seconds = waveform.unflatten(1, (count, self.rate))
        parts = [self._embed(part) for part in seconds.flatten(0, 1).split(_CHUNK)]
        return torch.cat(parts).unflatten(0, seconds.shape[:2])

    def _embed(self, seconds: Tensor) -> Tensor:
        heard = self.listen(list(seconds.cpu().numpy()), sampling_rate=self.rate, return_tensors="pt")
        # For a network with fusion, the preprocessing marks one sound, drawn at random, as a long one. None is.
        longer = torch.zeros(len(seconds), 1, dtype=torch.bool, device=self.device)
        mel = heard["input_features"].to(self.device, torch.float32)
        return _pooled(self.network.get_audio_features(input_features=mel, is_longer=longer))

    @torch.inference_mode()
    def embed_text(self, sentences: Sequence[str]) -> Tensor:
        """K sentences -> embeddings ``(K, D)`` of length 1."""
        tokens = self.tokenizer(list(sentences), padding=True, return_tensors="pt").to(self.device)
        found = self.network.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return _pooled(found)

    def card(self) -> dict[str, Any]:
        """As `.Identity.card`, with what the weights alone do not tell."""
        settings = self.listen.to_dict()
        return {**super().card(), **{name: settings[name] for name in _HEARD if name in settings}}


def _pooled(found: Any) -> Tensor:
    """Embeddings of length 1, which transformers 5 wraps and 4 does not."""
    return F.normalize(getattr(found, "pooler_output", found).float(), dim=-1).cpu()
