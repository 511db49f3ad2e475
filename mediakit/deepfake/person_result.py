"""How a recording compares with those of a person."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

SCHEMA = "mediakit.person-result/1"
_TOLD = 3  # windows that are named


class Deviation(NamedTuple):
    """One number of a recording beside the references'.

    Attributes:
        name: One of `mediakit.deepfake.mannerisms.NAMES`.
        value: Its mean over the recording, in the unit that `.readable` gives.
        low: Lower end of what is usual for the person: the mean of the references less two standard deviations.
        high: Upper end.
    """

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PersonResult:
    """How a recording compares with those of a person.

    Attributes:
        verdict: ``"consistent"`` (nothing speaks against the person, which proves nothing), ``"different"``, or
            ``"undetermined"``.
        reason: Why, in words.
        p_value: Share of genuine recordings of this person that are expected to lie as far; None where nothing can be
            measured.
        rank_p: The same by rank alone, at least 1/(n + 1).
        distance: Mean distance of the windows; about 1 for the windows that the model was made of.
        references: Number n of reference recordings.
        windows: Start and end in seconds, and distance of each window.
        findings: The five numbers that are most unusual for the person, the most unusual first.
        left_out: Faces beside the one that was compared.
    """

    verdict: Literal["consistent", "different", "undetermined"]
    reason: str
    p_value: float | None
    rank_p: float | None
    distance: float | None
    references: int
    windows: tuple[tuple[float, float, float], ...] = ()
    findings: tuple[Deviation, ...] = ()
    left_out: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"schema": SCHEMA, **asdict(self), "findings": [finding._asdict() for finding in self.findings]}

    def __str__(self) -> str:
        """The verdict and its reason in the first line, then what is most unusual."""
        lines = [f"{self.verdict}: {self.reason}"]
        if self.left_out:
            lines.append(f"  {self.left_out} other faces, seen beside a longer one, were not compared")
        for name, value, low, high in self.findings:
            lines.append(f"  {name} {value:.2f}, usual for this person {low:.2f} to {high:.2f}")
        if len(self.windows) > 1:
            worst = sorted(self.windows, key=lambda window: -window[2])[:_TOLD]
            told = ", ".join(f"{start:.0f}-{end:.0f} s ({distance:.1f})" for start, end, distance in worst)
            lines.append(f"  farthest off: {told}; {self.distance:.1f} on average")
        return "\n".join(lines)
