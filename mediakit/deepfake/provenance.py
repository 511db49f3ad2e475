"""What a verdict stands on, as plain values: the file, the landmarks, the model, the settings; and what it cannot say.

Nothing in it depends on when or where it was made, so that a second run gives the same bytes.
"""

from __future__ import annotations

from typing import Any

from mediakit.deepfake.quality import LEAST, RAMPS
from mediakit.deepfake.signals import RATE
from mediakit.io import MediaInfo, PacketScan
from mediakit.ledger import versions
from mediakit.tracks import FaceTracks

SCHEMA = "mediakit.provenance/1"

LIMITS = (
    "A verdict is no proof. It says how much the motion of a face resembles that of the genuine and the manipulated "
    "faces that the detector was trained on; its error rates on other films are not known.",
    "Only the motion of landmarks is read: neither skin, light, sound nor the background. “Real” means that this "
    "motion shows none of the traces that the detector knows, and nothing about what is said, where, or by whom.",
    "Filters that smooth or reshape faces, interpolated frames, drawn or animated faces, masks and poor pictures "
    "change the motion, too, and can be taken for fakes.",
)
"""What no verdict of this kind says; told with each."""


def provenance(
    tracks: FaceTracks | None,
    info: MediaInfo | None = None,
    packets: PacketScan | None = None,
    digest: str | None = None,
    **used: Any,
) -> dict[str, Any]:
    """Everything that a second person needs to come to the same verdict.

    Args:
        tracks: The landmarks; None if there were no pictures to look at.
        info: What the file's headers say.
        packets: What its packets say.
        digest: SHA-256 of the file.
        **used: Model and settings, as plain values.
    """
    return {
        "schema": SCHEMA,
        "file": _file(info, packets, digest),
        "landmarks": None if tracks is None else {**tracks.detector, "frames": tracks.frames, "size": tracks.size},
        "versions": versions(),
        "rate": RATE,
        "quality": {"ramps": {name: ramp._asdict() for name, ramp in RAMPS.items()}, "least": LEAST},
        **used,
    }


def _file(info: MediaInfo | None, packets: PacketScan | None, digest: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"sha256": digest}
    if info is not None:
        found |= {"size_bytes": info.size_bytes, "container": info.container}
        if info.video:
            names = ("codec", "profile", "pix_fmt", "width", "height", "rotation", "color_space")
            found |= {name: getattr(info.video[0], name) for name in names}
    if packets is not None:
        counted = ("frames", "fps", "variable_frame_rate", "gop_median", "gop_max", "bit_rate")
        found |= {name: getattr(packets, name) for name in counted}
    return found
