"""Pseudo-fakes: each does what it says, to what it should, and to nothing else."""

import math

import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from mediakit.deepfake.pseudo_fakes import (
    KINDS,
    REGIONS,
    STRENGTHS,
    delay,
    loop,
    mix_basis,
    pseudo_fake,
    region,
    smooth_in_time,
    take_apart,
)
from mediakit.deepfake.signals import Motion, split_motion
from mediakit.mesh import KEYPOINTS
from mediakit.motion import Similarity, rotation_from_euler
from mediakit.synthetic.heads import TalkingHeads

FRAMES = 180
OUTLINE = (10, 152, 234, 454, 58, 288)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def at(*points: int) -> list[int]:
    return [KEYPOINTS.index(i) for i in points]


@pytest.fixture(scope="module")
def tracks() -> list[Motion]:
    """Two people who speak for 6 s, from the truth of generated heads: no detector, no noise."""
    heads = TalkingHeads(seconds=FRAMES / 30, size=(200, 200), fps=30, kinds=("real",))
    return [split_motion(heads.clip(n).tensors()["points"]) for n in (0, 1)]


@pytest.fixture
def genuine(tracks) -> Motion:
    return tracks[0]


def posed(face: torch.Tensor, angles: torch.Tensor | None = None) -> Motion:
    frames = len(face)
    angles = torch.zeros(frames, 3) if angles is None else angles
    return Motion(Similarity(torch.ones(frames), rotation_from_euler(angles), torch.zeros(frames, 3)), face)


def change(fake: Motion, genuine: Motion) -> torch.Tensor:
    return fake.face - genuine.face


def lag_of(late: torch.Tensor, early: torch.Tensor, furthest: int = 15) -> int:
    """Frames by which one signal comes after another: where their correlation is largest."""
    score = [torch.corrcoef(torch.stack([late[k:], early[: len(early) - k]]))[0, 1] for k in range(furthest)]
    return int(torch.stack(score).argmax())


def best_shift(moved: torch.Tensor, source: torch.Tensor) -> tuple[int, float]:
    """Frames that a signal is ahead of another one, tried over at least a second, and how like it is then."""
    scores = {}
    for k in range(30 - len(source), len(source) - 30):
        first, last = max(0, -k), min(len(moved), len(source) - k)
        a, b = moved[first:last][8:-8], source[first + k : last + k][8:-8]
        scores[k] = float((a * b).sum() / a.norm() / b.norm())
    best = max(scores, key=scores.__getitem__)
    return best, scores[best]


def opening(motion: Motion) -> torch.Tensor:
    top, bottom = at(13, 14)
    return motion.face[:, top, 1] - motion.face[:, bottom, 1]


# --- every kind -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_fake_differs_visibly_depends_on_chance_alone_and_keeps_head_and_gaps(kind, tracks):
    holes = tracks[0].face.clone()
    holes[40:45] = float("nan")
    holes[0] = float("nan")
    gappy = tracks[0]._replace(face=holes)
    fake = pseudo_fake(gappy, kind, chance(1))
    assert fake.pose is gappy.pose
    assert torch.equal(torch.isnan(fake.face), torch.isnan(holes))
    assert 1e-3 < change(fake, gappy)[50:].square().mean().sqrt() < 0.1
    assert torch.equal(fake.face.nan_to_num(), pseudo_fake(gappy, kind, chance(1)).face.nan_to_num())
    assert not torch.equal(fake.face.nan_to_num(), pseudo_fake(gappy, kind, chance(2)).face.nan_to_num())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 2, 5, 20])
def test_tracks_of_a_few_frames_survive(kind, frames, tracks):
    short = Motion(Similarity(*(part[:frames] for part in tracks[0].pose)), tracks[0].face[:frames])
    for donor in (None, tracks[1], short):
        assert torch.isfinite(pseudo_fake(short, kind, chance(), donor).face).all()


