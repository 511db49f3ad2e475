"""From the card of an encoder back to the encoder: what a model was trained on, for a file that it has not seen."""

from __future__ import annotations

import os
import re

from mediakit.encoders.audio import AudioEncoder
from mediakit.encoders.video import ClipEncoder, FrameEncoder
from mediakit.encoders.weight_files import WEIGHT_FILES
from mediakit.errors import WeightsError
from mediakit.features import Card, same_encoder

_KINDS: dict[str, tuple[type[AudioEncoder | FrameEncoder | ClipEncoder], str]] = {
    "audio": (AudioEncoder, "--audio-weights"),
    "frames": (FrameEncoder, "--frame-weights"),
    "clips": (ClipEncoder, "--clip-weights"),
}


def rebuild_encoder(
    card: Card | None, feature: str, weights: str | os.PathLike[str] | None = None
) -> AudioEncoder | FrameEncoder | ClipEncoder:
    """Builds the encoder that a card describes, and makes sure that it is the same one.

    Weights that come with the package, published ones and random ones (from their seed) are found by the card alone; of
    a weight file the card keeps the name and the hash, so the file must be given.

    Args:
        card: ``card()`` of the encoder, as it travels in checkpoints and manifests.
        feature: ``"audio"``, ``"frames"`` or ``"clips"``.
        weights: A local weight file, or a tag, in place of the card's.

    Returns:
        The encoder with its default arguments, frozen.

    Raises:
        WeightsError: The card is missing or of no encoder of mediakit's, or its weights are not at hand; the message
            says which argument takes them.
        MediakitError: What was built has other weights than the card says.
    """
    kind, option = _KINDS[feature]
    if card is None:
        raise WeightsError(
            f"nothing says which encoder made the {feature} features that the model was trained on, so there is none "
            "for a new file. Train it on features that `mediakit extract` made, or give the encoders in Python."
        )
    name = str(card.get("name"))
    found = re.fullmatch(rf"{kind.__name__}\((.+)\)", name)
    if found is None:
        raise WeightsError(
            f"the {feature} features that the model was trained on were made by {name}, which cannot be rebuilt from "
            "its name. Give the encoders in Python."
        )
    told = None if card.get("weights") == "none" else str(card.get("weights"))
    if weights is None and told is not None and told.endswith(WEIGHT_FILES):
        raise WeightsError(
            f"the {feature} features that the model was trained on were made by {name} with the weight file {told} "
            f"(sha256 {str(card.get('sha256'))[:8]}...), which is not at hand. Give it with {option} FILE, in Python "
            f"as weights={{{feature!r}: FILE}}."
        )
    encoder = kind(found[1], weights=told if weights is None else os.fspath(weights), seed=int(card.get("seed") or 0))
    same_encoder(card, encoder.card(), feature)
    return encoder
