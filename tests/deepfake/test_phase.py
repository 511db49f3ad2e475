"""Phase space against closed forms, hand-worked series, plain loops, chaotic flows and NeuroKit2."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mediakit.deepfake.phase import (
    average_mutual_information,
    delay_embed,
    false_nearest_neighbors,
    first_minimum,
    loop_area,
    loop_length,
    phase_plane,
    phase_portrait,
    recurrence_rate,
    surrogate_mutual_information,
)

NAN, INF = float("nan"), float("inf")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sine(samples: int, period: float, amplitude: float = 1.0) -> torch.Tensor:
    return amplitude * torch.sin(2 * math.pi * torch.arange(samples, dtype=torch.float64) / period)


def coordinate(field, step: float, samples: int = 3000, skip: int = 1000) -> torch.Tensor:
    """The first coordinate of a flow, on its attractor."""
    time = np.arange(samples + skip) * step
    return torch.from_numpy(solve_ivp(field, (0, time[-1]), [1.0, 1.0, 1.0], t_eval=time, rtol=1e-7).y[0, skip:])


@pytest.fixture(scope="module")
def lorenz() -> torch.Tensor:
    return coordinate(lambda t, v: [10 * (v[1] - v[0]), v[0] * (28 - v[2]) - v[1], v[0] * v[1] - 8 / 3 * v[2]], 0.01)


@pytest.fixture(scope="module")
def roessler() -> torch.Tensor:
    return coordinate(lambda t, v: [-v[1] - v[2], v[0] + 0.2 * v[1], 0.2 + v[2] * (v[0] - 5.7)], 0.05)


@pytest.fixture(scope="module")
def neurokit():
    import neurokit2

    return neurokit2


def test_embedding_by_hand():
    x = torch.arange(6.0)
    assert delay_embed(x, 3, 2).tolist() == [[4, 2, 0], [5, 3, 1]]
    assert delay_embed(x, 3, 2, order="forward").tolist() == [[0, 2, 4], [1, 3, 5]]
    two = torch.stack([x, 10 * x], 1)
    assert delay_embed(two, 2, 4).tolist() == [[4, 40, 0, 0], [5, 50, 1, 10]]
    assert torch.equal(delay_embed(two.expand(3, 6, 2), 2, 4)[1], delay_embed(two, 2, 4))
    assert delay_embed(x, 1, 9).tolist() == x[:, None].tolist()
    with pytest.raises(ValueError, match="needs more than 6"):
        delay_embed(x, 3, 3)
    with pytest.raises(ValueError, match="order must be"):
        delay_embed(x, 2, 1, order="past")


def test_embedding_and_recurrence_as_neurokit_has_them(neurokit, lorenz):
    x = lorenz[:400]
    embedded = delay_embed(x, 3, 7, order="forward")
    assert np.array_equal(embedded.numpy(), neurokit.complexity_embedding(x.numpy(), delay=7, dimension=3))
    matrix, _ = neurokit.recurrence_matrix(x.numpy(), delay=7, dimension=3, tolerance=5.0)
    n = len(embedded)
    assert 0.01 < recurrence_rate(embedded, 5.0) < 0.5
    assert recurrence_rate(embedded, 5.0) == pytest.approx((matrix.sum() - n) / (n * n - n), abs=1e-12)
    far = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) > 20
    assert recurrence_rate(embedded, 5.0, theiler=20) == pytest.approx(matrix[far].mean(), abs=1e-12)


@pytest.mark.parametrize("lag", [1, 3, 10, 17])
def test_a_sine_is_an_ellipse(lag):
    period, amplitude = 40, 2.0
    phase = 2 * math.pi * lag / period
    path = delay_embed(sine(period + lag, period, amplitude), 2, lag)
    polygon = period / 2 * math.sin(2 * math.pi / period)  # of one turn, where the circle has π
    assert loop_area(path) == pytest.approx(polygon * amplitude**2 * math.sin(phase))
    axes = torch.linalg.svdvals(path) / math.sqrt(period / 2)  # a coordinate a·sin has a mean square of a² / 2
    expected = [math.sqrt(2) * amplitude * f(phase / 2) for f in (math.cos, math.sin)]
    assert axes.tolist() == pytest.approx(sorted(expected, reverse=True))


def test_derivatives_of_a_cubic_are_exact_and_of_a_sine_nearly():
    t = torch.arange(50, dtype=torch.float64) / 30
    plane = phase_plane(t**3 - 2 * t, rate=30)
    assert torch.allclose(plane, torch.stack([t**3 - 2 * t, 3 * t**2 - 2, 6 * t], 1), atol=1e-9)
    s, ds, dds = phase_plane(sine(90, 30), rate=30).T[:, 6:-6]
    w = 2 * math.pi
    assert (ds / w).square().add(s.square()).sub(1).abs().max() < 0.01
    assert (dds + w * w * s).abs().max() < 0.06 * w * w
    # clockwise, and of the area π A² ω
    assert loop_area(phase_plane(sine(90, 30), rate=30)[30:60, :2]) == pytest.approx(-math.pi * w, rel=0.02)


def test_loops():
    square = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
    assert loop_area(square) == 2
    assert loop_area(square.flip(0)) == -2
    assert loop_area(square.repeat(3, 1) + 7) == 6  # three turns
    eight = torch.stack([sine(80, 80), sine(80, 40)], 1)
    assert loop_area(eight) == pytest.approx(0, abs=1e-12)
    assert loop_length(square, rate=30) == pytest.approx(30 * (2 + 1 + 2) / 3)
    turn = torch.arange(61, dtype=torch.float64) * (2 * math.pi / 60)
    circle = 3 * torch.stack([turn.cos(), turn.sin()], 1)
    assert loop_length(circle, rate=30) == pytest.approx(2 * math.pi * 3 / 2, rel=1e-3)  # a turn in two seconds
    circle[20:25] = NAN
    assert loop_length(circle, rate=30) == pytest.approx(2 * math.pi * 3 / 2, rel=1e-3)
    assert loop_area(circle[:-1]) > 0
    assert math.isnan(loop_length(circle[:1], rate=30))
    assert loop_area(circle[20:25]) == 0


def test_a_portrait_is_in_step_with_time_and_free_of_unit():
    x = sine(90, 30, 5.0) + 12
    path = phase_portrait(x, lag=6)
    assert path.shape == (90, 2)
    assert path[:6].isnan().all()
    z = (x - 12) / (5 / math.sqrt(2))
    assert torch.allclose(path[6:], torch.stack([z[6:], z[:-6]], 1))
    assert torch.allclose(phase_portrait(-3 * x + 1, 6)[6:], -path[6:])
    assert torch.allclose(phase_portrait(x, 6, scale=2.0)[6:], path[6:] * 5 / math.sqrt(2) / 2)
    x[40] = NAN
    assert phase_portrait(x, 6).isnan().any(1).nonzero().squeeze().tolist() == [*range(6), 40, 46]
    assert phase_portrait(torch.full((9,), 4.0), 2)[2:].tolist() == [[0, 0]] * 7


def test_mutual_information_by_hand():
    # pairs 01 11 10 01: H(a) = 1, H(b) = H(1/4), H(ab) = 1.5
    ami = average_mutual_information(torch.tensor([0.0, 1, 1, 0, 1]), 1, bins=2)
    assert ami.tolist() == pytest.approx([0.970951, 1 + 0.811278 - 1.5], abs=1e-6)
    gap = average_mutual_information(torch.tensor([0.0, 1, 1, 0, 1, NAN, 0, NAN]), 1, bins=2)
    assert gap[1].item() == pytest.approx(ami[1].item())
    assert average_mutual_information(torch.ones(9), 3).tolist() == [0] * 4
    with pytest.raises(ValueError, match=r"max_lag in 0..8"):
        average_mutual_information(torch.ones(9), 9)
    with pytest.raises(ValueError, match="no sample"):
        average_mutual_information(torch.full((9,), NAN), 2)


def test_mutual_information_of_a_sines_sign_is_that_of_the_angle_and_least_at_a_quarter():
    period = 64
    ami = average_mutual_information(sine(period * 200, period + 1e-3), 40, bins=2)
    for lag in range(41):
        same = 1 - min(2 * lag / period, 2 - 2 * lag / period)  # share of moments whose sign a lag leaves alone
        entropy = -sum(p * math.log2(p) for p in (same, 1 - same) if p)
        assert ami[lag].item() == pytest.approx(1 - entropy, abs=2e-3)
    assert first_minimum(ami) == period // 4


def test_mutual_information_as_neurokit_has_it(neurokit, lorenz):
    x = lorenz.numpy().copy()
    x[1000], x[1001] = 25, -25  # the extremes are in every pair of parts, so that both use the same bins
    ours = average_mutual_information(torch.from_numpy(x), 40)
    for lag in (1, 5, 17, 40):
        theirs = neurokit.mutual_information(x[:-lag], x[lag:], method="nolitsa", bins=16)
        assert ours[lag].item() == pytest.approx(theirs, abs=1e-9)


@given(st.integers(0, 10**6), st.floats(0.1, 100), st.floats(-50, 50))
@settings(max_examples=20, deadline=None)
def test_mutual_information_knows_neither_units_nor_the_arrow_of_time(seed, scale, offset):
    x = torch.randn(300, generator=seeded(seed), dtype=torch.float64).cumsum(0)
    ami = average_mutual_information(x, 20)
    assert torch.allclose(average_mutual_information(x.flip(0), 20), ami)
    assert torch.allclose(average_mutual_information(scale * x + offset, 20), ami, atol=0.02)  # rounding at an edge
    assert (ami <= math.log2(16)).all()


def test_first_minimum_by_hand():
    for ami, lag in (
        ([3, 2, 1, 2], 2),
        ([3, 1, 1, 2], 1),
        ([3, 2, 2, 1, 4], 3),
        ([1, 2, 1, 2], 2),
        ([3, 2, 1], None),
        ([0, 0, 0], None),
        ([1], None),
    ):
        assert first_minimum(torch.tensor(ami, dtype=torch.float64)) == lag
    ami = torch.tensor([3.0, 1.0, 2.0])
    assert first_minimum(ami, torch.tensor([[3.0, 0.9, 0.0], [3.0, 0.8, 9.0]])) == 1
    assert first_minimum(ami, torch.tensor([[3.0, 0.9, 0.0], [3.0, 1.1, 0.0]])) is None
    with pytest.raises(ValueError, match=r"surrogates \(count, L\)"):
        first_minimum(ami, torch.zeros(3))


def test_chaotic_flows_have_the_delay_and_dimension_that_the_literature_gives(lorenz, roessler):
    for x, step, low, high, most_false in ((lorenz, 0.01, 0.15, 0.2, 0.01), (roessler, 0.05, 1.0, 2.0, 0.03)):
        ami = average_mutual_information(x, 60)
        lag = first_minimum(ami, surrogate_mutual_information(x, 60, generator=seeded()))
        assert lag is not None
        assert low <= lag * step <= high
        fractions = false_nearest_neighbors(x, lag, 4)
        assert fractions[0] > 0.5
        assert (fractions[2:] < most_false).all()
        assert torch.allclose(false_nearest_neighbors(x.float(), lag, 4), fractions, atol=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_white_noise_has_no_delay_and_no_dimension(seed):
    x = torch.randn(1500, generator=seeded(seed), dtype=torch.float64)
    ami = average_mutual_information(x, 40)
    assert first_minimum(ami) is not None  # what the surrogates are for
    surrogates = surrogate_mutual_information(x, 40, generator=seeded(seed))
    assert surrogates.shape == (39, 41)
    assert torch.equal(surrogates, surrogate_mutual_information(x, 40, generator=seeded(seed)))
    assert first_minimum(ami, surrogates) is None
    assert false_nearest_neighbors(x, 1, 8).min() > 0.1


def test_false_neighbors_by_hand():
    # states with a next value: 0>1, 1>5, 5>1.1, 1.1>9, 9>0.2
    # nearest: 0~1 (R 1, d 4), 1~1.1 (0.1, 4), 5~1.1 (3.9, 7.9), 1.1~1 (0.1, 4), 9~5 (4, 0.9); σ = 3.26
    x = torch.tensor([0.0, 1.0, 5.0, 1.1, 9.0, 0.2])
    for rtol, atol, theiler, false in (
        (15, INF, 0, 2),
        (3, INF, 0, 3),
        (INF, 2, 0, 1),
        (15, 2, 0, 3),
        (15, INF, 1, 2),  # now 0~1.1 (R 1.1, d 8) and 5~9 (4, 0.9)
        (7, INF, 1, 3),
    ):
        assert false_nearest_neighbors(x, 1, 1, rtol, atol, theiler).tolist() == [false / 5]
    repeated = torch.tensor([0.0, 0.0, 1.0, 3.0])  # 0>0 ~ 1>3, 0>1 ~ 1>3, 1>3 ~ 0>0: never the other 0
    assert false_nearest_neighbors(repeated, 1, 1, 2.5, INF, 0).tolist() == pytest.approx([2 / 3])
    assert false_nearest_neighbors(torch.ones(20), 1, 2).isnan().all()
    with pytest.raises(ValueError, match="at least 8"):
        false_nearest_neighbors(torch.ones(7), 2, 3)


def loops(x: np.ndarray, lag: int, m: int, rtol: float, atol: float, theiler: int) -> float:
    """False neighbours as one would write them down, one pair at a time."""
    n = len(x) - m * lag
    states = [x[t : t + m * lag : lag] for t in range(n)]
    whole = [bool(np.isfinite(x[t : t + m * lag + 1 : lag]).all()) for t in range(n)]
    false = counted = 0
    for i in range(n):
        pairs = [
            (math.dist(states[i], states[j]), j)
            for j in range(n)
            if whole[i] and whole[j] and abs(i - j) > theiler and math.dist(states[i], states[j]) > 0
        ]
        if pairs:
            r, j = min(pairs)
            d = abs(x[i + m * lag] - x[j + m * lag])
            counted += 1
            false += d / r > rtol or math.hypot(r, d) / np.nanstd(x) > atol
    return false / counted


def test_false_neighbors_as_plain_loops_count_them_with_gaps_too():
    x = torch.randn(300, generator=seeded(), dtype=torch.float64).cumsum(0)  # more than one block of rows
    x[[20, 21, 150, 290]] = NAN
    ours = false_nearest_neighbors(x, 3, 3, rtol=4, atol=0.7)
    assert ours.tolist() == pytest.approx([loops(x.numpy(), 3, m, 4, 0.7, 3) for m in (1, 2, 3)])
    assert 0 < ours[2] < ours[0] < 1


def test_false_neighbors_as_neurokit_has_them(neurokit, lorenz):
    x = lorenz[:1000] + 0.5 * torch.randn(1000, generator=seeded(), dtype=torch.float64)
    _, info = neurokit.complexity_dimension(
        x.numpy(), delay=8, dimension_max=5, method="fnn", R=10.0, metric="euclidean", window=12
    )
    assert np.unique(info["f1"]).size > 3
    ours = false_nearest_neighbors(x, 8, 5, rtol=10, atol=INF, theiler=12)
    assert ours.tolist() == pytest.approx(info["f1"].tolist())


def test_recurrence_of_a_circle():
    n = 600  # more than one block of rows
    turn = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    circle = torch.stack([turn.cos(), turn.sin()], 1)
    radius = 2 * math.sin(math.pi * 50.5 / n)  # reaches 50 neighbours on each side
    assert recurrence_rate(circle, radius) == pytest.approx(100 / (n - 1))
    assert recurrence_rate(circle.float(), 0.0) == 0
    assert recurrence_rate(torch.tensor([1.0, 1.0, 3.0, NAN]), 0.0) == pytest.approx(1 / 3)
    assert math.isnan(recurrence_rate(circle[:3], 1.0, theiler=2))
    with pytest.raises(ValueError, match="must not be negative"):
        recurrence_rate(circle, -1.0)


@pytest.mark.parametrize("page", ["deepfake-phase", "deepfake-evidence"])
def test_pages_print_what_they_say(page, capsys):
    text = (Path(__file__).resolve().parents[2] / "docs" / "api" / f"{page}.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    said = re.findall(r"^print\(.*\)  # (.*)$", block, flags=re.MULTILINE)
    exec(compile(block, page, "exec"), {})
    assert len(said) == 3
    assert capsys.readouterr().out.splitlines() == said
