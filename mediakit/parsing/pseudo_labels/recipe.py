"""Segment pseudo-labels: zero-shot similarity with each class's name, thresholded, kept where the weak label allows.

Lai, Chen and Wang, "Modality-Independent Teachers Meet Weakly-Supervised Audio-Visual Event Parser" (VALOR, NeurIPS
2023, arXiv 2305.17343): a picture-text model says what is seen in a second, a sound-text model what is heard, neither
of them disturbed by the other. The numbers below are those that its authors ran.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mediakit.errors import MediaError, MediakitError
from mediakit.io.files import StrPath, check_readable

T = TypeVar("T", float, str)

MODALITIES = ("audio", "visual")
"""In the order that they have everywhere."""

TEMPLATES = {"audio": "This is a sound of {label}", "visual": "A photo of {label}."}
"""Prompt by modality; ``{label}`` is the class's name in words."""

THRESHOLDS = {"audio": 2.0, "visual": 15.0}
"""Thresholds of classes that `VALOR` does not know: the medians of those that it does, for its two networks."""


class ClassPrompt(NamedTuple):
    """What VALOR takes for one class.

    Attributes:
        heard: Label in the sound prompt.
        seen: Label in the picture prompt.
        audio: Threshold on the sound similarity.
        visual: Threshold on the picture similarity.
    """

    heard: str
    seen: str
    audio: float
    visual: float


VALOR: dict[str, ClassPrompt] = {
    "Speech": ClassPrompt("speech", "people talking", 0, 20),
    "Car": ClassPrompt("car", "a car", 0, 15),
    "Cheering": ClassPrompt("cheering", "people cheering", 1, 18),
    "Dog": ClassPrompt("dog", "a dog", 4, 14),
    "Cat": ClassPrompt("cat", "a cat", 6, 15),
    "Frying_(food)": ClassPrompt("frying (food)", "frying food", -2, 18),
    "Basketball_bounce": ClassPrompt("basketball bounce", "people playing basketball", 4, 18),
    "Fire_alarm": ClassPrompt("fire alarm", "a fire alarm", 4, 15),
    "Chainsaw": ClassPrompt("chainsaw", "a chainsaw", 2, 15),
    "Cello": ClassPrompt("cello", "a cello", 2, 15),
    "Banjo": ClassPrompt("banjo", "a banjo", 2, 15),
    "Singing": ClassPrompt("singing", "people singing", 1, 18),
    "Chicken_rooster": ClassPrompt("chicken, rooster", "a chicken or a rooster", 2, 15),
    "Violin_fiddle": ClassPrompt("violin fiddle", "a violin", 3, 15),
    "Vacuum_cleaner": ClassPrompt("vacuum cleaner", "a vacuum cleaner", 0, 15),
    "Baby_laughter": ClassPrompt("baby laughter", "a laughing baby", 2, 15),
    "Accordion": ClassPrompt("accordion", "an accordion", 2, 15),
    "Lawn_mower": ClassPrompt("lawn mower", "a lawnmower", 2, 15),
    "Motorcycle": ClassPrompt("motorcycle", "a motorcycle", 0, 15),
    "Helicopter": ClassPrompt("helicopter", "a helicopter", 2, 16),
    "Acoustic_guitar": ClassPrompt("acoustic guitar", "an acoustic guitar", -1, 14),
    "Telephone_bell_ringing": ClassPrompt("telephone bell ringing", "a ringing telephone", 2, 15),
    "Baby_cry_infant_cry": ClassPrompt("baby cry, infant cry", "a crying baby", 3, 15),
    "Blender": ClassPrompt("blender", "a blender", 3, 15),
    "Clapping": ClassPrompt("clapping", "hands clapping", 0, 18),
}
"""The classes of LLP as VALOR's authors prompt and threshold them, for CLIP ViT-L/14 and CLAP (630k, fusion)."""


