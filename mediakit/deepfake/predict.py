"""From a film, or the face tracks in it, to a verdict."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from mediakit.deepfake.evidence import calibrate
from mediakit.deepfake.model import DeepfakeOutput
from mediakit.deepfake.provenance import LIMITS, provenance
from mediakit.deepfake.quality import Quality, bits_per_pixel, conditions, measure
from mediakit.deepfake.reasons import compare, head_angles, measures
from mediakit.deepfake.result import DeepfakeResult, Portrait, TrackResult, WindowResult
from mediakit.deepfake.signals import RATE, Signals, cut_windows, resample_track, track_signals, windows
from mediakit.deepfake.verdict import Thresholds, judge, judge_tracks, judge_windows, refuse
from mediakit.encoders import weight_hash
from mediakit.encoders.face import SIGNALS
from mediakit.io import MediaInfo, PacketScan, check_readable, probe, scan_packets, sha256
from mediakit.motion import EXPRESSION_NAMES
from mediakit.threads import one_thread
from mediakit.tracks import FaceTrack, FaceTracks

PIECE = 60.0
"""Seconds: a longer track is read in equal pieces of at most this, each relative to its own mean pose and face at rest;
memory does not grow with its length, and training tracks are no longer either."""
BATCH = 32
"""Windows in a forward pass."""

_MOUTH = SIGNALS["expression"] + EXPRESSION_NAMES.index("mouth_opening")


class DeepfakeDetector(Protocol):
    """What prediction reads of a `.DeepfakeModule`."""

    @property
    def network(self) -> nn.Module: ...
    @property
    def thresholds(self) -> Mapping[str, float]: ...
    @property
    def calibration(self) -> tuple[float, float]: ...
    @property
    def reference(self) -> Mapping[str, tuple[float, float]]: ...
    def __call__(self, signals: Signals, quality: torch.Tensor | None = None) -> DeepfakeOutput: ...


def load_detector(checkpoint: str | os.PathLike[str], device: str = "cpu") -> DeepfakeDetector:
    """Loads a checkpoint whose model detects deepfakes.

    Raises:
        MediaError: The file is missing or cannot be read.
        WeightsError: It is no checkpoint of mediakit, or one of another task.
    """
    from mediakit.weights import load_task

    return load_task(
        checkpoint, ("network", "thresholds", "calibration", "reference"), "detect deepfakes", "DeepfakeModule", device
    )


def detect_file(
    module: DeepfakeDetector,
    path: str | os.PathLike[str],
    *,
    face_model: str | os.PathLike[str] | None = None,
    max_faces: int = 4,
    checkpoint: str | os.PathLike[str] | None = None,
) -> DeepfakeResult:
    """Judges the faces of a file in one decoding pass.

    Args:
        module: A trained `.DeepfakeModule`; its network is used on the device where it is.
        path: A video.
        face_model: A ``face_landmarker.task`` file, where MediaPipe bundles no model.
        max_faces: Most faces looked for in a frame.
        checkpoint: The file that the module was loaded from, to be named in the result.

    Returns:
        The verdict; a file without a face, or without enough of one, is undetermined.

    Raises:
        MediaError: The file cannot be read, or holds no pictures.
        MissingPackageError: MediaPipe is not installed.
        WeightsError: No face model is at hand.
    """
    from mediakit.faces import track_faces

    info = probe(path)
    tracks = track_faces(path, model=face_model, max_faces=max_faces)
    packets = scan_packets(path)
    return detect_tracks(module, tracks, info=info, packets=packets, digest=sha256(Path(path)), checkpoint=checkpoint)


def detect_tracks(
    module: DeepfakeDetector,
    tracks: FaceTracks | None,
    *,
    info: MediaInfo | None = None,
    packets: PacketScan | None = None,
    digest: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> DeepfakeResult:
    """Judges faces that were already followed.

    Args:
        module: A trained `.DeepfakeModule`.
        tracks: The faces; None for a file without pictures.
        info: What the file's headers say.
        packets: What its packets say: without them and ``info``, quality does not know about compression.
        digest: SHA-256 of the file.
        checkpoint: The file that the module was loaded from, to be named in the result.

    Returns:
        The verdict.
    """
    thresholds = Thresholds(**module.thresholds)
    bits = bits_per_pixel(packets, info)
    slope, intercept = (float(x) for x in module.calibration)
    ordered = sorted(tracks.tracks, key=lambda track: float(track.time[0])) if tracks else []
    with _quiet(module):
        found = tuple(
            _judge_track(module, number, track, bits, thresholds, (slope, intercept))
            for number, track in enumerate(ordered, 1)
        )
    if tracks is None:
        judgement, speaker = refuse("there are no pictures to look for faces in"), None
    elif found and tracks.frames == 1:
        judgement, speaker = refuse("a single picture does not move, and motion is all that is read"), 0
    else:
        judgement, speaker = judge_tracks([t.judgement for t in found], [t.end - t.start for t in found], thresholds)
    network = module.network
    model: dict[str, Any] = {"network": type(network).__name__, "weights_sha256": weight_hash(network)}
    if checkpoint is not None:
        model |= {"checkpoint": Path(checkpoint).name, "checkpoint_sha256": sha256(check_readable(checkpoint))}
    settings = {
        "window": _size(module) / RATE,
        "hop": _size(module) // 2 / RATE,
        "piece": PIECE,
        "thresholds": vars(thresholds),
        "calibration": {"slope": slope, "intercept": intercept},
        "reference": {name: list(ends) for name, ends in module.reference.items()},
    }
    return DeepfakeResult(
        judgement=judgement,
        tracks=found,
        speaker=None if speaker is None else speaker + 1,
        streams=tuple(network.streams),  # type: ignore[arg-type]
        thresholds=thresholds,
        calibration=(slope, intercept),
        model=model,
        limits=LIMITS,
        provenance=provenance(tracks, info, packets, digest, model=model, parameters=settings),
    )


def _size(module: DeepfakeDetector) -> int:
    return int(module.network.window)  # type: ignore[arg-type]


@contextmanager
def _quiet(module: DeepfakeDetector) -> Iterator[None]:
    """Evaluation without gradients, on one thread: networks this small lose time on more. All is undone afterwards."""
    training = module.network.training
    module.network.eval()
    try:
        with one_thread(), torch.inference_mode():
            yield
    finally:
        module.network.train(training)


def _judge_track(
    module: DeepfakeDetector,
    number: int,
    track: FaceTrack,
    bits: float | None,
    thresholds: Thresholds,
    calibration: tuple[float, float],
) -> TrackResult:
    found: list[WindowResult] = []
    raw: list[tuple[tuple[float, float, float], float, float]] = []
    shown: dict[bool, tuple[float, Portrait]] = {}  # the heaviest towards fake, and towards real
    for piece in pieces(track):
        qualities, spans, starts = _windows(piece, bits, _size(module))
        kept = [n for n, quality in enumerate(qualities) if quality.refusal is None]
        scored = {}
        if kept:
            points, _ = resample_track(piece)
            signals = cut_windows(track_signals(points), [starts[n] for n in kept], _size(module))
            scored = dict(zip(kept, _score(module, signals, [qualities[n].score for n in kept]), strict=True))
        for n, (quality, span) in enumerate(zip(qualities, spans, strict=True)):
            if n not in scored:
                found.append(WindowResult(*span, refuse(quality.refusal or ""), quality, {}, {}))
                continue
            mass, conflict, streams, numbers = scored[n]
            raw.append((mass, conflict, quality.score))
            fake, real, unknown = calibrate(torch.tensor(mass, dtype=torch.float64), *calibration).clamp(0, 1).tolist()
            told = judge((fake, real, unknown), quality.score, thresholds, conflict, quality.doubt)
            window = WindowResult(*span, told, quality, streams, numbers)
            found.append(window)
            side = window.weight > 0
            if side not in shown or abs(window.weight) > shown[side][0]:
                shown[side] = abs(window.weight), _portrait(signals, kept.index(n), span)
    able = [w for w in found if w.judgement.mass is not None]
    judgement = judge_windows(
        raw,
        thresholds,
        calibration,
        [w.quality.refusal for w in found if w.quality.refusal],
        [w.quality.doubt for w in able],
    )
    values = {name: [w.measures[name] for w in able] for name in module.reference if able and name in able[0].measures}
    chosen = shown.get(judgement.verdict == "fake") if judgement.verdict != "undetermined" else None
    chosen = chosen or max(shown.values(), key=lambda pair: pair[0], default=None)
    return TrackResult(
        number=number,
        start=float(track.time[0]),
        end=float(track.time[-1]),
        detections=int(track.valid.sum()),
        judgement=judgement,
        windows=tuple(found),
        observations=compare(values, module.reference),
        portrait=None if chosen is None else chosen[1],
    )


def pieces(track: FaceTrack, most: float = PIECE) -> Iterator[FaceTrack]:
    """The track in equal parts of at most ``most`` seconds, without copying it."""
    count = max(1, math.ceil(track.duration / most))
    ends = track.time[0] + track.duration * torch.arange(1, count, dtype=track.time.dtype) / count
    cuts = [0, *torch.searchsorted(track.time, ends).tolist(), len(track)]
    for start, stop in pairwise(cuts):
        part = slice(start, stop)
        denoised = None if track.denoised is None else track.denoised[part]
        yield FaceTrack(track.points[part], track.valid[part], track.time[part], denoised, track.flow_failures)


def _windows(
    piece: FaceTrack, bits: float | None, size: int
) -> tuple[list[Quality], list[tuple[float, float]], list[int]]:
    """Quality, first and last second, and first frame at 30 Hz of each window of a piece."""
    starts = windows(int(piece.duration * RATE + 1e-3) + 1, size, size // 2)
    begin, end = float(piece.time[0]), float(piece.time[-1])
    spans = [(begin + start / RATE, min(begin + (start + size - 1) / RATE, end)) for start in starts]
    seen = conditions(piece)
    return [measure(seen, *span, bits, piece.flow_failures) for span in spans], spans, starts


def _score(
    module: DeepfakeDetector, signals: Signals, quality: Sequence[float]
) -> list[tuple[tuple[float, float, float], float, dict[str, Any], dict[str, float]]]:
    """Fused mass, conflict, masses of the streams and measures of each window."""
    device = next((p.device for p in module.network.parameters()), torch.device("cpu"))
    streams, out = tuple(module.network.streams), []  # type: ignore[arg-type]
    for batch in zip(*(part.split(BATCH) for part in (*signals, torch.tensor(quality))), strict=True):
        part = Signals(*batch[:3])
        output = module(Signals(*(values.to(device) for values in part)), batch[3].to(device))
        numbers = {name: values.tolist() for name, values in measures(part).items()}
        masses, conflict, fused = (x.double().cpu().tolist() for x in (output.masses, output.conflict, output.mass))
        for n in range(len(fused)):
            by_stream = {name: tuple(masses[n][s]) for s, name in enumerate(streams)}
            out.append((tuple(fused[n]), conflict[n], by_stream, {name: value[n] for name, value in numbers.items()}))
    return out


def _portrait(signals: Signals, window: int, span: tuple[float, float]) -> Portrait:
    angles = head_angles(signals.head[window])
    values = torch.stack([signals.expression[window, :, _MOUTH].double(), angles[:, 0], angles[:, 1]], dim=-1)
    values = torch.where(signals.valid[window][:, None], values, float("nan"))
    return Portrait(*span, ("mouth opening", "pitch", "yaw"), ("IOD", "°", "°"), values.float())