def test_bad_input_is_refused(genuine):
    with pytest.raises(ValueError, match="no pseudo-fake 'wobble'; take one of region_lag, region_gain"):
        pseudo_fake(genuine, "wobble", chance())
    with pytest.raises(ValueError, match=r"key points \(T, 120, 3\), not \(180, 60, 3\)"):
        pseudo_fake(genuine._replace(face=genuine.face[:, :60]), "basis", chance())
    with pytest.raises(ValueError, match="no face in any frame"):
        pseudo_fake(genuine._replace(face=torch.full_like(genuine.face, math.nan)), "basis", chance())
    with pytest.raises(ValueError, match="no face in any frame"):
        pseudo_fake(genuine, "expression_swap", chance(), genuine._replace(face=genuine.face * math.nan))
    with pytest.raises(ValueError, match=f"region must be one of {', '.join(REGIONS)}, got 'nose'"):
        region(genuine.face[0], "nose")


# --- each kind --------------------------------------------------------------------------------------------------------


def test_a_region_comes_late_by_what_was_drawn(genuine):
    said = opening(genuine)
    lags = [lag_of(opening(pseudo_fake(genuine, "region_lag", chance(seed))), said) for seed in range(24)]
    late = [lag for lag in lags if lag]
    assert 8 <= len(late) < 24  # two regions of three hold the mouth
    low, high = (30 * seconds for seconds in STRENGTHS["region_lag"])
    assert low - 1 <= min(late) <= low + 2
    assert high - 2 <= max(late) <= high + 1


def test_half_of_the_face_comes_late(genuine):
    for seed in range(6):
        moved = change(pseudo_fake(genuine, "desynchrony", chance(seed)), genuine).square().mean((0, 2)).sqrt()
        right, left = float(moved[at(61, 159, 105)].mean()), float(moved[at(291, 386, 334)].mean())
        assert min(right, left) < 0.05 * max(right, left)
        assert moved[at(13)] > 0


def test_gain_scales_movement_about_rest_in_its_region_alone(genuine):
    said, factors = opening(genuine) - opening(genuine).mean(), []
    for seed in range(24):
        fake = opening(pseudo_fake(genuine, "region_gain", chance(seed)))
        factors.append(float((fake - fake.mean()) @ said / (said @ said)))
    changed = [factor for factor in factors if abs(factor - 1) > 0.02]
    assert 8 <= len(changed) < 24
    high = STRENGTHS["region_gain"][1]
    assert all(1 / high * 0.95 < factor < high * 1.05 for factor in changed)
    assert min(changed) < 0.75
    assert max(changed) > 1.3


def test_own_expression_is_put_on_at_another_time(genuine):
    mouth = at(13, 14, 61, 291)
    own = take_apart(genuine).movement[:, mouth]
    for seed in range(12):
        moved = own + change(pseudo_fake(genuine, "expression_swap", chance(seed)), genuine)[:, mouth]
        best, score = best_shift(moved, own)
        assert abs(best) >= 29
        assert score > 0.95


def test_own_expression_is_elsewhere_in_a_short_track_too(genuine):
    short = Motion(Similarity(*(part[:100] for part in genuine.pose)), genuine.face[:100])
    own = take_apart(short).movement[:, at(13, 14)]
    for seed in range(12):
        moved = own + change(pseudo_fake(short, "expression_swap", chance(seed)), short)[:, at(13, 14)]
        assert abs(best_shift(moved, own)[0]) >= 29


def test_a_donor_s_expression_is_put_on_a_face_that_keeps_its_shape(tracks):
    mine, other = tracks
    fake = pseudo_fake(mine, "expression_swap", chance(3), other)
    assert (fake.face.mean(0) - mine.face.mean(0)).abs().max() < 0.03
    assert (other.face.mean(0) - mine.face.mean(0)).abs().max() > 0.05
    mouth = at(13, 14, 61, 291)
    moved = (take_apart(mine).movement + change(fake, mine))[:, mouth]
    assert best_shift(moved, take_apart(other).movement[:, mouth])[1] > 0.95
    assert torch.equal(pseudo_fake(mine, "jitter", chance(3), other).face, pseudo_fake(mine, "jitter", chance(3)).face)


