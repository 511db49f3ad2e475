"""What `mediakit.deepfake.robustness` measured, as text, as JSON and as one self-contained page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from mediakit import __version__
from mediakit.charts import curves, plot, round_ticks
from mediakit.deepfake.comparison import COORDINATES, CUTOFF, SIGNALS, Comparison
from mediakit.deepfake.robustness import PIPELINES, RAW, Robustness, Version, measure_robustness
from mediakit.deepfake.signals import RATE
from mediakit.io import atomic_path, check_writable
from mediakit.io.files import cannot_write
from mediakit.mesh import SEMANTIC
from mediakit.report import data_uri, template
from mediakit.text_tables import Cells, as_text

FILES = ("robustness.html", "robustness.json", "robustness.txt")
_DRAWN = 4  # curves in a plot
_MARGIN = 0.25  # around the face, in its size

READING = (
    "Distances are means over frames, in percent of the outer eye corners' distance (IOD) or in degrees, from the "
    "source's landmarks as detected. Triples are of velocities from frame to frame below "
    f"{CUTOFF:g} Hz, against the source's unsmoothed ones: correlation, gain (slope of the regression on the source: 1 "
    "keeps all motion, 0.5 halves it) and ratio of power. Smoothing can raise the first, and lowers the other two. The "
    "rows of the source show what each way of denoising does by itself. The detector's noise in the source lowers the "
    "correlation and the gain of every row, also where nothing is smoothed."
)
"""How to read the first table."""
DISTRIBUTIONS = (
    "Distance between the distributions that each coordinate of a landmark has over time, before and after, mean over "
    "landmarks, in percent: Kolmogorov-Smirnov statistic / Jensen-Shannon divergence (bits); 0 is alike, 100 is apart. "
    "Of landmarks in the picture (x, y, z), and without head movement (face x, y, z)."
)
"""How to read the second table."""


def robustness_report(
    video: str | os.PathLike[str],
    out: str | os.PathLike[str],
    crfs: Sequence[int] = (23, 32, 40),
    scales: Sequence[float] = (0.5,),
    *,
    deepfake: str | os.PathLike[str] | None = None,
    face_model: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> Robustness:
    """Measures how robust a film's face is and writes ``robustness.html``, ``robustness.json``, ``robustness.txt``.

    All three are written or none; a folder that was made for them goes again if something fails.

    Args:
        video: The film.
        out: Folder to write to; made if it is not there.
        crfs: As for `.measure_robustness`, like all that follow.
        scales: Factors of width and height, each at the first of ``crfs``.
        deepfake: Checkpoint of a deepfake detector.
        face_model: A ``face_landmarker.task`` file.
        progress: Called with the name of each version before it is made.

    Returns:
        What was measured.

    Raises:
        MediaError: The film cannot be read or shows no face for a second, or the folder cannot be written.
        WeightsError: ``deepfake`` holds no deepfake detector, or no face model is at hand.
        ValueError: An option is out of its range.
    """
    with _folder(Path(out)) as folder:
        for name in FILES:
            check_writable(folder / name)
        found = measure_robustness(video, crfs, scales, deepfake=deepfake, face_model=face_model, progress=progress)
        data = json.dumps(found.to_dict(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        with ExitStack() as stack:
            for name, text in zip(FILES, (render_page(found), data, render_text(found)), strict=True):
                stack.enter_context(atomic_path(folder / name)).write_text(text, encoding="utf-8")
    return found


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """A folder that goes again if the block fails and it was made for it."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield path
    except BaseException as error:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def render_text(found: Robustness) -> str:
    """The tables as plain text."""
    parts = [
        f"{found.name}: one face from {found.time[0]:.2f} to {found.time[-1]:.2f} s at {RATE:g} Hz",
        *(as_text(title, heads, lines) + "\n\n" + reading for title, heads, lines, reading in _tables(found)),
    ]
    return "\n\n".join(parts) + "\n"


def render_page(found: Robustness) -> str:
    """The page as text."""
    return template("robustness.html").render(
        name=found.name,
        version=__version__,
        sha256=found.sha256,
        lead=_lead(found),
        problems=[f"{v.name}: {v.problem}." for v in found.versions if v.problem],
        shots=[_shot(version, found.versions[0]) for version in found.versions],
        charts=_charts(found),
        motion=_motion(found),
        tables=_tables(found),
        pipelines=list(PIPELINES),
    )


def _tables(found: Robustness) -> list[tuple[str, list[str], Cells, str]]:
    """Title, heads of the columns, lines and how to read them, of each table."""
    versions = [
        (
            v.name,
            [
                f"{v.size[0]}x{v.size[1]}",
                "-" if v.kilobits is None else str(v.kilobits),
                f"{v.frames_with_face}/{v.frames}",
                "-" if v.interocular_px != v.interocular_px else f"{v.interocular_px:.0f}",
                *([] if v.verdict is None else _told(v.verdict)),
            ],
        )
        for v in found.versions
    ]
    judged = found.versions[0].verdict is not None
    heads = ["size", "kbit/s", "frames with a face", "IOD px", *(["verdict", "fake", "quality"] if judged else [])]
    pairs = [(v.name, name, c) for v in found.versions for name, c in v.comparisons.items()]
    motion: Cells = [(f"{version}, {name}", _moved(c)) for version, name, c in pairs]
    apart: Cells = [
        (f"{version}, {name}", [f"{100 * c.ks[x]:.1f} / {100 * c.js[x]:.1f}" for x in COORDINATES])
        for version, name, c in pairs
    ]
    scale = "Fake: calibrated probability of it. " if judged else ""
    columns = ["frames", "shift %", "pose °", "expression %", *SIGNALS]
    return [
        ("Versions", heads, versions, scale + "IOD: distance of the outer eye corners in the version's own pixels."),
        ("Motion", columns, motion, READING),
        ("Distributions", list(COORDINATES), apart, DISTRIBUTIONS),
    ]


