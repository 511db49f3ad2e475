"""Features drawn for dense labels: a sum of what is on, in the shape that each video gives it, and noise.

Every class has a prototype in each feature. A second is the sum of the prototypes of the classes that are on in it,
each as this video's instance of the class (a gain and a deviation of its own), plus the video's background, plus noise.
What is only heard leaves a trace in the pictures and the other way round; seconds smear into their neighbours; some
classes are alike.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from mediakit.errors import MediakitError

ALIKE = (
    ("Speech", "Singing", "Baby_laughter", "Baby_cry_infant_cry"),
    ("Cheering", "Clapping", "Basketball_bounce"),
    ("Dog", "Cat", "Chicken_rooster"),
    ("Cello", "Banjo", "Violin_fiddle", "Accordion", "Acoustic_guitar"),
    ("Car", "Motorcycle", "Helicopter", "Chainsaw", "Lawn_mower", "Vacuum_cleaner", "Blender", "Frying_(food)"),
    ("Fire_alarm", "Telephone_bell_ringing"),
)
"""Classes of LLP that are taken for one another: voices, crowds, animals, instruments, engines and hisses, bells."""
_CHUNK = 256  # videos drawn at a time; a part of the definition: another size gives other features


@dataclass(frozen=True)
class Difficulty:
    """How hard the features are. A prototype has length 1, so that everything else is relative to it.

    Attributes:
        noise: Standard deviation along any direction of what is drawn for each second; 1 / ``noise`` is the
            signal-to-noise ratio of a detector that knows the prototype, whatever the dimension.
        instance_spread: The same for what a video's instance of a class adds to the prototype in all its seconds.
        background: The same for what a video adds in all its seconds.
        gain: Standard deviation of the logarithm of an instance's strength.
        confusion: Cosine between the prototypes of two classes of one group of `ALIKE`; 0 otherwise. In [0, 1).
        leak: Strength, relative to its own, with which a class shows in the features of the other modality in a second
            in which it is not on there.
        smear: Share of a second that comes from its two neighbours, in [0, 1).

    Raises:
        MediakitError: A value is out of its range.
    """

    noise: float = 0.15
    instance_spread: float = 0.15
    background: float = 0.15
    gain: float = 0.3
    confusion: float = 0.3
    leak: float = 0.4
    smear: float = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value, bounded = getattr(self, field.name), field.name in ("confusion", "smear")
            if not 0 <= value < (1 if bounded else float("inf")):
                raise MediakitError(f"{field.name} must be 0 or more{' and below 1' * bounded}, got {value}.")


def draw_prototypes(groups: Tensor, dim: int, confusion: float, generator: torch.Generator) -> Tensor:
    """Directions of the classes: unit vectors whose cosine is ``confusion`` within a group and 0 between groups.

    Args:
        groups: (K,) group of each class, numbered from 0.
        dim: Feature dimension, D; at least K plus the number of groups.
        confusion: In [0, 1).
        generator: Source of chance.

    Returns:
        float32 (K, D).

    Raises:
        MediakitError: The dimension is too small.
    """
    number = len(groups) + int(groups.max()) + 1
    if dim < number:
        kinds = f"{len(groups)} classes in {number - len(groups)} groups"
        raise MediakitError(f"features of {kinds} need at least {number} dimensions, got {dim}.")
    basis = torch.linalg.qr(torch.randn(dim, number, dtype=torch.double, generator=generator)).Q.T
    own, shared = basis[: len(groups)], basis[len(groups) + groups]
    return (confusion**0.5 * shared + (1 - confusion) ** 0.5 * own).float()


def strengths(own: Tensor, other: Tensor, leak: float, smear: float) -> Tensor:
    """How much of each class is in the features of one modality in each second.

    Args:
        own: (N, T, K) which classes are on in this modality.
        other: (N, T, K) which are on in the other one.
        leak: Strength of a class that is on in the other modality only.
        smear: Share that comes from the two neighbouring seconds; at the ends from the second itself.

    Returns:
        float32 (N, T, K) in [0, 1] for ``leak`` in [0, 1].
    """
    level = torch.where(own.bool(), 1.0, leak * other.float())
    padded = torch.cat([level[:, :1], level, level[:, -1:]], 1)
    return (1 - smear) * level + smear / 2 * (padded[:, :-2] + padded[:, 2:])


def mix(level: Tensor, instances: Tensor, background: Tensor, noise: Tensor) -> Tensor:
    """Features as sums: level (N, T, K) of instances (N, K, D), over background (N, D) and noise (N, T, D).

    Returns:
        float32 (N, T, D).
    """
    return torch.baddbmm(noise + background[:, None], level, instances)


def draw_features(level: Tensor, prototypes: Tensor, difficulty: Difficulty, generator: torch.Generator) -> Tensor:
    """Draws instances, backgrounds and noise, and mixes them.

    Args:
        level: (N, T, K) of `strengths`. More videos begin with the same ones.
        prototypes: (K, D).
        difficulty: What to draw.
        generator: Source of chance.

    Returns:
        float32 (N, T, D).
    """
    videos, segments, classes = level.shape
    features = torch.empty(videos, segments, prototypes.shape[1])
    # A whole chunk is drawn even where fewer videos are left, or the last ones would depend on how many there are.
    drawn = torch.empty(_CHUNK, classes + 1 + segments, prototypes.shape[1])
    gains = torch.empty(_CHUNK, classes)
    for start in range(0, videos, _CHUNK):
        drawn.normal_(generator=generator)
        gains.normal_(generator=generator)
        part = level[start : start + _CHUNK]
        deviation, background, noise = drawn[: len(part)].split([classes, 1, segments], 1)
        gain = (difficulty.gain * gains[: len(part), :, None]).exp()
        instances = gain * (prototypes + difficulty.instance_spread * deviation)
        background, noise = difficulty.background * background[:, 0], difficulty.noise * noise
        features[start : start + len(part)] = mix(part, instances, background, noise)
    return features
