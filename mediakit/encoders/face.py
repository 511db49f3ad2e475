"""Face landmark tracks -> signals of head and expression over time; no network, no weights."""

from __future__ import annotations

import torch
from torch import Tensor

from mediakit import motion
from mediakit.denoise import kalman_rts
from mediakit.encoders.identity import Encoder
from mediakit.mesh import N_POINTS, SEMANTIC

SIGNALS = {"pose": 10, "expression": 3 * len(SEMANTIC), "scalars": len(motion.EXPRESSION_NAMES)}
"""What :class:`FaceEncoder` can give, and how many numbers a frame each is."""


class FaceEncoder(Encoder):
    """Turns face tracks into what head and face do, free of who it is, where the head is and how large.

    - ``pose``: :func:`mediakit.motion.pose_signal`, 10 numbers (6D rotation relative to the track's mean, shift in
      IOD, log scale).
    - ``expression``: displacement in IOD of the 86 points :data:`mediakit.mesh.SEMANTIC` from the track's median, head
      movement taken out; 258 numbers, point by point.
    - ``scalars``: the 8 numbers :data:`mediakit.motion.EXPRESSION_NAMES`, in IOD, relative to the median face.

    All of it is relative to the track that is given, so give whole tracks and cut windows from the result.

    Args:
        signals: Which signals, in this order along the last dimension; ``slices`` says where each one is.
        smooth: Half-gain frequency in Hz of the zero-phase smoother (:func:`mediakit.denoise.kalman_rts`) that the
            landmarks pass first; None for none.
        rate: Frames a second of the tracks.

    Raises:
        ValueError: An unknown, repeated or missing signal, or a frequency that is not positive.
    """

    def __init__(
        self,
        signals: tuple[str, ...] = ("pose", "expression", "scalars"),
        smooth: float | None = 5.0,
        rate: float = 30.0,
    ) -> None:
        super().__init__()
        if not signals or set(signals) - set(SIGNALS) or len(set(signals)) < len(signals):
            raise ValueError(f"signals must be some of {', '.join(SIGNALS)}, each once; not {signals!r}")
        if rate <= 0 or (smooth is not None and smooth <= 0):
            raise ValueError(
                f"rate and smooth are frequencies above 0 Hz (smooth may be None), not {rate} and {smooth}"
            )
        self.signals = tuple(signals)
        self.smooth = smooth
        self.rate = rate
        self.variant = "+".join(signals) + (f", smooth {smooth:g} Hz at {rate:g} Hz" if smooth else "")
        self.slices: dict[str, slice] = {}
        self.dim = 0
        for signal in self.signals:
            self.slices[signal] = slice(self.dim, self.dim + SIGNALS[signal])
            self.dim += SIGNALS[signal]

    def valid(self, x: Tensor) -> Tensor:
        """Frames that show a face: all points finite, and not all in one place (zero padding).

        Args:
            x: ``(B, T, 478, 3)``.

        Returns:
            ``(B, T)`` bool.
        """
        return torch.isfinite(x).all(-1).all(-1) & (motion.interocular_distance(x) > 0)

    def forward(self, x: Tensor) -> Tensor:
        """Encodes tracks.

        Args:
            x: Mesh points ``(B, T, 478, 3)`` in image pixels (x right, y down, z away from the camera) at ``rate``;
                frames without a face, and padding, are NaN.

        Returns:
            ``(B, T, dim)``; zeros in frames without a face (:meth:`valid`).

        Raises:
            ValueError: Wrong shape.
        """
        if x.ndim != 4 or x.shape[-2:] != (N_POINTS, 3):
            raise ValueError(f"face tracks must be (B, T, {N_POINTS}, 3) in pixels, not {tuple(x.shape)}")
        valid = self.valid(x)
        out = x.new_zeros(*x.shape[:2], self.dim)
        for track, good, row in zip(x, valid, out, strict=True):
            frames = good.nonzero().squeeze(-1)
            if len(frames):  # without the padding at both ends, so that its length changes nothing
                span = slice(int(frames[0]), int(frames[-1]) + 1)
                row[span] = torch.where(good[span, None], self._encode(track[span], good[span]), 0.0)
        return out

    def _encode(self, points: Tensor, valid: Tensor) -> Tensor:
        points = torch.where(valid[:, None, None], points, float("nan"))
        if self.smooth is not None:
            points = kalman_rts(points, self.rate, self.smooth)
        pose = motion.head_pose(points, motion.face_template(points, valid))
        parts = {}
        if "pose" in self.slices:
            parts["pose"] = motion.pose_signal(pose, valid)
        if len(self.slices) > len(parts):
            shape, neutral = motion.aligned_shape(points, pose), motion.neutral_shape(points, pose, valid)
            parts["expression"] = (shape - neutral)[:, SEMANTIC, :].flatten(1)
            parts["scalars"] = motion.expression_scalars(shape) - motion.expression_scalars(neutral)
        return torch.cat([parts[signal] for signal in self.signals], dim=-1)
