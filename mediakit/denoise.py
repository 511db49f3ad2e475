"""Denoising of landmark tracks: optical flow while a video is decoded, zero-phase smoothing and resampling afterwards.

A detector looks at each frame anew, so its landmarks tremble; compression makes them tremble more. Flow knows how far
the skin really moved (:class:`LucasKanadeKalman`); smoothing knows how slowly a head moves (:func:`savgol`,
:func:`kalman_rts`). What smoothing takes away is a signal of its own (:func:`jitter`): generators leave traces there.

Signals are tensors ``(T, ...)``, time first; a frame with a NaN anywhere is a missing one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mediakit.errors import require
from mediakit.mesh import EYE_CORNERS
from mediakit.motion import interocular_distance

_MARGIN = 128  # px around the face: more than the window and the pyramid's filters reach on its coarsest level
_PRIOR = 1e6  # variance of the first state in measurement variances: as good as unknown
_SAME_RATE = 1.05  # a source at most this much faster than the wanted rate is not low-passed
_MEETS = 1e-3  # of a sample: times this close are one, so that float32 times do
_CHANNELS = 512  # worked on at a time, so that scratch copies of a long track stay small


class LucasKanadeKalman:
    """Forward-backward Lucas-Kanade flow with an adaptive Kalman gain for each point (Sun et al., CVPR 2021).

    With detections z and outputs p: f = LK(I₋ → I, p₋, starting at z), b = LK(I → I₋, f). Where both are found and
    ‖b - p₋‖ is at most 1 px for each 100 px of interocular distance, the detector's displacement against the flow's,
    d = ‖z - z₋‖ / ‖f - p₋‖ (a zero flow counts as 1 px: a tiny number instead would freeze still faces), says how much
    to believe the detector: P⁻ = P + 0.3, G = P⁻ / (P⁻ + d), p = f + G (z - f), P = (1 - G) P⁻. Elsewhere p = z.

    The state is one face's; use one object for each face track.

    Args:
        process_noise: What P grows by in a frame.
        window: Side of the LK window in pixels, odd.
        levels: Highest pyramid level (OpenCV's ``maxLevel``: 3 means four images).
    """

    def __init__(self, process_noise: float = 0.3, window: int = 15, levels: int = 3) -> None:
        self.process_noise = process_noise
        self.window = window
        self.levels = levels
        self._attempts = 0
        self._failures = 0
        self._state: tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any], NDArray[Any]] | None = None

    def reset(self) -> None:
        """Forgets the face, not the counts: call it where a track is interrupted."""
        self._state = None

    @property
    def failure_rate(self) -> float:
        """Share of points in [0, 1] whose flow failed the forward-backward check; 0 before any flow."""
        return self._failures / max(self._attempts, 1)

    def step(self, gray: NDArray[np.uint8], points: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Takes the next frame.

        Args:
            gray: Whole frame ``(H, W)`` uint8. A frame of another size starts afresh.
            points: Detected mesh ``(N, 3)`` in pixels. If one is not finite, no face was found: the state is forgotten
                and the points are returned as they are.

        Returns:
            ``(N, 3)`` float32: x and y denoised, z untouched.

        Raises:
            ValueError: Wrong shape or type.
        """
        out = np.array(points, np.float32)
        if gray.ndim != 2 or gray.dtype != np.uint8:
            raise ValueError(f"gray must be an (H, W) uint8 image, not {gray.shape} {gray.dtype}")
        if out.ndim != 2 or out.shape[1] != 3 or len(out) <= max(EYE_CORNERS):
            raise ValueError(f"points must be one face mesh (N, 3) with its eye corners, not {out.shape}")
        if not np.isfinite(out).all():
            self.reset()
            return out
        z = out[:, :2].astype(np.float64)
        p, error = z, np.zeros(len(z))
        if self._state is not None and self._state[0].shape == gray.shape and len(self._state[1]) == len(z):
            old_gray, old_z, old_p, old_error = self._state
            f, b = _flow_there_and_back(old_gray, gray, old_p, z, self.window, self.levels)
            tolerance = 0.01 * float(interocular_distance(torch.from_numpy(out)))
            valid = np.linalg.norm(b - old_p, axis=1) <= tolerance  # false where flow was not found: NaN
            flow = np.linalg.norm(f - old_p, axis=1)
            d = np.linalg.norm(z - old_z, axis=1) / np.where(flow > 0, flow, 1.0)
            prior = old_error + self.process_noise
            gain = prior / (prior + d)
            p = np.where(valid[:, None], f + gain[:, None] * (z - f), z)
            error = np.where(valid, (1 - gain) * prior, old_error)
            self._attempts += len(valid)
            self._failures += int(len(valid) - valid.sum())
        self._state = gray.copy(), z, p, error
        out[:, :2] = p
        return out


def _flow_there_and_back(
    before: NDArray[np.uint8],
    now: NDArray[np.uint8],
    start: NDArray[Any],
    guess: NDArray[Any],
    window: int,
    levels: int,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where points go from one frame to the next, and where going back leads; NaN where they are lost."""
    cv2 = require("cv2", "Optical flow", "opencv-python")
    # Only the pixels around the face are worth a pyramid (OpenCV's Python functions take no prebuilt one). A crop that
    # begins on the coarsest level's grid has the full frame's pyramid away from its border: the flow is the same up to
    # rounding, in less time.
    size = np.array(now.shape[::-1])
    both = np.concatenate([start, guess])
    low = np.clip((both.min(0) - _MARGIN) // 2**levels * 2**levels, 0, size - 1).astype(int)
    high = np.clip(np.ceil(both.max(0)) + _MARGIN, low + 1, size).astype(int)
    crops = [np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]) for image in (before, now)]
    options = {
        "winSize": (window, window),
        "maxLevel": levels,
        "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03),
    }
    origin, target = ((points - low).astype(np.float32) for points in (start, guess))
    there, found, _ = cv2.calcOpticalFlowPyrLK(*crops, origin, target, flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **options)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(*crops[::-1], there, None, **options)
    lost = (found & found_back) == 0
    return np.where(lost, np.nan, there + low), np.where(lost, np.nan, back + low)


def savgol(x: Tensor, window: int = 7, order: int = 2, deriv: int = 0, rate: float = 1.0) -> Tensor:
    """Savitzky-Golay filter: in each window the least-squares polynomial's value, or its derivative; zero-phase.

    The ends are the first and last window's polynomials (``scipy.signal.savgol_filter(mode="interp")``).

    Args:
        x: ``(T, ...)``; a NaN spreads over its window.
        window: Odd number of samples.
        order: Of the polynomial, below ``window``.
        deriv: Which derivative; 0 smooths.
        rate: Samples a second, for derivatives per second.

    Returns:
        ``(T, ...)`` in the dtype of ``x``.

    Raises:
        ValueError: ``window`` is even, not above ``order``, or longer than the signal.
    """
    if window % 2 != 1 or not 0 <= order < window:
        raise ValueError(f"window must be odd and above order >= 0, not window={window}, order={order}")
    if len(x) < window:
        raise ValueError(f"the signal has {len(x)} samples, fewer than the window of {window}; choose a shorter window")
    half = window // 2
    offsets = np.arange(-half, half + 1, dtype=np.float64)
    powers = np.arange(deriv, order + 1)
    falling = np.array([math.perm(int(k), deriv) for k in powers]) * rate**deriv
    # Rows: derivative at each offset, as weights of the window's samples.
    weights = (offsets[:, None] ** (powers - deriv) * falling) @ np.linalg.pinv(
        offsets[:, None] ** np.arange(order + 1)
    )[deriv:]
    taps = torch.from_numpy(weights).to(x)
    inner = torch.zeros_like(x[window - 1 :])
    for k in range(window):  # one copy of the signal, not one for each tap
        inner.add_(x[k : len(x) - window + 1 + k], alpha=float(weights[half, k]))
    first = torch.tensordot(taps[:half], x[:window], 1)
    last = torch.tensordot(taps[half + 1 :], x[-window:], 1)
    return torch.cat([first, inner, last])


def _rts_gains(missing: list[bool], rate: float, cutoff: float) -> tuple[NDArray[Any], ...]:
    """Transition, filter gains (T, 2) and smoother gains (T, 2, 2) of the constant-velocity model: no data in them."""
    dt = 1 / rate
    # White acceleration of density (2π cutoff)⁴ against white measurement noise of density 1.
    q00, q01, q11 = ((2 * math.pi * cutoff) ** 4 * share for share in (dt**3 / 3, dt**2 / 2, dt))
    r = 1 / dt
    p00, p01, p11 = _PRIOR * r, 0.0, _PRIOR * r * rate**2  # the covariance
    gains, smoothers = np.zeros((len(missing), 2)), np.zeros((len(missing), 2, 2))
    for t, lost in enumerate(missing):  # by hand: matrices of two rows cost NumPy more in calls than in sums
        if t:
            f00, f01 = p00 + dt * p01, p01 + dt * p11  # first row of transition @ covariance
            n00, n01, n11 = f00 + dt * f01 + q00, f01 + q01, p11 + q11
            scale = 1 / (n00 * n11 - n01 * n01)
            smoothers[t - 1] = (
                ((f00 * n11 - p01 * n01) * scale, (p01 * n00 - f00 * n01) * scale),
                ((f01 * n11 - p11 * n01) * scale, (p11 * n00 - f01 * n01) * scale),
            )
            p00, p01, p11 = n00, n01, n11
        if not lost:
            k0, k1 = p00 / (p00 + r), p01 / (p00 + r)
            gains[t] = k0, k1
            # Joseph's form stays positive where the prior is vague.
            p00, p01, p11 = (
                (1 - k0) ** 2 * p00 + r * k0 * k0,
                (1 - k0) * (p01 - k1 * p00) + r * k0 * k1,
                p11 - 2 * k1 * p01 + k1 * k1 * p00 + r * k1 * k1,
            )
    transition = np.array([[1.0, dt], [0.0, 1.0]])
    return transition, gains, smoothers


def kalman_rts(x: Tensor, rate: float = 30.0, cutoff: float = 5.0, valid: Tensor | None = None) -> Tensor:
    """Constant-velocity Kalman filter with Rauch-Tung-Striebel smoothing: zero-phase, and it bridges missing frames.

    Position and velocity driven by white acceleration, position measured in white noise. Only the ratio of the two
    noises shapes the estimate. It is given as the frequency at which the gain falls to one half: in steady state, well
    below rate/2, the smoother's response is 1 / (1 + (f / cutoff)⁴). The gains depend on no data and all channels
    share them.

    Args:
        x: ``(T, ...)``, any unit.
        rate: Samples a second.
        cutoff: Half-gain frequency in Hz. 5 Hz keeps speech and nods and drops most of the detector's noise at 30 Hz.
        valid: ``(T,)`` bool: measured frames; those that are finite if None.

    Returns:
        ``(T, ...)`` in the dtype of ``x``: the posterior mean position, in missing frames too; all NaN if nothing was
        measured.
    """
    flat = x.reshape(len(x), -1)
    measured = torch.isfinite(flat).all(-1) if valid is None else valid & torch.isfinite(flat).all(-1)
    if not measured.any():
        return torch.full_like(x, float("nan"))
    transition, gains, smoothers = _rts_gains((~measured).tolist(), rate, cutoff)
    gain, smoother = torch.from_numpy(gains).to(x), torch.from_numpy(smoothers).to(x)
    keep = torch.from_numpy((np.eye(2) - gains[:, :, None] * [1.0, 0.0]) @ transition).to(x)
    share = torch.from_numpy(np.eye(2) - smoothers @ transition).to(x)
    first = int(measured.nonzero()[0])
    smooth = []
    for block in flat.split(_CHANNELS, dim=1):  # the state is twice the signal
        origin = block[first]  # keeps the numbers small, and makes the prior's mean a sensible one
        state = gain[:, :, None] * torch.where(measured[:, None], block - origin, 0.0)[:, None, :]
        for t in range(1, len(x)):
            state[t].addmm_(keep[t], state[t - 1])
        state = share @ state
        for t in range(len(x) - 2, -1, -1):
            state[t].addmm_(smoother[t], state[t + 1])
        smooth.append(state[:, 0] + origin)
    return torch.cat(smooth, dim=1).reshape(x.shape)


def bridge(x: Tensor) -> Tensor:
    """Fills missing frames (a NaN anywhere) by straight lines between their neighbours, and by the nearest at the ends.

    Args:
        x: ``(T, ...)``.

    Raises:
        ValueError: All frames are missing.
    """
    flat = x.flatten(1)
    known = torch.isfinite(flat).all(-1).nonzero().squeeze(-1)
    if not len(known):
        raise ValueError("all frames are missing")
    at = torch.arange(len(x))
    after = torch.searchsorted(known, at).clamp(max=len(known) - 1)
    before = (torch.searchsorted(known, at, right=True) - 1).clamp(min=0)
    low, high = known[before], known[after]
    share = ((at - low) / (high - low).clamp(min=1)).clamp(0, 1).to(x.dtype)[:, None]
    return ((1 - share) * flat[low] + share * flat[high]).reshape(x.shape)


def jitter(points: Tensor, smooth: Tensor) -> Tensor:
    """What smoothing took away, in interocular distances: ``(T, N, 3)`` pixels, twice -> ``(T, N, 3)``."""
    return (points - smooth) / interocular_distance(smooth)[:, None, None]


def resample(x: Tensor, time: Tensor, rate: float = 30.0) -> tuple[Tensor, Tensor]:
    """Resamples a signal to a uniform rate by its time stamps (variable frame rate), on the CPU.

    Cubic spline through the samples; where the source is faster than ``rate``, at a whole multiple of ``rate``, then
    low-passed below rate/2 (Kaiser-windowed sinc, zero-phase) and decimated, so that nothing faster folds back.

    Args:
        x: ``(T, ...)``. Missing frames are bridged for the filter's sake.
        time: ``(T,)`` seconds, strictly increasing.
        rate: Samples a second wanted.

    Returns:
        Signal ``(T', ...)`` in the dtype of ``x``, NaN between two samples of which one is missing, and its times
        ``(T',)`` float64 from ``time[0]`` to at most ``time[-1]``.

    Raises:
        ValueError: Times do not match, are not finite or do not increase.
    """
    interpolate = require("scipy.interpolate", "Resampling")
    signal = require("scipy.signal", "Resampling")
    if time.shape != x.shape[:1] or not len(time):
        raise ValueError(f"time {tuple(time.shape)} must give one instant for each of the {len(x)} samples")
    at = time.detach().cpu().double().numpy()
    if not (np.isfinite(at).all() and (np.diff(at) > 0).all()):
        raise ValueError("time must be finite and strictly increasing; drop repeated frames first")
    wanted = at[0] + np.arange(int((at[-1] - at[0]) * rate + _MEETS) + 1) / rate
    flat = x.detach().cpu().reshape(len(x), -1)
    measured = torch.isfinite(flat).all(-1).numpy()
    out = torch.full((len(wanted), flat.shape[1]), float("nan"), dtype=x.dtype)
    if len(at) == 1:
        out[:] = flat
    elif measured.any():
        source = 1 / np.median(np.diff(at))
        factor = 1 if source <= _SAME_RATE * rate else math.ceil(source / rate)
        grid = at[0] + np.arange((len(wanted) - 1) * factor + 1) / (rate * factor)
        # In blocks of channels: float64 copies of a long track would be large.
        for block, goal in zip(flat.split(_CHANNELS, dim=1), out.split(_CHANNELS, dim=1), strict=True):
            known = block[measured].double().numpy()
            if not measured.all():
                known = np.stack([np.interp(at, at[measured], channel) for channel in known.T], axis=1)
            y = interpolate.CubicSpline(at, known)(grid)
            if factor > 1:
                y = signal.resample_poly(y, 1, factor, axis=0, padtype="line")
            goal[:] = torch.from_numpy(y)
        # An output is as good as the two samples around it, or the one sample that it meets.
        before = np.clip(np.searchsorted(at, wanted + _MEETS / rate, side="right") - 1, 0, len(at) - 1)
        after = np.where(wanted - at[before] < _MEETS / rate, before, np.minimum(before + 1, len(at) - 1))
        out[torch.from_numpy(~(measured[before] & measured[after]))] = float("nan")
    return out.reshape(-1, *x.shape[1:]).to(x.device), torch.from_numpy(wanted).to(time.device)
