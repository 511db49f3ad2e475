"""How well a person is told by how the face moves, on drawn landmarks of talking heads.

    python benchmarks/person_of_interest.py

Generated heads differ in looks, not in manner: all speak and nod by the same rules. So two worlds are scored. In *as
generated* another person must not be told apart (what is found there is the shape of the face leaking in), and only a
swapped expression can be. In *with manners* each person has couplings of their own (how far and how late the head nods
with the mouth, whether the brows go along, whether a turn tilts), redrawn by 30 % for each recording. A *puppet* has
the person's face and another one's manner. Landmarks are the truth plus noise like a detector's; no picture is drawn.
Compression, too, is drawn as noise of landmarks, and references are not compressed.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mediakit.deepfake.landmark_noise import compression_noise
from mediakit.deepfake.metrics import auc, score_interval
from mediakit.deepfake.person import PersonModel
from mediakit.deepfake.signals import compose, put_keypoints, split_motion
from mediakit.synthetic.heads import TalkingHead, TalkingHeads
from mediakit.synthetic.performances import Performance
from mediakit.tracks import FaceTrack, FaceTracks

FPS = 25
SESSION = 0.3
LIMITS = np.array([14.0, 12.0, 7.0])


@dataclass(frozen=True)
class Manner:
    """Habits of one person: gains of the head, nod with the mouth and its lag, tilt with a turn, brows with both."""

    gain: tuple[float, ...]
    nod: float
    lag: float
    tilt: float
    brow: float
    brow_pitch: float

    @classmethod
    def draw(cls, person: int) -> Manner:
        d = np.random.default_rng([77, person])
        gain = tuple(np.exp(d.normal(0, 0.3, 3)))
        return cls(gain, d.normal(0, 5), d.uniform(0, 0.2), d.normal(0, 0.25), d.normal(0, 0.25), d.normal(0, 0.03))

    def perform(self, performance: Performance, recording: int) -> Performance:
        """The same speech and drift, in this manner, as it is on one day."""
        d = np.random.default_rng([78, recording])
        today = 1 + d.normal(0, SESSION, 4)
        mouth = np.roll(performance.expression[:, 0], round(self.lag * FPS))
        mouth = mouth - mouth.mean()
        angles = performance.angles * self.gain * np.exp(d.normal(0, 0.15, 3))
        angles[:, 0] -= today[0] * self.nod * mouth
        angles[:, 2] += today[1] * self.tilt * angles[:, 1]
        angles = LIMITS * np.tanh(angles / LIMITS)
        expression = performance.expression.copy()
        lift = today[2] * self.brow * mouth + today[3] * self.brow_pitch * (angles[:, 0] - angles[:, 0].mean())
        expression[:, 4:6] = np.clip(expression[:, 4:6] + lift[:, None], -1, 1.2)
        return replace(performance, angles=angles, expression=expression)


def film(clip: TalkingHead, crf: float, seed: int) -> FaceTracks:
    """Tracks as a detector would give them."""
    draw = np.random.default_rng(seed)
    points = clip.tensors()["points"]
    noise: NDArray[np.float32] = draw.normal(0, 0.25, tuple(points.shape)).astype(np.float32)
    points = points + torch.from_numpy(noise)
    if crf:
        key = compression_noise(compose(split_motion(points)), crf, torch.Generator().manual_seed(seed))
        points = put_keypoints(points, key)
    count = len(points)
    track = FaceTrack(points, torch.ones(count, dtype=torch.bool), torch.arange(count, dtype=torch.double) / FPS)
    return FaceTracks((track,), clip.actor.size[::-1], count, count, 0)


def recording(heads: TalkingHeads, person: int, number: int, kind: str, manners: bool, crf: float = 0) -> FaceTracks:
    """One recording that claims to be of a person."""
    people = heads.identities
    other = (person + 1 + number % (people - 1)) % people
    shown, mover = other if kind == "another person" else person, person if kind in ("genuine", "swap") else other
    take = shown + people * number
    clip = heads.clip(2 * take + (kind == "swap"))
    if manners:
        manner = Manner.draw(mover)
        clip.performance = manner.perform(clip.performance, take)
        if clip._other is not None:
            clip._other = manner.perform(clip._other, take + people)
    return film(clip, crf, take)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--references", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--tests", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{options.people} people, {options.tests} test recordings of each kind and person, {options.seconds:g} s each"
    )
    heads = TalkingHeads(seed=5, kinds=("real", "expression_swap"), identities=options.people, seconds=options.seconds)
    for world, manners in (("as generated", False), ("with manners", True)):
        kinds = {"genuine": ("genuine", 0), "CRF 23": ("genuine", 23), "CRF 40": ("genuine", 40), "swap": ("swap", 0)}
        kinds["another person"] = ("another person", 0)
        if manners:
            kinds["puppet"] = ("puppet", 0)
        began = time.perf_counter()
        found: dict[tuple[int, str], list[tuple[int, float, str]]] = {}
        for person in range(options.people):
            numbers = range(max(options.references) + options.tests)
            known = [recording(heads, person, n, "genuine", manners) for n in numbers[: max(options.references)]]
            tests = {
                name: [recording(heads, person, n, kind, manners, crf) for n in numbers[-options.tests :]]
                for name, (kind, crf) in kinds.items()
            }
            for references in options.references:
                model = PersonModel.fit(known[:references])
                for name, films in tests.items():
                    results = [model.score(tracks) for tracks in films]
                    rows = [(person, math.log(result.distance or 1), result.verdict) for result in results]
                    found.setdefault((references, name), []).extend(rows)
        print(f"\n{world} ({time.perf_counter() - began:.0f} s)")
        for references in options.references:
            print(f"{references} references")
            for name in kinds:
                print(f"  {name:15}{line(found[references, name], found[references, 'genuine'])}", flush=True)


def line(rows: list[tuple[int, float, str]], genuine: list[tuple[int, float, str]]) -> str:
    """Verdicts, and the AUC within persons with its interval over persons."""
    verdicts = Counter(verdict for *_, verdict in rows)
    shares = ", ".join(f"{v} {verdicts[v] / len(rows):4.0%}" for v in ("consistent", "undetermined", "different"))
    if rows is genuine:
        return f"n = {len(rows)}  {shares}"
    persons = torch.tensor([person for person, *_ in [*genuine, *rows]])
    scores = torch.tensor([score for _, score, _ in [*genuine, *rows]])
    labels = torch.tensor([0] * len(genuine) + [1] * len(rows))

    def within(stacked: torch.Tensor, y: torch.Tensor) -> float:
        of = [stacked[:, 0] == person for person in stacked[:, 0].unique()]
        return float(np.mean([auc(stacked[chosen, 1], y[chosen]) for chosen in of]))

    stacked = torch.stack([persons, scores], 1)
    low, high = score_interval(within, stacked, labels, persons, samples=300)
    return f"n = {len(rows)}  {shares}; AUC against genuine {within(stacked, labels):.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
