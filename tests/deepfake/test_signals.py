"""Tracks to signals: what is put together again, what moves which number, and where windows lie."""

import pytest
import torch
from test_motion import face_cloud, film, talking

from mediakit import mesh, motion
from mediakit.deepfake import signals as S
from mediakit.tracks import FaceTrack


@pytest.fixture(scope="module")
def points():
    shape, angles, _ = talking()
    return film(shape, angles)[0].float()


def test_apart_and_together_again(points):
    moving = S.split_motion(points)
    assert moving.face.shape == (len(points), len(mesh.KEYPOINTS), 3)
    assert moving.pose.scale.median() == pytest.approx(1, rel=1e-3)
    key = S.compose(moving)
    iod = motion.interocular_distance(points).median()
    expected = motion.to_face_frame(points[:, list(mesh.KEYPOINTS)]) / iod
    torch.testing.assert_close(key, expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(S.key_points(points), expected)
    torch.testing.assert_close(S.put_keypoints(points, key) * iod, points, rtol=0, atol=5e-3)


def test_a_still_face_that_turns_moves_only_the_head():
    _, angles, _ = talking()
    turning, _ = film(face_cloud(0), angles)
    found = S.track_signals(turning)
    assert found.head.shape == (len(turning), S.HEAD)
    assert found.expression.shape == (len(turning), S.EXPRESSION)
    assert found.valid.all()
    assert found.head[:, :6].std(0).max() > 0.02
    assert found.expression[:, :266].abs().max() < 5e-3  # smoothing a turning head bends it a little


def test_a_face_that_talks_moves_only_the_expression():
    shape, _, opening = talking()
    talks, _ = film(shape, torch.zeros(len(shape), 3))
    found = S.track_signals(talks)
    assert found.head[:, :10].std(0).max() < 1e-3
    mouth = found.expression[:, 258]
    assert torch.corrcoef(torch.stack([mouth.double(), opening.double()]))[0, 1] > 0.95


def test_jitter_is_of_the_size_that_was_added(points):
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    iod = motion.interocular_distance(points).median()
    # White noise through what a 5 Hz smoother leaves, 1 - 1 / (1 + (f / 5)⁴), up to 15 Hz.
    frequency = torch.linspace(0, 15, 10_000)
    kept = (1 - 1 / (1 + (frequency / 5) ** 4)).square().mean().sqrt()

    def variance(track):
        return S.track_signals(track).expression[5:-5, -7:].exp().square().mean(0)

    calm = variance(points)
    for share in (0.002, 0.008):
        found = (variance(points + share * iod * noise) - calm).sqrt()
        # A little less: the pose is estimated from the noisy points, too, and takes some of it.
        assert (found > 0.85 * kept * share).all()
        assert (found < 1.05 * kept * share).all()


def test_missing_frames_are_zero_and_not_valid(points):
    holes = points.clone()
    holes[20:23] = float("nan")
    found = S.track_signals(holes)
    assert (~found.valid).nonzero().squeeze(1).tolist() == [20, 21, 22]
    assert (found.head[20:23] == 0).all()
    assert torch.isfinite(found.expression).all()


def test_resampling_forgets_what_was_put_into_gaps(points):
    time = torch.arange(len(points), dtype=torch.float64) / 25
    valid = torch.ones(len(points), dtype=torch.bool)
    valid[10:12] = False
    track = FaceTrack(points, valid, time, denoised=points + 1)
    at_30, when = S.resample_track(track)
    assert len(when) == int(time[-1] * 30 + 1e-3) + 1
    lost = torch.isnan(at_30).any(-1).any(-1)
    assert lost.any()
    assert ((when[lost] > time[9]) & (when[lost] < time[12])).all()
    other, _ = S.resample_track(track, points="denoised")
    torch.testing.assert_close(other, at_30 + 1, equal_nan=True)
    with pytest.raises(ValueError, match="no denoised points"):
        S.resample_track(FaceTrack(points, valid, time), points="denoised")


@pytest.mark.parametrize(
    ("frames", "starts"),
    [(30, [0]), (96, [0]), (97, [0, 1]), (144, [0, 48]), (150, [0, 48, 54]), (192, [0, 48, 96])],
)
def test_windows_cover_the_track(frames, starts):
    assert S.windows(frames) == starts


def test_cutting_pads_the_end():
    head = torch.arange(50.0)[:, None].expand(50, S.HEAD)
    found = S.cut_windows(S.Signals(head, torch.ones(50, S.EXPRESSION), torch.ones(50, dtype=torch.bool)), [0, 10], 45)
    assert found.head[:, 0, 0].tolist() == [0, 10]
    assert found.head[1, :40, 0].tolist() == list(range(10, 50))
    assert not found.valid[1, 40:].any()
    assert (found.expression[1, 40:] == 0).all()