def test_jitter_is_new_in_each_frame_and_smooth_over_the_inner_face(genuine):
    low, high = STRENGTHS["jitter"]
    for seed in range(6):
        error = change(pseudo_fake(genuine, "jitter", chance(seed)), genuine)
        moving = error[:, at(1, 2, 13, 14, 61, 291)]
        assert 0.3 * low < moving.square().mean().sqrt() < 2 * high
        assert abs((moving[1:] * moving[:-1]).sum() / moving.square().sum()) < 0.1
        assert error[:, at(*OUTLINE)].abs().max() < 0.1 * moving.abs().max()
        a, b = error[:, at(13)[0]].flatten(), error[:, at(82)[0]].flatten()
        assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.8


def test_jitter_of_a_slow_film_has_nothing_that_is_quicker(genuine):
    def quick(fps):
        error = change(pseudo_fake(genuine, "jitter", chance(), fps=fps), genuine)
        power = torch.fft.rfft(error, dim=0).abs().square().mean((1, 2))
        return power[60:].sum() / power[1:].sum()  # above 10 Hz

    assert quick(30) > 0.25
    assert quick(12) < 0.04


def test_oversmoothing_takes_quick_movement_away(genuine):
    speed = (opening(genuine)[1:] - opening(genuine)[:-1]).square().mean()
    for seed in range(6):
        fake = opening(pseudo_fake(genuine, "oversmooth", chance(seed)))
        assert (fake[1:] - fake[:-1]).square().mean() < 0.7 * speed


def test_contour_slide_moves_the_inner_face_slowly_as_a_plate_and_the_outline_not_at_all(genuine):
    for seed in range(6):
        slide = change(pseudo_fake(genuine, "contour_slide", chance(seed)), genuine)
        inner = slide[:, at(1, 4, 2, 61, 291, 13)]
        assert inner[..., 2].abs().max() < 1e-6
        assert slide[:, at(*OUTLINE)].abs().max() < 0.1 * inner.abs().max()
        low, high = STRENGTHS["contour_slide"]
        assert 0.7 * low < inner[..., :2].square().mean().sqrt() < 1.5 * high
        assert (inner[1:] - inner[:-1]).square().mean() < 0.1 * inner.square().mean()
        # A similarity in the plane of the face at rest: shift + factor * arm, in complex numbers.
        arm = torch.view_as_complex(take_apart(genuine).rest[at(1, 4, 2, 61, 291, 13), :2].contiguous())
        moved = torch.view_as_complex(inner[..., :2].contiguous())
        plate = torch.stack([torch.ones_like(arm), arm], 1)
        left = moved.T - plate @ torch.linalg.lstsq(plate, moved.T).solution
        assert left.abs().max() < 1e-3 * moved.abs().max()


def test_mixing_the_basis_keeps_how_much_moves_and_changes_what_goes_together(genuine):
    movement = take_apart(genuine).movement[:120]
    movement = movement - movement.mean(0)
    assert (mix_basis(movement, torch.zeros(8, 8)) - movement).abs().max() < 1e-6
    mixed = mix_basis(movement, 0.5 * torch.randn(8, 8, generator=chance()))
    before, after = (torch.linalg.svdvals(x.flatten(1)) for x in (movement, mixed))
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-3)
    assert (mixed - movement).square().sum() > 0.1 * movement.square().sum()
    # The components are the same, and each moves as much as before; what is beyond the first eight is left alone.
    shapes = torch.linalg.svd(movement.flatten(1), full_matrices=False).Vh
    size = [(x.flatten(1) @ shapes[:8].T).norm(dim=0) for x in (movement, mixed)]
    assert torch.allclose(*size, rtol=1e-3)
    assert ((mixed - movement).flatten(1) @ shapes[8:].T).abs().max() < 1e-4


# --- parts ------------------------------------------------------------------------------------------------------------


def test_parts_make_up_the_face_and_the_head_explains_what_follows_it(genuine):
    parts = take_apart(genuine)
    assert (parts.rest + parts.movement + parts.follows + parts.jitter - genuine.face).abs().max() < 1e-5
    time = torch.arange(FRAMES) / 30
    angles = torch.stack([6 * torch.sin(2.1 * time), 12 * torch.sin(1.3 * time), 3 * torch.cos(time)], 1)
    own = 0.02 * torch.sin(2 * math.pi * 3 * time)[:, None, None] * torch.randn(len(KEYPOINTS), 3, generator=chance())
    follows = 0.002 * angles[:, 1, None, None] * torch.randn(len(KEYPOINTS), 3, generator=chance(1))
    parts = take_apart(posed(genuine.face[0] + own + follows, angles))
    assert (parts.follows - follows + follows.mean(0))[10:-10].abs().max() < 0.1 * follows.abs().max()
    assert (parts.movement - own)[10:-10].abs().max() < 0.15 * own.abs().max()