def class_prompts(
    classes: Sequence[str], modality: str, prompt: str | Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """One sentence per class that a picture or a sound is compared with.

    Args:
        classes: Names of the classes.
        modality: ``"audio"`` or ``"visual"``.
        prompt: One sentence with ``{label}`` for all, which becomes the class's name with blanks for underscores, in
            lower case for sound; or a sentence by class name. None, and a class that is not named, takes that of
            `TEMPLATES`, with the words of `VALOR` for the classes of LLP.

    Returns:
        K sentences.

    Raises:
        MediakitError: The one sentence lacks ``{label}``, or a class is named that is not there.
    """
    if isinstance(prompt, str) and "{label}" not in prompt:
        raise MediakitError(f"the {modality} prompt {prompt!r} lacks {{label}}, where the class's name goes.")
    given = {} if prompt is None or isinstance(prompt, str) else dict(prompt)
    _check_known(given, classes, f"{modality} prompts")
    template = prompt if isinstance(prompt, str) else TEMPLATES[modality]
    sentences = []
    for name in classes:
        label = name.replace("_", " ").lower() if modality == "audio" else name.replace("_", " ")
        if name in VALOR and not isinstance(prompt, str):
            label = VALOR[name].heard if modality == "audio" else VALOR[name].seen
        sentences.append(given.get(name, template.replace("{label}", label)))
    return tuple(sentences)


def class_thresholds(
    classes: Sequence[str], modality: str, threshold: float | Mapping[str, float] | None = None
) -> tuple[float, ...]:
    """One threshold per class.

    Args:
        classes: Names of the classes.
        modality: ``"audio"`` or ``"visual"``.
        threshold: One number for all, or a number by class name. None, and a class that is not named, takes that of
            `VALOR` or, for other classes than LLP's, of `THRESHOLDS`.

    Returns:
        K numbers.

    Raises:
        MediakitError: A class is named that is not there, or a threshold is no finite number.
    """
    given = dict.fromkeys(classes, threshold) if isinstance(threshold, int | float) else dict(threshold or {})
    _check_known(given, classes, f"{modality} thresholds")
    default = THRESHOLDS[modality]
    usual = {name: getattr(VALOR[name], modality) if name in VALOR else default for name in classes}
    values = tuple(float(given.get(name, usual[name])) for name in classes)
    if not torch.tensor(values).isfinite().all():
        raise MediakitError(f"the {modality} thresholds must be finite numbers, got {threshold}.")
    return values


def similarity(media: Tensor, text: Tensor, scale: float = 1.0, bias: float = 0.0) -> Tensor:
    """The logits of zero-shot classification: ``scale * cosine + bias``.

    Args:
        media: Embeddings of seconds, (..., T, D).
        text: Embeddings of the class prompts, (K, D).
        scale: The network's learned inverse temperature (100 for CLIP).
        bias: The network's learned offset (SigLIP); 0 for others.

    Returns:
        (..., T, K), higher where the second looks or sounds more like the class.
    """
    return scale * F.normalize(media, dim=-1) @ F.normalize(text, dim=-1).T + bias


def pseudo_labels(similarity: Tensor, weak: Tensor, threshold: float | Tensor) -> Tensor:
    """Which class is taken for present in which second: similarity above the threshold, and class in the weak label.

    Args:
        similarity: (..., T, K), see `similarity`.
        weak: 0 or 1, (..., K): the video's label, whatever the modality.
        threshold: One for all classes or (K,), on the scale of the similarity.

    Returns:
        uint8 (..., T, K).

    Raises:
        ValueError: The shapes do not fit, or a similarity is NaN.
    """
    if weak.shape != similarity.shape[:-2] + similarity.shape[-1:]:
        raise ValueError(
            f"weak must be (..., K) where similarity is (..., T, K), got {(*weak.shape,)} and {(*similarity.shape,)}"
        )
    if isinstance(threshold, Tensor) and threshold.ndim and threshold.shape != similarity.shape[-1:]:
        raise ValueError(f"threshold must be a number or (K,) = ({similarity.shape[-1]},), got {(*threshold.shape,)}")
    if similarity.isnan().any():
        raise ValueError("a similarity is NaN, which is neither above a threshold nor below it")
    return ((similarity > threshold) & weak.bool().unsqueeze(-2)).to(torch.uint8)


def read_by_class(path: StrPath, kind: type[T]) -> dict[str, T]:
    """Reads thresholds (``float``) or sentences (``str``) by class from a JSON file: ``{"Speech": 20, ...}``.

    Raises:
        MediaError: The file cannot be read, or holds something else.
    """
    try:
        found = json.loads(check_readable(path).read_text("utf-8"))
    except ValueError as error:
        raise MediaError(path, f"is no JSON ({error})", 'Write {"class": value, ...}.') from error
    wanted = (int, float) if kind is float else (kind,)
    if not isinstance(found, dict) or not all(type(value) in wanted for value in found.values()):
        what = "thresholds" if kind is float else "sentences"
        raise MediaError(path, f"holds no {what} by class", 'Write {"class": value, ...}.')
    return {name: kind(value) for name, value in found.items()}


def _check_known(given: Mapping[str, object], classes: Sequence[str], what: str) -> None:
    if unknown := sorted(given.keys() - {*classes}):
        raise MediakitError(f"the {what} name a class {unknown[0]!r} that is not among {', '.join(classes)}.")
