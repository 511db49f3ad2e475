"""Denoising: a plain reference filter, SciPy, dense Gaussian posteriors and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.signal import savgol_filter

from mediakit import denoise
from mediakit.denoise import LucasKanadeKalman, bridge, jitter, kalman_rts, resample, savgol
from mediakit.mesh import N_POINTS


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- Lucas-Kanade-Kalman ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sequence():
    """Frames of one texture that drifts by a subpixel step, true points, and noisy detections of them.

    A hand of pure noise covers a corner of the face.
    """
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    canvas = cv2.GaussianBlur(rng.integers(0, 255, (520, 680), np.uint8), (0, 0), 2.5)
    canvas = cv2.normalize(canvas, None, 0, 255, cv2.NORM_MINMAX)
    start = rng.uniform([270, 200], [370, 300], (N_POINTS, 2))
    start[[33, 263]] = [[270, 250], [370, 250]]
    grays, truth, detected = [], [], []
    for t in range(14):
        shift = np.array([1.3 * t, -0.7 * t])
        grays.append(cv2.warpAffine(canvas, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), (680, 520)))
        hand = cv2.GaussianBlur(rng.integers(0, 255, (30, 40), np.uint8), (0, 0), 1.5)
        grays[-1][200:230, 270:310] = hand
        truth.append(start + shift)
        points = np.concatenate([truth[-1] + rng.normal(0, 0.8, start.shape), rng.normal(0, 5, (N_POINTS, 1))], 1)
        detected.append(points.astype(np.float32))
    return grays, np.array(truth), np.array(detected)


def reference(grays: list, detected: np.ndarray) -> np.ndarray:
    """The published recursion, point by point on whole frames."""
    import cv2

    options = {
        "winSize": (15, 15),
        "maxLevel": 3,
        "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03),
    }
    out = [detected[0, :, :2].astype(float)]
    variance = np.zeros(N_POINTS)
    for t in range(1, len(grays)):
        before, z, last = out[-1], detected[t, :, :2].astype(float), detected[t - 1, :, :2].astype(float)
        p0 = before.astype(np.float32)
        f, ok, _ = cv2.calcOpticalFlowPyrLK(
            grays[t - 1], grays[t], p0, z.astype(np.float32), flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **options
        )
        b, ok_back, _ = cv2.calcOpticalFlowPyrLK(grays[t], grays[t - 1], f, None, **options)
        iod = np.linalg.norm(detected[t, 33] - detected[t, 263])
        result = z.copy()
        for n in range(N_POINTS):
            if not (ok[n, 0] and ok_back[n, 0]) or math.dist(b[n], p0[n]) > iod / 100:
                continue
            flow = math.dist(f[n], before[n]) or 1.0
            d = math.dist(z[n], last[n]) / flow
            prior = variance[n] + 0.3
            gain = prior / (prior + d)
            result[n] = f[n] + gain * (z[n] - f[n])
            variance[n] = (1 - gain) * prior
        out.append(result)
    return np.array(out)


def test_filter_is_the_published_one(sequence):
    grays, _, detected = sequence
    tracker = LucasKanadeKalman()
    out = np.array([tracker.step(gray, points) for gray, points in zip(grays, detected, strict=True)])
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out[..., 2], detected[..., 2])
    assert 0.02 < tracker.failure_rate < 0.2
    # On a crop instead of the whole frame: equal but for the odd iteration that stops at OpenCV's 0.03 px.
    difference = np.abs(out[..., :2] - reference(grays, detected))
    assert np.quantile(difference, 0.99) < 1e-3
    assert np.quantile(difference, 0.999) < 0.03


def test_flow_takes_noise_away(sequence):
    grays, truth, detected = sequence
    tracker = LucasKanadeKalman()
    out = np.array([tracker.step(gray, torch.from_numpy(points)) for gray, points in zip(grays, detected, strict=True)])

    def tremble(x: np.ndarray) -> float:
        return float(np.median(np.abs(np.diff(x[2:, :, :2] - truth[2:], axis=0))))

    assert tremble(out) < 0.5 * tremble(detected)
    assert np.std(out[4:, :, :2] - truth[4:]) < np.std(detected[4:, :, :2] - truth[4:])


def test_gain_by_hand_where_nothing_flows(monkeypatch):
    monkeypatch.setattr(denoise, "_flow_there_and_back", lambda before, now, start, *rest: (start, start))
    tracker, gray = LucasKanadeKalman(), np.zeros((400, 400), np.uint8)
    points = np.zeros((N_POINTS, 3), np.float32)
    points[263, 0] = 100
    out = []
    for x in (0, 2, 4, 4):
        points[7, 0] = x
        out.append(float(tracker.step(gray, points)[7, 0]))
    # d = 2 px / 1 px, P = .3: G = .3/2.3; then P = .2609 + .3: G = .5609/2.5609; then the detector rests: G = 1.
    assert out == pytest.approx([0, 0.2609, 1.0798, 4], abs=1e-4)


def test_lost_flow_leaves_the_detection(sequence):
    grays, _, detected = sequence
    tracker = LucasKanadeKalman()
    tracker.step(grays[0], detected[0])
    strange = np.random.default_rng(1).integers(0, 255, grays[0].shape, np.uint8)
    out = tracker.step(strange, detected[1])
    assert tracker.failure_rate > 0.5
    kept = np.all(out == detected[1], axis=1)
    assert kept.mean() == pytest.approx(tracker.failure_rate, abs=0.01)


def test_new_face_new_size_and_reset_start_afresh(sequence):
    grays, _, detected = sequence
    tracker = LucasKanadeKalman()

    def fresh(gray: np.ndarray, points: np.ndarray) -> bool:
        return np.array_equal(tracker.step(gray, points), points, equal_nan=True)

    assert fresh(grays[0], detected[0])
    assert not fresh(grays[1], detected[1])
    assert fresh(grays[2], np.full_like(detected[2], np.nan))
    assert fresh(grays[3], detected[3])
    assert fresh(np.ascontiguousarray(grays[4][:400]), detected[4])
    tracker.reset()
    assert fresh(grays[5], detected[5])
    assert 0 < tracker._attempts == N_POINTS  # one flow in all; the counts outlive a reset


def test_caller_may_reuse_its_buffer_and_faces_may_leave_the_frame(sequence):
    grays, _, detected = sequence
    plain, reused, buffer = LucasKanadeKalman(), LucasKanadeKalman(), grays[0].copy()
    for gray, points in zip(grays[:3], detected[:3], strict=True):
        buffer[:] = gray
        np.testing.assert_array_equal(plain.step(gray, points), reused.step(buffer, points))
    away = detected[3] - np.float32([3000, 3000, 0])
    for points in (away, away):
        np.testing.assert_array_equal(plain.step(grays[3], points), away)


@pytest.mark.parametrize(
    ("gray", "points", "message"),
    [
        (np.zeros((9, 9, 3), np.uint8), np.zeros((N_POINTS, 3)), "gray"),
        (np.zeros((9, 9), np.float32), np.zeros((N_POINTS, 3)), "gray"),
        (np.zeros((9, 9), np.uint8), np.zeros((68, 3)), "face mesh"),
    ],
)
def test_wrong_input_is_refused(gray, points, message):
    with pytest.raises(ValueError, match=message):
        LucasKanadeKalman().step(gray, points)


# --- smoothing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "order", "deriv"), [(7, 2, 0), (7, 2, 1), (9, 4, 2), (5, 3, 1), (3, 0, 0)])
def test_savgol_agrees_with_scipy_to_the_ends(window, order, deriv):
    x = noise(20, 4, 3)
    expected = savgol_filter(x.numpy(), window, order, deriv=deriv, delta=1 / 30, axis=0)
    np.testing.assert_allclose(savgol(x, window, order, deriv, rate=30.0), expected, rtol=1e-9, atol=1e-9)
    assert savgol(x.float(), window, order, deriv).dtype == torch.float32


def test_savgol_gives_exact_derivatives_of_polynomials():
    t = torch.arange(30, dtype=torch.float64) / 25
    torch.testing.assert_close(savgol(3 * t**2 - t, rate=25.0), 3 * t**2 - t)
    torch.testing.assert_close(savgol(3 * t**2 - t, deriv=1, rate=25.0), 6 * t - 1)
    torch.testing.assert_close(savgol(3 * t**2 - t, deriv=2, rate=25.0), torch.full_like(t, 6))
    for bad, message in (({"window": 6}, "odd"), ({"order": 7}, "order"), ({"window": 31}, "shorter window")):
        with pytest.raises(ValueError, match=message):
            savgol(t, **bad)


def dense_posterior(z: np.ndarray, measured: np.ndarray, rate: float, cutoff: float) -> np.ndarray:
    """Mean position of the same Gaussian model from one joint normal distribution, no recursion."""
    steps, dt = len(z), 1 / rate
    move = np.array([[1, dt], [0, 1]])
    q = (2 * np.pi * cutoff) ** 4 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
    prior = 1e6 * rate * np.diag([1, rate**2])
    marginal = [prior]
    for _ in range(steps - 1):
        marginal.append(move @ marginal[-1] @ move.T + q)
    joint = np.zeros((2 * steps, 2 * steps))
    for s in range(steps):
        for t in range(s, steps):
            block = np.linalg.matrix_power(move, t - s) @ marginal[s]
            joint[2 * t : 2 * t + 2, 2 * s : 2 * s + 2] = block
            joint[2 * s : 2 * s + 2, 2 * t : 2 * t + 2] = block.T
    observe = np.zeros((int(measured.sum()), 2 * steps))
    observe[np.arange(len(observe)), 2 * np.flatnonzero(measured)] = 1
    centred = z[measured] - z[measured][0]
    gain = joint @ observe.T @ np.linalg.inv(observe @ joint @ observe.T + rate * np.eye(len(observe)))
    return (gain @ centred)[::2] + z[measured][0]


@pytest.mark.parametrize("missing", [[], [0, 4, 5, 11]])
def test_kalman_rts_is_the_gaussian_posterior(missing):
    z = 100 + noise(12, 3).cumsum(0)
    measured = np.ones(12, bool)
    measured[missing] = False
    holes = z.clone()
    holes[missing] = float("nan")
    found = kalman_rts(holes, rate=30.0, cutoff=4.0)
    # The vague prior (1e6) costs the dense inverse some digits.
    np.testing.assert_allclose(found, dense_posterior(z.numpy(), measured, 30.0, 4.0), atol=2e-6)
    torch.testing.assert_close(kalman_rts(z, 30.0, 4.0, torch.from_numpy(measured)), found)


def test_kalman_rts_has_half_gain_at_its_cutoff_and_no_delay():
    t = torch.arange(600, dtype=torch.float64) / 60
    for frequency, cutoff in ((3.0, 3.0), (1.0, 3.0), (6.0, 3.0)):
        phase = 2 * torch.pi * frequency * t
        out = kalman_rts(torch.sin(phase), rate=60.0, cutoff=cutoff)[120:-120]
        basis = torch.stack([torch.sin(phase), torch.cos(phase)], dim=1)[120:-120]
        in_phase, quadrature = torch.linalg.lstsq(basis, out).solution
        assert float(in_phase) == pytest.approx(1 / (1 + (frequency / cutoff) ** 4), abs=0.01)
        assert abs(float(quadrature)) < 1e-3


def test_kalman_rts_keeps_lines_and_bridges_gaps():
    t = torch.arange(50, dtype=torch.float64)
    line = torch.stack([500 + 2 * t, -3 * t], dim=1)
    torch.testing.assert_close(kalman_rts(line), line, rtol=0, atol=1e-3)
    holes = line.clone()
    holes[20:26] = float("nan")
    torch.testing.assert_close(kalman_rts(holes), line, rtol=0, atol=1e-3)
    torch.testing.assert_close(kalman_rts(line[:1]), line[:1])
    assert torch.isnan(kalman_rts(torch.full((5, 2), float("nan")))).all()


def test_kalman_rts_in_blocks_and_in_float32(monkeypatch):
    x = 600 + 3 * noise(200, N_POINTS, 3)
    whole = kalman_rts(x)
    single = kalman_rts(x.float())
    assert single.dtype == torch.float32
    assert (single - whole).abs().max() < 1e-3
    monkeypatch.setattr(denoise, "_CHANNELS", 100)
    torch.testing.assert_close(kalman_rts(x), whole, rtol=0, atol=1e-9)


def test_smoothing_finds_the_movement_under_the_noise():
    t = torch.arange(300, dtype=torch.float64) / 30
    clean = 10 * torch.sin(2 * torch.pi * t)[:, None] + torch.zeros(300, 20, dtype=torch.float64)
    noisy = clean + noise(300, 20)
    for smooth in (savgol(noisy), kalman_rts(noisy)):
        assert (smooth - clean).std() < 0.7 * (noisy - clean).std()


def test_jitter_is_in_interocular_distances():
    smooth = torch.zeros(2, N_POINTS, 3)
    smooth[:, 263, 0] = torch.tensor([50.0, 200.0])
    points = smooth.clone()
    points[:, 7, 1] += 2
    found = jitter(points, smooth)
    assert found[:, 7, 1].tolist() == pytest.approx([0.04, 0.01])
    assert found.abs().sum() == pytest.approx(0.05)


# --- resampling -------------------------------------------------------------------------------------------------------


def sine(t: torch.Tensor, frequency: float) -> torch.Tensor:
    return torch.sin(2 * torch.pi * frequency * t + 0.4)


def test_irregular_samples_come_out_regular():
    generator = torch.Generator().manual_seed(0)
    time = 5 + torch.cumsum(0.03 + 0.02 * torch.rand(200, generator=generator, dtype=torch.float64), 0)  # 20-33 fps
    x = torch.stack([sine(time, 1.5), sine(time, 3.0)], dim=1)
    out, at = resample(x.reshape(200, 1, 2), time, rate=30.0)
    assert out.shape == (len(at), 1, 2)
    assert at[0] == time[0]
    assert time[-1] - 1 / 30 < at[-1] <= time[-1]
    np.testing.assert_allclose(at.diff(), 1 / 30)
    inner = slice(5, -5)
    assert (out[inner, 0, 0] - sine(at, 1.5)[inner]).abs().max() < 2e-3
    assert (out[inner, 0, 1] - sine(at, 3.0)[inner]).abs().max() < 3e-2


def test_what_the_lower_rate_cannot_hold_is_removed():
    time = torch.arange(360, dtype=torch.float64) / 60
    out, at = resample(torch.stack([sine(time, 2), sine(time, 12), 3 * time], dim=1), time, rate=15.0)
    assert len(at) == 90
    inner = slice(12, -12)
    assert (out[inner, 0] - sine(at, 2)[inner]).abs().max() < 5e-3
    assert out[inner, 1].abs().max() < 5e-3  # decimation alone would show it at 3 Hz, full size
    assert sine(time, 12)[::4][inner].abs().max() > 0.9
    torch.testing.assert_close(out[:, 2], 3 * at, rtol=0, atol=5e-3)  # a line stays, to its ends


def test_odd_ratios_and_nearly_equal_rates():
    time = torch.arange(250, dtype=torch.float64) / 50
    out, at = resample(torch.stack([sine(time, 3), sine(time, 22)], dim=1), time)  # 50 -> 30 Hz
    assert (out[10:-10, 0] - sine(at, 3)[10:-10]).abs().max() < 5e-3
    assert out[10:-10, 1].abs().max() < 0.05
    time = torch.arange(100, dtype=torch.float64) / 30.3
    x = sine(time, 14)
    out, at = resample(x, time)  # interpolated only, not low-passed: the rates are the same but for the clock
    np.testing.assert_allclose(out, CubicSpline(time, x)(at), atol=1e-12)
    same = noise(40, 3).float()
    out, _ = resample(same, torch.arange(40) / 30)
    torch.testing.assert_close(out, same, rtol=0, atol=1e-5)
    assert out.dtype == torch.float32


def test_missing_frames_stay_missing_and_spoil_nothing():
    time = torch.arange(120, dtype=torch.float64) / 60
    x = sine(time, 1)[:, None]
    holes = x.clone()
    holes[50:61] = float("nan")
    out, at = resample(holes, time, rate=30.0)
    lost = torch.isnan(out[:, 0])
    assert torch.equal(lost, (at > 49.5 / 60) & (at < 60.5 / 60))
    whole, _ = resample(x, time, rate=30.0)
    far = ~lost & ((at < 40 / 60) | (at > 70 / 60))
    torch.testing.assert_close(out[far], whole[far], rtol=0, atol=5e-3)

    ends = torch.tensor([float("nan"), 1.0, 2.0, float("nan")])
    out, _ = resample(ends, torch.arange(4) / 15)
    assert torch.isnan(out).tolist() == [True, True, False, False, False, True, True]
    assert torch.isnan(resample(torch.full((4, 2), float("nan")), torch.arange(4) / 15)[0]).all()


def test_short_signals_and_wrong_times():
    assert resample(torch.tensor([7.0]), torch.tensor([3.0]))[0].tolist() == [7]
    out, _ = resample(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.1]))
    assert out.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-6)
    for time in (torch.zeros(2), torch.tensor([0.0, float("nan")])):
        with pytest.raises(ValueError, match="strictly increasing"):
            resample(torch.zeros(2), time)
    with pytest.raises(ValueError, match="one instant"):
        resample(torch.zeros(2), torch.zeros(3))


def test_bridge():
    nan = float("nan")
    x = torch.tensor([[nan, 1.0], [2.0, 1.0], [3.0, nan], [nan, nan], [8.0, 4.0], [nan, nan]])
    wanted = torch.tensor([[2.0, 1.0], [2.0, 1.0], [4.0, 2.0], [6.0, 3.0], [8.0, 4.0], [8.0, 4.0]])
    torch.testing.assert_close(bridge(x), wanted)
    with pytest.raises(ValueError, match="all frames"):
        bridge(x[-1:])
