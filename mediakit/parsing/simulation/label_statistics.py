"""How labels fall in audio-visual video parsing: counted in annotated videos, and drawn again with the same habits.

A few thousand counts say which classes come together, how often each is only heard, only seen or both, and how its
events begin and end. Those of LLP's validation split come with the package, so that labels like LLP's can be drawn
without LLP.

Model: a class of a video has an *extent* in each modality (none, part or whole of it), drawn jointly, by
whether it is alone. A part is drawn
from all patterns of seconds: of the distributions with the class's shares of runs, of seconds that are on, and of parts
that touch the video's start and end, the most even one (iterative proportional fitting). Where both extents are parts,
they are equal in a counted share of cases; otherwise the audio one is tilted towards the seconds of the visual one.
Not modelled: what the events of one class do to those of another in the same video (LLP's take turns a little: two
classes that are heard for a part agree in 39 % of the seconds, 49 % if they were independent).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from mediakit.errors import MediakitError
from mediakit.parsing.annotations.tables import Annotations

LONGEST = 16
"""Seconds of a video at most: a distribution over all 2^T patterns of on and off is held for each class."""
_BORROWED, _SWEEPS = 3.0, 20
_PLAIN = ("source", "classes", "segments")


@dataclass(frozen=True, eq=False)
class LabelStatistics:
    """Counts in N annotated videos of T seconds with K classes; all int64.

    Attributes:
        source: What was counted.
        classes: Names of the K classes.
        segments: T.
        sizes: (M + 1,) videos with 0 to M classes.
        alone: (K,) videos whose only class this is.
        pairs: (2, K, K) videos that have both classes and no other, and both and others; symmetric, 0 on the diagonal.
        extents: (2, K, 3, 3) videos with this class and no other, and with others, by its audio and its visual extent:
            none, part, whole.
        runs: (2, K, T) audio and visual parts by number of runs of seconds that are on.
        lengths: (2, K, T) the same parts by number of seconds that are on.
        edges: (2, K, 4) the same parts by what is on: neither first nor last second, the first, the last, both.
        likeness: (3,) classes with a part in both modalities: equal parts, unequal parts, and seconds in which the
            unequal ones agree.
    """

    source: str
    classes: tuple[str, ...]
    segments: int
    sizes: Tensor
    alone: Tensor
    pairs: Tensor
    extents: Tensor
    runs: Tensor
    lengths: Tensor
    edges: Tensor
    likeness: Tensor

    @classmethod
    def count(cls, annotations: Annotations) -> LabelStatistics:
        """Counts in videos whose dense truth is known.

        Raises:
            MediakitError: The truth of a modality is missing, or the videos are too long (`LONGEST`).
        """
        if annotations.audio is None or annotations.visual is None:
            raise MediakitError(
                f"{annotations.source}: label statistics need the seconds of both modalities. Take LLP's val split."
            )
        weak, dense = annotations.labels.bool(), torch.stack([annotations.audio, annotations.visual]).bool()
        size = weak.sum(1)
        together = [weak[size == 2].float(), weak[size > 2].float()]
        pairs = torch.stack([(rows.T @ rows).long().fill_diagonal_(0) for rows in together])
        video, k = weak.nonzero(as_tuple=True)
        parts = dense[:, video, :, k].transpose(0, 1)  # advanced indices on both sides of a slice come first
        extent = _extent(parts)
        row = (size[video] > 1) * weak.shape[1] + k
        extents = _histogram(row, extent[0] * 3 + extent[1], 2 * weak.shape[1], 9)
        extents[:, 0] = 0  # in the weak label, but heard and seen nowhere: a slip of the annotators
        shapes = [
            [_histogram(k[part], value, weak.shape[1], size) for value, size in _shape(pattern[part])]
            for pattern, part in zip(parts, extent == 1, strict=True)
        ]
        runs, lengths, edges = (torch.stack(pair) for pair in zip(*shapes, strict=True))
        audio, visual = parts[:, (extent == 1).all(0)]
        unequal = (audio != visual).any(-1)
        agreeing = (audio == visual)[unequal].sum()
        return cls(
            source=annotations.source,
            classes=annotations.classes,
            segments=_checked(dense.shape[2]),
            sizes=torch.bincount(size),
            alone=weak[size == 1].sum(0),
            pairs=pairs,
            extents=extents.view(2, -1, 3, 3),
            runs=runs,
            lengths=lengths,
            edges=edges,
            likeness=torch.stack([(~unequal).sum(), unequal.sum(), agreeing]),
        )

    @classmethod
    def llp(cls) -> LabelStatistics:
        """Counts in the validation split of Look, Listen and Parse (649 videos; Tian et al., ECCV 2020)."""
        return cls.from_json(
            resources.files("mediakit.parsing.simulation").joinpath("llp_statistics.json").read_text("utf-8")
        )

    def to_json(self) -> str:
        """The counts as text, one line an attribute."""
        plain = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in asdict(self).items()}
        plain["pairs"] = [[*place, int(self.pairs[tuple(place)])] for place in self.pairs.triu().nonzero().tolist()]
        lines = [f'"{name}": {json.dumps(value, separators=(",", ":"))}' for name, value in plain.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> LabelStatistics:
        """What `to_json` wrote."""
        plain: dict[str, Any] = json.loads(text)
        pairs = torch.zeros(2, len(plain["classes"]), len(plain["classes"]), dtype=torch.long)
        for more, i, j, count in plain.pop("pairs"):
            pairs[more, i, j] = pairs[more, j, i] = count
        plain |= {name: torch.tensor(value) for name, value in plain.items() if name not in _PLAIN}
        return cls(**{**plain, "classes": tuple(plain["classes"]), "pairs": pairs})


def sample_weak(statistics: LabelStatistics, count: int, generator: torch.Generator) -> Tensor:
    """Draws weak labels: how many classes, then the first, then each further one by how often it joins the others.

    Args:
        statistics: What to follow.
        count: Videos, N. More of them begin with the same ones.
        generator: Source of chance.

    Returns:
        uint8 (N, K).
    """
    alone, pairs = statistics.alone.double(), statistics.pairs.double()
    chance = torch.rand(count, len(statistics.sizes), dtype=torch.double, generator=generator)
    size = _draw(statistics.sizes.double(), chance[:, 0])
    labels = torch.zeros(count, len(alone), dtype=torch.double)
    firsts = torch.stack([alone, alone, pairs[0].sum(1), pairs[1].sum(1)])
    weights = firsts[size.clamp(max=3)]
    for number in range(1, len(statistics.sizes)):
        pick = _draw(weights, chance[:, number])
        labels[torch.arange(count), pick] += size >= number
        joins = torch.where((size > 2)[:, None], labels @ pairs[1], labels @ pairs[0])
        weights = (joins + 1e-9).masked_fill(labels > 0, 0)  # anyone may join where the counts know nobody
    return labels.to(torch.uint8)


def sample_dense(labels: Tensor, statistics: LabelStatistics, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws in which seconds the classes of weak labels are heard and seen.

    Args:
        labels: uint8 (N, K) weak labels.
        statistics: What to follow; the same K classes. A class of few videos leans on the habits of all (one
            video's worth of them, and three parts'), so that little is impossible.
        generator: Source of chance. More videos begin with the same ones.

    Returns:
        Audio and visual, uint8 (N, T, K). Each class of a video's labels is on in at least one second of at least one
        modality, every other class is off.
    """
    segments, classes = _checked(statistics.segments), labels.shape[1]
    chance = torch.rand(*labels.shape, 3, dtype=torch.double, generator=generator)
    video, k = labels.nonzero(as_tuple=True)
    chance = chance[video, k]
    extents = statistics.extents.flatten(2).double()
    extents = extents + extents.sum(1, keepdim=True) / extents.sum((1, 2), keepdim=True).clamp(min=1)
    extent = _draw(extents[(labels.sum(1) > 1).long()[video], k], chance[:, 0])
    extent = torch.stack([extent // 3, extent % 3])
    patterns, tables = _patterns(segments), torch.stack([_part_table(statistics, m) for m in (0, 1)])
    edges = (tables.cumsum(-1).clamp_(max=1) + torch.arange(classes)[:, None]).flatten(1)  # one ascending row
    pick = torch.searchsorted(edges, (k + chance[:, 1:].T).contiguous(), right=True) - k * len(patterns)
    pick = pick.clamp_(max=len(patterns) - 2)  # the last one is no part; a chance that rounding leaves above all edges

    both = (extent == 1).all(0)
    equal, unequal, agreeing = statistics.likeness.double()
    share = (agreeing + 1) / (unequal * segments + 2)
    visual = pick[1, both, None]
    agreement = (patterns[visual] == patterns).sum(-1)
    audio = tables[0, k[both]] * torch.exp(torch.log(share / (1 - share)) * agreement)
    audio.scatter_(1, visual, 0)
    copied = audio.sum(1, keepdim=True) * (equal + 1) / (unequal + 1)
    pick[0, both] = _draw(audio.scatter(1, visual, copied), chance[both, 1])

    parts = torch.where((extent == 1)[..., None], patterns[pick], (extent == 2)[..., None])
    dense = torch.zeros(2, len(labels), segments, classes, dtype=torch.uint8)
    dense[:, video, :, k] = parts.transpose(0, 1).to(torch.uint8)
    return dense[0], dense[1]


def _checked(segments: int) -> int:
    if segments > LONGEST:
        raise MediakitError(f"label statistics are of videos of at most {LONGEST} segments, not {segments}.")
    return segments


def _extent(parts: Tensor) -> Tensor:
    """0 none, 1 part, 2 whole of the last dimension."""
    return parts.any(-1).long() + parts.all(-1)


def _shape(parts: Tensor) -> list[tuple[Tensor, int]]:
    """Runs, seconds on, and touched edges of patterns (N, T): a number (N,) each, and the bound that it stays below."""
    first, last = parts[:, 0].long(), parts[:, -1].long()
    runs = first + (parts[:, 1:] & ~parts[:, :-1]).sum(1)
    return [(runs, parts.shape[1]), (parts.sum(1), parts.shape[1]), (first + 2 * last, 4)]


def _histogram(k: Tensor, value: Tensor, classes: int, size: int) -> Tensor:
    return torch.bincount(k * size + value, minlength=classes * size).view(classes, size)


def _draw(weights: Tensor, chance: Tensor) -> Tensor:
    """Index (N,) of a column of (N, C) or (C,) weights, in proportion to them; chance (N,) uniform in [0, 1)."""
    edges = weights.cumsum(-1)
    return (chance[:, None] * edges[..., -1:] >= edges).sum(-1)


def _patterns(segments: int) -> Tensor:
    """All on-off patterns, bool (2^T, T); the first is all off, the last all on."""
    return (torch.arange(2**segments)[:, None] >> torch.arange(segments)) % 2 == 1


def _part_table(statistics: LabelStatistics, modality: int) -> Tensor:
    """Probability of each pattern that is neither all off nor all on, by class: float64 (K, 2^T)."""
    counts = [getattr(statistics, name)[modality].double() for name in ("runs", "lengths", "edges")]
    counts = [count + _BORROWED * count.sum(0) / count.sum().clamp(min=1) for count in counts]
    places = [place for place, _ in _shape(_patterns(statistics.segments)[1:-1])]
    table = torch.ones(len(statistics.classes), 2**statistics.segments - 2, dtype=torch.double)
    for _ in range(_SWEEPS):
        for count, place in zip(counts, places, strict=True):
            now = torch.zeros_like(count).index_add_(1, place, table)
            table *= (count / now.clamp(min=1e-300))[:, place]
    return torch.nn.functional.pad(table / table.sum(1, keepdim=True), (1, 1))
