"""Encoders turn sound, pictures, motion and faces into features: ``forward(x) -> (B, T, dim)``, attribute ``dim``.

The names resolve lazily (PEP 562): importing this package loads neither torchvision nor timm nor librosa.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mediakit.encoders.audio import AudioEncoder, log_mel, mel_power
    from mediakit.encoders.face import FaceEncoder
    from mediakit.encoders.identity import Encoder, weight_hash
    from mediakit.encoders.video import ClipEncoder, FrameEncoder

_HOMES = {
    "AudioEncoder": "audio",
    "ClipEncoder": "video",
    "Encoder": "identity",
    "FaceEncoder": "face",
    "FrameEncoder": "video",
    "log_mel": "audio",
    "mel_power": "audio",
    "weight_hash": "identity",
}

__all__ = [
    "AudioEncoder",
    "ClipEncoder",
    "Encoder",
    "FaceEncoder",
    "FrameEncoder",
    "log_mel",
    "mel_power",
    "weight_hash",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
