"""Noise of compression against the measured statistics; rates, speed, mirror and gaps against closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mediakit import motion
from mediakit.deepfake import landmark_noise
from mediakit.deepfake.landmark_noise import (
    change_speed,
    compression_noise,
    drop_frames,
    lower_rate,
    mirror,
    noise_strength,
)
from mediakit.mesh import KEYPOINTS, MIRROR, N_POINTS, RIGID
from mediakit.synthetic.heads import TalkingHeads

KEY = list(KEYPOINTS)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def at(*points: int) -> list[int]:
    return [KEYPOINTS.index(i) for i in points]


@pytest.fixture(scope="module")
def face() -> torch.Tensor:
    """Key points of a generated person at rest, (P, 3) in IOD."""
    points = TalkingHeads(seconds=0.2, size=(100, 100)).clip(0).tensors()["points"]
    return motion.face_template(points)[KEY]


@pytest.fixture(scope="module")
def errors(face) -> dict[int, torch.Tensor]:
    """What is added to a face that does not move, for 12 films of 50 s: (12, T, P, 3), by CRF."""
    still = face.expand(1500, -1, -1)
    return {
        crf: torch.stack([compression_noise(still, crf, chance(seed)) - face for seed in range(12)]) for crf in (23, 40)
    }


def varying(error: torch.Tensor) -> torch.Tensor:
    return error - error.mean(1, keepdim=True)


@pytest.mark.parametrize(
    ("crf", "velocity", "correlation", "bias"), [(23, (27, 40), 0.3, (0.02, 0.05)), (40, (70, 86), 0.7, (0.21, 0.30))]
)
def test_noise_has_the_strength_that_was_measured(errors, crf, velocity, correlation, bias):
    error = errors[crf]
    per_frame = 1e4 * (error[:, 1:] - error[:, :-1])[..., :2].square().mean((1, 2, 3)).sqrt()  # 0.01 % of the IOD
    assert ((per_frame > velocity[0] * 0.97) & (per_frame < velocity[1] * 1.03)).all()
    assert per_frame.max() - per_frame.min() > 0.4 * (velocity[1] - velocity[0])
    moving = varying(error)
    lag = (moving[:, 1:] * moving[:, :-1]).sum() / moving.square().sum()
    assert lag == pytest.approx(correlation, abs=0.03)
    share = error.mean(1).square().mean((1, 2)) / error.square().mean((1, 2, 3))
    assert ((share > 0.8 * bias[0]) & (share < bias[1] + 0.03)).all()  # what lasts leaves a mean as well
    assert share.mean() == pytest.approx(sum(bias) / 2, rel=0.12)
    assert share.max() - share.min() > 0.4 * (bias[1] - bias[0])


def test_noise_lasts_for_part_of_a_second_and_is_partly_new_in_every_frame(errors):
    moving = varying(errors[40])
    lags = [float((moving[:, k:] * moving[:, :-k]).sum() / moving.square().sum()) for k in (1, 5, 15, 60)]
    assert lags[1] > 0.4  # .7 to the fifth power would be .17
    assert lags[2] == pytest.approx(0.16, abs=0.04)  # as measured
    assert abs(lags[3]) < 0.03


def test_two_thirds_of_the_noise_are_errors_of_the_pose(errors, face):
    moving = varying(errors[40])[0, ::10]
    pose = motion.procrustes(face + moving, face)
    left = face + moving - pose.apply(face.expand(len(moving), -1, -1))
    assert 1 - left.square().sum() / moving.square().sum() == pytest.approx(0.675, abs=0.06)
    pitch = motion.euler_angles(pose.rotation).std(0)
    assert pitch[0] > 1.3 * pitch[1] > 1.3 * pitch[2] > 0


def test_a_feature_is_off_as_a_piece_and_another_one_than_its_neighbour(errors, face):
    flat = varying(errors[40])[..., 1].flatten(0, 1)
    correlation = torch.corrcoef(flat.T)
    upper, lower = at(37, 267), at(84, 314)
    assert correlation[upper[0], upper[1]] > 0.7
    assert correlation[lower[0], lower[1]] > 0.7
    assert correlation[at(13), at(14)] < 0.5  # lips that touch, so that the opening of the mouth is noisy
    assert flat[:, at(159, 386)].std() < 0.7 * flat[:, lower].std()  # lids are found better than lips
    energy = torch.linalg.eigvalsh(torch.cov(flat.T)).flip(0).cumsum(0)
    assert 8 <= int((energy < 0.9 * energy[-1]).sum()) + 1 <= 16  # of one coordinate: 11 and 13 as measured


def test_lossless_changes_nothing_and_more_compression_more(face):
    moving = face + 0.01 * torch.randn(90, 1, 3, generator=chance())
    assert torch.equal(compression_noise(moving, 0, chance()), moving)
    still = face.expand(90, -1, -1)
    size = [(compression_noise(still, crf, chance(1)) - still).square().mean() for crf in (5, 15, 23, 30, 40)]
    assert size == sorted(size)
    assert torch.equal(compression_noise(still, 51, chance(1)), compression_noise(still, 40, chance(1)))
    middle = noise_strength(31.5)
    assert middle.correlation == pytest.approx(0.5)
    assert middle.velocity == pytest.approx((0.00485, 0.0063))


@pytest.mark.parametrize(("hertz", "gain"), [(1, (0.99, 1.01)), (10, (0.2, 0.95))])
def test_compression_keeps_slow_movement_and_part_of_the_quick(face, hertz, gain):
    wave = torch.sin(2 * math.pi * hertz * torch.arange(300) / 30)
    moving = face + 0.2 * wave[:, None, None]  # large against the noise
    for seed in range(5):
        out = compression_noise(moving, 23, chance(seed)).mean((1, 2))
        assert gain[0] < float((out - out.mean()) @ wave / (0.2 * wave @ wave)) < gain[1]


def test_noise_of_a_slow_film_has_nothing_that_is_quicker(face):
    still = face.expand(600, -1, -1)

    def quick(fps):
        error = compression_noise(still, 23, chance(), fps=fps) - face
        power = torch.fft.rfft(error[..., :2], dim=0).abs().square().mean((1, 2))
        return power[200:].sum() / power[1:].sum()  # above 10 Hz

    assert quick(30) > 0.2
    assert quick(12) < 0.04


def test_gaps_stay_and_equal_chance_gives_equal_noise(face):
    moving = face.repeat(60, 1, 1)
    moving[20:24] = float("nan")
    out = compression_noise(moving, 35, chance(7))
    assert torch.equal(torch.isnan(out), torch.isnan(moving))
    assert torch.equal(out.nan_to_num(), compression_noise(moving, 35, chance(7)).nan_to_num())
    assert not torch.equal(out.nan_to_num(), compression_noise(moving, 35, chance(8)).nan_to_num())
    nothing = torch.full_like(moving, float("nan"))
    assert torch.isnan(compression_noise(nothing, 35, chance())).all()
    assert torch.isfinite(compression_noise(moving[:1], 35, chance())).all()


def test_mirror_swaps_sides_and_is_its_own_inverse(face):
    mesh = torch.randn(4, N_POINTS, 3, generator=chance())
    assert torch.equal(mirror(mirror(mesh)), mesh)
    assert torch.equal(mirror(mesh)[:, 33], mesh[:, 263] * torch.tensor([-1.0, 1, 1]))
    assert torch.equal(mirror(mesh)[:, KEY], mirror(mesh[:, KEY]))
    assert {MIRROR[i] for i in RIGID} == set(RIGID)
    with pytest.raises(ValueError, match="120 key points or the mesh of 478, not 68"):
        mirror(torch.zeros(5, 68, 3))


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed_changes_a_sine_s_frequency(factor):
    time = torch.arange(180) / 30
    out = change_speed(torch.sin(2 * math.pi * time)[:, None], factor)
    assert len(out) == int(179 / factor + 1e-6) + 1
    truth = torch.sin(2 * math.pi * factor * torch.arange(len(out)) / 30)
    assert (out[:, 0] - truth)[5:-5].abs().max() < 0.01
    with pytest.raises(ValueError, match="factor must be above 0"):
        change_speed(out, 0)


@pytest.mark.parametrize("fps", [12, 15, 23.976, 25, 30])
def test_a_lower_rate_keeps_what_is_slow_for_it(fps):
    slow = torch.sin(2 * math.pi * torch.arange(90) / 30)[:, None]
    out = lower_rate(slow, fps)
    assert out.shape == slow.shape
    seen = torch.isfinite(out[:, 0])
    assert 90 - seen.sum() <= math.ceil(30 / fps) - (fps == 30)
    assert (out - slow)[seen].abs().max() < (0.03 if fps < 20 else 0.002)


def test_a_lower_rate_folds_what_is_too_quick_for_it():
    time = torch.arange(300) / 30
    out = lower_rate(torch.sin(2 * math.pi * 4.5 * time)[:, None], 6)[10:-10, 0]  # 4.5 Hz at 6 frames a second
    folded = -torch.sin(2 * math.pi * 1.5 * time)[10:-10]
    assert torch.corrcoef(torch.stack([out, folded]))[0, 1] > 0.98
    with pytest.raises(ValueError, match="at most the rate of 30, got 60"):
        lower_rate(out, 60)


def test_a_lower_rate_does_not_reach_over_gaps():
    x = torch.zeros(60, 2)
    x[30] = float("nan")
    lost = torch.isnan(lower_rate(x, 15)[:58, 0]).nonzero().squeeze(1)
    assert 30 in lost
    assert lost.min() >= 28
    assert lost.max() <= 32


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300), st.floats(0, 0.5), st.integers(1, 8), st.integers(0, 2**31))
def test_drops_as_many_frames_as_it_should_in_short_runs(frames, share, longest, seed):
    lost = torch.isnan(drop_frames(torch.zeros(frames, 2, 3), share, chance(seed), longest)[:, 0, 0])
    assert lost.sum() == round(share * frames)
    runs = "".join("x" if gone else " " for gone in lost).split()
    assert all(len(run) <= longest for run in runs)


def test_drops_depend_on_chance_alone_and_leave_the_rest():
    x = torch.arange(100.0)[:, None]
    out = drop_frames(x, 0.2, chance(3))
    kept = torch.isfinite(out)
    assert torch.equal(out[kept], x[kept])
    assert torch.equal(torch.isnan(drop_frames(x, 0.2, chance(3))), ~kept)
    firsts = {int(torch.isnan(drop_frames(x, 0.2, chance(seed))).squeeze().nonzero()[0]) for seed in range(20)}
    assert len(firsts) > 5
    with pytest.raises(ValueError, match=r"share must be within 0 and 0\.5"):
        drop_frames(x, 0.9, chance())


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        (torch.zeros(5, 68, 3), {"crf": 23}, r"key points \(T, 120, 3\), not \(5, 68, 3\)"),
        (torch.zeros(5, 120, 3), {"crf": 52}, "within 0 .* and 51, got 52"),
        (torch.zeros(5, 120, 3), {"crf": math.nan}, "got nan"),
        (torch.zeros(5, 120, 3), {"crf": 23, "fps": 0}, "fps must be above 0, got 0"),
    ],
)
def test_bad_input_is_refused(points, options, message):
    with pytest.raises(ValueError, match=message):
        landmark_noise.compression_noise(points, generator=chance(), **options)
