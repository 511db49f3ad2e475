"""How much can be read from a stretch of a face: measured on the pictures, never learned.

A detector's own uncertainty does not rise by itself when a film is compressed or a face is small, so its evidence is
discounted by a quality q in [0, 1]. Each factor is measured, has a score from 0 (useless) to 1 (as good as it gets),
and discounts by itself (Shafer's discounts by q1 and then q2 are one by q1 q2): q is the product of the scores. Where
too little is left to say anything, there is no score at all but a refusal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from mediakit import motion
from mediakit.io import MediaInfo, PacketScan
from mediakit.tracks import FaceTrack


class Ramp(NamedTuple):
    """Score of a factor: 0 at ``zero`` and beyond, 1 at ``one`` and beyond, straight between, or in the logarithm."""

    zero: float
    one: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Score in [0, 1]."""
        if self.log:
            return Ramp(math.log(self.zero), math.log(self.one))(math.log(max(value, 1e-12)))
        return min(1.0, max(0.0, (value - self.zero) / (self.one - self.zero)))


RAMPS = {
    "interocular_px": Ramp(30.0, 80.0),
    "seconds": Ramp(0.5, 2.5),
    "detected": Ramp(0.5, 0.95),
    "frames_per_second": Ramp(5.0, 24.0),
    "yaw_degrees": Ramp(50.0, 20.0),
    "flow_failures": Ramp(0.5, 0.1),
    "bits_per_pixel": Ramp(0.002, 0.04, log=True),
}
"""Score of each factor by its value: median distance of the outer eye corners, seconds of face in the window, share of
frames in which the face was detected, source frames per second, median unsigned yaw, share of points whose optical flow
was lost, and bits per picture pixel at the efficiency of H.264 (libx264 spends about 0.065 at CRF 23, 0.02 at 32 and
0.008 at 40)."""

LEAST = {"seconds": 1.0, "interocular_px": 40.0, "detected": 0.6, "frames_per_second": 10.0}
"""Below any of these nothing is said at all."""

_REFUSALS = {
    "seconds": "the face is seen for {value:.1f} s only; at least {least:.0f} s is needed",
    "interocular_px": "the face is too small: {value:.0f} px from eye corner to eye corner, {least:.0f} are needed",
    "detected": "the face was found in {value:.0%} of the frames only; at least {least:.0%} are needed",
    "frames_per_second": "{value:.1f} frames per second are too few to follow motion; at least {least:.0f} are needed",
}
_DOUBTS = {
    "interocular_px": "the face is small ({value:.0f} px between the outer eye corners)",
    "seconds": "the face is seen for a short time ({value:.1f} s)",
    "detected": "the face was found in {value:.0%} of the frames only",
    "frames_per_second": "there are few frames per second ({value:.1f})",
    "yaw_degrees": "the face is turned away ({value:.0f}°)",
    "flow_failures": "optical flow lost {value:.0%} of the points",
    "bits_per_pixel": "the film is strongly compressed ({value:.3f} bits per pixel)",
}

# Bits that H.264 needs for the picture of one bit of the codec, roughly; codecs that are not listed count like H.264.
_EFFICIENCY = {"hevc": 1.6, "vp9": 1.5, "av1": 2.0, "vp8": 0.9, "mpeg4": 0.6, "mpeg2video": 0.5, "mjpeg": 0.2}


@dataclass(frozen=True)
class Quality:
    """The quality of one window.

    Attributes:
        values: What was measured, by factor (see `RAMPS`); factors that could not be measured are left out.
        refusal: Why nothing can be said, None where something can.
    """

    values: Mapping[str, float]
    refusal: str | None = None

    @property
    def scores(self) -> dict[str, float]:
        """Score in [0, 1] of each factor."""
        return {name: RAMPS[name](value) for name, value in self.values.items()}

    @property
    def score(self) -> float:
        """Quality in [0, 1]: the product of the scores, 0 where it was refused."""
        return 0.0 if self.refusal else math.prod(self.scores.values())

    @property
    def doubt(self) -> str:
        """The factor that costs most, in words; empty where none costs anything."""
        scores = self.scores
        worst = min(scores, key=lambda name: scores[name], default=None)
        return "" if worst is None or scores[worst] >= 1 else _DOUBTS[worst].format(value=self.values[worst])


class Conditions(NamedTuple):
    """How a face is seen in each of the T frames of its source.

    Attributes:
        time: ``(T,)`` seconds.
        valid: ``(T,)`` bool, whether it was detected.
        interocular_px: ``(T,)`` distance of the outer eye corners in pixels.
        yaw: ``(T,)`` degrees, 0 for a face that looks into the camera.
    """

    time: Tensor
    valid: Tensor
    interocular_px: Tensor
    yaw: Tensor


def conditions(track: FaceTrack) -> Conditions:
    """Measures how a face is seen, frame by frame."""
    pose = motion.head_pose(track.points, motion.face_template(track.points, track.valid))
    yaw = motion.euler_angles(pose.rotation)[:, 1]
    return Conditions(track.time, track.valid, motion.interocular_distance(track.points), yaw)


def measure(
    seen: Conditions,
    start: float,
    end: float,
    bits: float | None = None,
    flow_failures: float | None = None,
) -> Quality:
    """The quality of one window.

    Args:
        seen: The face's conditions.
        start: First second of the window.
        end: Last second of the window, inclusive.
        bits: Bits per pixel of the film, see `bits_per_pixel`; None where they are not known.
        flow_failures: Share of points in [0, 1] whose optical flow was lost; None where there was none.
    """
    inside = (seen.time >= start - 1e-6) & (seen.time <= end + 1e-6)
    time, good = seen.time[inside], inside & seen.valid
    found = int(good.sum())
    if found < 2:
        return Quality({"seconds": 0.0}, _refusal({"seconds": 0.0}))
    detected = found / len(time)
    span = float(time[-1] - time[0])
    rate = (len(time) - 1) / span
    values = {
        # a frame lasts until the next one
        "seconds": (span + 1 / rate) * detected,
        "interocular_px": float(seen.interocular_px[good].double().median()),
        "detected": detected,
        "frames_per_second": rate,
        "yaw_degrees": float(seen.yaw[good].double().abs().nanmedian()),
    }
    if flow_failures is not None:
        values["flow_failures"] = flow_failures
    if bits is not None:
        values["bits_per_pixel"] = bits
    if math.isnan(values["yaw_degrees"]):  # no pose in any frame
        del values["yaw_degrees"]
    return Quality(values, _refusal(values))


def _refusal(values: Mapping[str, float]) -> str | None:
    for name, least in LEAST.items():
        if name in values and values[name] < least * (1 - 1e-3):
            return _REFUSALS[name].format(value=values[name], least=least)
    return None


def bits_per_pixel(packets: PacketScan | None, info: MediaInfo | None) -> float | None:
    """Bits that a film spends on each pixel of a frame, converted to what H.264 would need; None where not known.

    Bits are those of the whole picture: how many of them went into the face, packets do not say.

    Args:
        packets: What the packets of the film say.
        info: What its headers say.
    """
    if packets is None or info is None or not info.video or not packets.fps:
        return None
    video = info.video[0]
    pixels = video.width * video.height * packets.fps
    return packets.bit_rate / pixels * _EFFICIENCY.get(video.codec or "", 1.0) if pixels else None
