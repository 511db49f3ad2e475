"""What a parsing model found in one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mediakit.encoders.reference import REFERENCE_TAG
from mediakit.features import Card
from mediakit.parsing.events import Event


@dataclass(frozen=True, eq=False)
class ParsingResult:
    """The events of one file, and what they were decided on.

    Attributes:
        classes: The K classes that the model knows.
        duration: Seconds.
        frame_prob: ``(S, 2, K)`` probability of each class in each second, audio first; overlapping windows blended.
        video_prob: ``(K,)`` probability that the class occurs in the file: the largest over the windows.
        audio_prob: ``(K,)``, that it is heard.
        visual_prob: ``(K,)``, that it is seen.
        events: By start; those of modality ``"audio-visual"`` are derived: when a class is heard and seen at once.
        absent: Why there can be no events of a modality: ``"audio"``, ``"visual"``.
        protocol: The rule of decision (`.decide`); where one modality is absent, the other's own filter took its place.
        windows: First second, and the one after the last, of each window that the network saw.
        model: Class of the network, SHA-256 of its weights, and the checkpoint's name and SHA-256 where it is known.
        encoders: Card of the encoder behind each feature.
    """

    classes: tuple[str, ...]
    duration: float
    frame_prob: Tensor
    video_prob: Tensor
    audio_prob: Tensor
    visual_prob: Tensor
    events: tuple[Event, ...]
    absent: dict[str, str]
    protocol: str
    windows: tuple[tuple[int, int], ...]
    model: dict[str, Any]
    encoders: dict[str, Card]

    @property
    def synthetic(self) -> bool:
        """Whether an encoder was trained on generated media alone, which says little about real ones."""
        return any(card.get("weights") == REFERENCE_TAG for card in self.encoders.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, all but the probabilities of single seconds."""
        return {
            "events": [event._asdict() for event in self.events],
            "classes": list(self.classes),
            "duration": self.duration,
            "probabilities": {
                name: dict(zip(self.classes, values.tolist(), strict=True))
                for name, values in (
                    ("video", self.video_prob),
                    ("audio", self.audio_prob),
                    ("visual", self.visual_prob),
                )
            },
            "absent": dict(self.absent),
            "protocol": self.protocol,
            "windows": [list(window) for window in self.windows],
            "model": dict(self.model),
            "encoders": {name: dict(card) for name, card in self.encoders.items()},
        }
