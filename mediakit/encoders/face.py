"""Face landmark tracks -> signals of head and expression over time; no network, no weights."""

from __future__ import annotations

import torch
from torch import Tensor

from mediakit import motion
from mediakit.denoise import kalman_rts
from mediakit.encoders.identity import Encoder
from mediakit.mesh import KEYPOINTS, N_POINTS, RIGID, SEMANTIC, SEMANTIC_GROUPS

JITTER_GROUPS = (*SEMANTIC_GROUPS, "rigid")
"""Parts of the face whose jitter is told apart."""

SIGNALS = {
    "pose": 10,
    "expression": 3 * len(SEMANTIC),
    "scalars": len(motion.EXPRESSION_NAMES),
    "jitter": 10 + len(JITTER_GROUPS),
}
"""What :class:`FaceEncoder` can give, and how many numbers a frame each is."""

_KEY = list(KEYPOINTS)
_SEMANTIC = [KEYPOINTS.index(i) for i in SEMANTIC]
_GROUPS = [[KEYPOINTS.index(i) for i in group] for group in (*SEMANTIC_GROUPS.values(), RIGID)]
_STILL = 1e-4  # IOD: what counts as no jitter at all


class FaceEncoder(Encoder):
    """Turns face tracks into what head and face do, free of who it is, where the head is and how large.

    - ``pose``: :func:`mediakit.motion.pose_signal`, 10 numbers (6D rotation relative to the track's mean, shift in
      IOD, log scale).
    - ``expression``: displacement in IOD of the 86 points :data:`mediakit.mesh.SEMANTIC` from the track's median, head
      movement taken out; 258 numbers, point by point.
    - ``scalars``: the 8 numbers :data:`mediakit.motion.EXPRESSION_NAMES`, in IOD, relative to the median face.
    - ``jitter``: what smoothing took away, 17 numbers: of the 10 of ``pose``, then the natural logarithm of its rms in
      IOD (at least 1e-4) over each of the parts of the face ``JITTER_GROUPS``. Generators leave traces there.

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
        if "jitter" in signals and smooth is None:
            raise ValueError("jitter is what smoothing takes away: give smooth a frequency")
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
        template = motion.face_template(points, valid)
        key = points[:, _KEY]  # nothing else is looked at
        smooth = key if self.smooth is None else kalman_rts(key, self.rate, self.smooth)
        pose = motion.head_pose(_whole(smooth), template)
        parts = {}
        if "pose" in self.slices or "jitter" in self.slices:
            parts["pose"] = motion.pose_signal(pose, valid)
        face = motion.aligned_shape(smooth, pose)
        if "expression" in self.slices or "scalars" in self.slices:
            neutral = motion.neutral_shape(smooth, pose, valid)
            parts["expression"] = (face - neutral)[:, _SEMANTIC].flatten(1)
            parts["scalars"] = motion.expression_scalars(_whole(face)) - motion.expression_scalars(_whole(neutral))
        if "jitter" in self.slices:
            seen = motion.head_pose(_whole(key), template)
            error = (motion.aligned_shape(key, seen) - face).square().mean(-1)
            rms = torch.stack([error[:, group].mean(-1).sqrt() for group in _GROUPS], dim=-1)
            parts["jitter"] = torch.cat(
                [motion.pose_signal(seen, valid) - parts["pose"], rms.clamp_min(_STILL).log()], dim=-1
            )
        return torch.cat([parts[signal] for signal in self.signals], dim=-1)


def _whole(key: Tensor) -> Tensor:
    """The key points ``(..., P, 3)`` in their places of a mesh that holds nothing else."""
    mesh = key.new_full((*key.shape[:-2], N_POINTS, 3), float("nan"))
    mesh[..., _KEY, :] = key
    return mesh