def test_gaps_are_bridged_for_what_is_slow(genuine):
    time = torch.arange(120) / 30
    face = genuine.face[0] + 0.02 * torch.sin(2 * math.pi * 0.5 * time)[:, None, None]
    holes = face.clone()
    holes[50:55] = math.nan
    whole, bridged = (take_apart(posed(x)).movement for x in (face, holes))
    assert (whole - bridged).abs().max() < 0.001


def test_a_swap_does_not_make_a_face_noisier(genuine):
    # Jitter alone, of two films: the fake's must have the power of one, whatever its frequency.
    noise = [0.003 * torch.randn(600, len(KEYPOINTS), 3, generator=chance(seed)) for seed in (0, 1)]
    mine, other = (posed(genuine.face[0] + x) for x in noise)
    fake = pseudo_fake(mine, "expression_swap", chance(), other)
    mouth = at(13, 14, 61, 291)
    power = [
        torch.fft.rfft((x - x.mean(0))[:, mouth], dim=0).abs().square().mean((1, 2)) for x in (fake.face, mine.face)
    ]
    bands = [float(power[0][a:b].mean() / power[1][a:b].mean()) for a, b in ((5, 100), (140, 200), (200, 300))]
    assert all(0.85 < band < 1.1 for band in bands)


def test_regions_are_where_they_should_be(genuine):
    rest = take_apart(genuine).rest
    for name, inside, outside in (
        ("inner", (1, 13, 61, 291, 133, 168), OUTLINE),
        ("lower", (13, 14, 61, 291), (*OUTLINE, 33, 263, 105)),
        ("upper", (33, 263, 159, 168), (13, 61, 152, 10)),
        ("left", (291, 263, 334), (61, 33, 105)),
        ("right", (61, 33, 105), (291, 263, 334)),
    ):
        weights = region(rest, name)
        assert weights.min() >= 0
        assert weights.max() <= 1
        assert (weights[at(*inside)] > 0.99).all(), name
        assert (weights[at(*outside)] < 0.1).all(), name
        assert ((weights > 0.05) & (weights < 0.95)).any()
    assert torch.allclose(region(rest, "left") + region(rest, "right"), torch.ones(len(rest)), atol=1e-5)
    assert region(rest, "lower", 1.2).sum() > region(rest, "lower").sum()


def test_delay_is_exact_for_a_straight_line_and_begins_with_a_mirror_image():
    line = torch.arange(50.0)[:, None]
    assert torch.allclose(delay(line, 3.4)[4:], line[4:] - 3.4)
    assert torch.allclose(delay(line, 3.0)[:4, 0], torch.tensor([3.0, 2.0, 1.0, 0.0]))
    assert torch.isfinite(delay(line[:2], 8)).all()


@pytest.mark.parametrize("frames", [2.4, 7.5])
def test_smoothing_in_time_is_scipy_s_gaussian(frames):
    x = torch.randn(90, 5, 3, generator=chance(), dtype=torch.double)
    truth = gaussian_filter1d(x.numpy(), frames, axis=0, mode="nearest", radius=math.ceil(3 * frames))
    assert torch.allclose(smooth_in_time(x, frames), torch.from_numpy(truth))


def test_a_loop_goes_round_without_a_jump():
    wave = torch.sin(0.37 * torch.arange(100.0))[:, None]
    out = loop(wave, 30, 300, 8)
    assert torch.equal(out[:60], wave[30:90])
    assert torch.equal(out[92:], out[:-92])
    assert (out[1:] - out[:-1]).abs().max() < 1.6 * (wave[1:] - wave[:-1]).abs().max()
    assert len(loop(wave[:1], 5, 10, 8)) == 10