def _told(verdict: dict[str, Any]) -> list[str]:
    numbers = (verdict["probability"], verdict["quality"])
    return [verdict["verdict"], *("-" if x is None else f"{x:.2f}" for x in numbers)]


def _moved(c: Comparison) -> list[str]:
    distances = [f"{100 * c.displacement:.2f}", f"{c.pose_error:.2f}", f"{100 * c.expression_displacement:.2f}"]
    velocities = [f"{c.correlation[x]:.2f} {c.gain[x]:.2f} {c.power[x]:.2f}" for x in SIGNALS]
    return [str(c.frames), *distances, *velocities]


def _lead(found: Robustness) -> str:
    span = f"from {found.time[0]:.1f} to {found.time[-1]:.1f} s"
    text = f"One face, followed {span}, its eye corners {found.versions[0].interocular_px:.0f} pixels apart."
    whole = [v for v in found.versions if v.crf is not None and v.scale == 1 and v.comparisons]
    if whole:
        worst = max(whole, key=lambda v: v.crf or 0)
        c = worst.comparisons[RAW]
        text += (
            f" At {worst.name} its landmarks lie {100 * c.displacement:.1f} % of that distance and its head "
            f"{c.pose_error:.1f}° from where the source has them; the velocities of head and mouth correlate with the "
            f"source's by {fmean(c.correlation.values()):.2f}."
        )
    return text


def _shot(version: Version, source: Version) -> dict[str, Any]:
    """The face in the middle of the source's track, cut out, with the version's own landmarks as dots."""
    height, width = version.picture.shape[1:]
    box = source.face[:, :2] * torch.tensor([width / source.size[0], height / source.size[1]])
    low, high = box.amin(0), box.amax(0)
    room = _MARGIN * float((high - low).max())
    left, top = (max(0, int(x - room)) for x in low.tolist())
    right, bottom = min(width, int(high[0] + room) + 1), min(height, int(high[1] + room) + 1)
    points = version.face[list(SEMANTIC), :2].tolist()
    return {
        "name": version.name,
        "image": data_uri(version.picture[:, top:bottom, left:right], "png"),  # a JPEG would add its own compression
        "width": right - left,
        "height": bottom - top,
        "dots": "".join(f"M{x - left:.1f} {y - top:.1f}h0" for x, y in points if x == x),
    }


def _charts(found: Robustness) -> list[tuple[str, dict[str, Any]]]:
    """Correlation and gain of velocities, mean over the four signals, from version to version."""
    shown = [v for v in found.versions if v.comparisons]
    charts = []
    for title, part in (("Correlation with the source", "correlation"), ("Gain", "gain")):
        rows = {
            pipeline: [
                fmean(getattr(v.comparisons[pipeline], part).values()) if pipeline in v.comparisons else 1.0
                for v in shown
            ]
            for pipeline in PIPELINES
        }
        if len(shown) > 1:
            charts.append((title, _steps(title, [v.name for v in shown], rows)))
    return charts


def _steps(title: str, places: list[str], rows: dict[str, list[float]]) -> dict[str, Any]:
    """Lines over named places, between 0 (or what lies below) and 1 (or above)."""
    finite = [x for values in rows.values() for x in values if x == x]
    low, high = min(0.0, *finite) - 0.02, max(1.0, *finite) + 0.05
    at = [100 * n / (len(places) - 1) for n in range(len(places))]
    ticks = [(round(100 * (t - low) / (high - low), 2), f"{t:g}") for t in round_ticks(low, high, 5)]
    series = [
        {
            "name": name,
            "path": "M" + "L".join(f"{10 * x:.0f} {100 - 100 * (y - low) / (high - low):.2f}" for x, y in xy),
        }
        for name, values in rows.items()
        if (xy := [(x, y) for x, y in zip(at, values, strict=True) if y == y])
    ]
    told = "; ".join(f"{name} {', '.join(f'{x:.2f}' for x in values)}" for name, values in rows.items())
    return plot(
        f"{title}: {told}", 190, [(round(x, 2), name) for x, name in zip(at, places, strict=True)], ticks, series=series
    )


def _motion(found: Robustness) -> list[tuple[str, dict[str, Any]]]:
    """The unsmoothed signals of the source and of the first versions that show the face."""
    shown = [v for v in found.versions if not v.problem][:_DRAWN]
    plots = []
    for column, name in enumerate(SIGNALS):
        values = torch.stack([v.signals[:, column] for v in shown], dim=1)
        unit, span = (" IOD", 0.1) if name == "mouth" else ("°", 10.0)
        told = f"{name.capitalize()}, {'opening in IOD' if name == 'mouth' else 'degrees'}"
        plots.append((told, curves(found.time, values, [v.name for v in shown], unit=unit, least_span=span)))
    return plots
