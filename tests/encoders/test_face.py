"""FaceEncoder: what it must forget, what it must keep, and what padding must not change."""

import pytest
import torch
from test_motion import LOWER_LIP, face_cloud, film, talking

from mediakit import mesh, motion
from mediakit.encoders.face import FaceEncoder


@pytest.fixture(scope="module")
def track():
    """Pixels of a talking, turning head, (T, 478, 3), and its mouth opening (T,)."""
    shape, angles, opening = talking()
    points, _ = film(shape, angles)
    return points, opening


def test_shape_order_and_identity(track):
    points, _ = track
    encoder = FaceEncoder()
    out = encoder(points[None])
    assert out.shape == (1, 60, encoder.dim) == (1, 60, 276)
    assert encoder.slices == {"pose": slice(0, 10), "expression": slice(10, 268), "scalars": slice(268, 276)}
    assert not encoder.state_dict()
    card = encoder.card()
    assert (card["weights"], card["seed"]) == ("none", None)
    assert card["name"] != FaceEncoder(smooth=None).card()["name"]
    for signals in (("scalars",), ("expression", "pose")):
        other = FaceEncoder(signals=signals)
        torch.testing.assert_close(
            other(points[None]), torch.cat([out[..., encoder.slices[s]] for s in signals], dim=-1), rtol=0, atol=0
        )


def test_gives_the_functions_of_motion(track):
    points, opening = track
    encoder = FaceEncoder(smooth=None)
    out = encoder(points[None])[0]
    pose = motion.head_pose(points, motion.face_template(points))
    torch.testing.assert_close(out[:, encoder.slices["pose"]], motion.pose_signal(pose))
    moved = out[:, encoder.slices["expression"]].unflatten(1, (86, 3))
    torch.testing.assert_close(moved, motion.expression(points, pose)[:, list(mesh.SEMANTIC)])
    lip = mesh.SEMANTIC.index(14)
    assert 14 in LOWER_LIP
    torch.testing.assert_close(moved[:, lip, 1], -opening, rtol=0, atol=1e-6)
    mouth = out[:, encoder.slices["scalars"]][:, 0]
    torch.testing.assert_close(mouth, opening, rtol=0, atol=5e-3)


def test_expression_knows_nothing_of_the_head():
    shape, angles, _ = talking()
    encoder = FaceEncoder(("expression", "scalars"), smooth=None)
    one, _ = film(shape, angles)
    other, _ = film(shape, -0.5 * angles.flip(0) + torch.tensor([3.0, -9.0, 12.0]), scale=160.0, at=(900.0, -80.0, 7.0))
    torch.testing.assert_close(encoder(one[None]), encoder(other[None]), rtol=0, atol=1e-6)


def test_identity_is_gone_at_rest():
    _, angles, _ = talking()
    tracks = torch.stack([film(face_cloud(seed), angles)[0] for seed in (0, 1)])
    out = FaceEncoder(smooth=None)(tracks)
    torch.testing.assert_close(out[0, :, :6], out[1, :, :6], rtol=0, atol=1e-6)
    assert out[..., 10:].abs().max() < 1e-6


@pytest.mark.parametrize("smooth", [None, 5.0])
def test_padding_changes_not_a_bit(track, smooth):
    points, _ = track
    holes = points.float().clone()
    holes[17:20] = float("nan")
    encoder = FaceEncoder(smooth=smooth)
    plain = encoder(holes[None])[0]
    nan, zero = torch.full((9, mesh.N_POINTS, 3), float("nan")), torch.zeros(4, mesh.N_POINTS, 3)
    padded = torch.stack([torch.cat([holes, nan, zero]), torch.cat([nan, holes, zero])])
    out, valid = encoder(padded), encoder.valid(padded)
    assert torch.equal(out[0, :60], plain)
    assert torch.equal(out[1, 9:69], plain)
    assert torch.isfinite(out).all()
    assert (out[~valid] == 0).all()
    assert valid.sum(1).tolist() == [57, 57]
    assert not valid[0, 17:20].any()
    assert torch.equal(encoder(padded), out)
    assert (encoder(padded[:, -4:]) == 0).all()


def test_smoothing_calms_a_trembling_face(track):
    points, _ = track
    noisy = points + torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    truth = FaceEncoder(smooth=None)(points[None])
    rough, calm = (FaceEncoder(smooth=s)(noisy[None]) - truth for s in (None, 5.0))
    assert calm.std() < 0.8 * rough.std()


def test_wrong_arguments_are_refused():
    for signals in ((), ("pose", "pose"), ("gaze",)):
        with pytest.raises(ValueError, match="signals must be some of pose, expression, scalars"):
            FaceEncoder(signals)
    with pytest.raises(ValueError, match="above 0 Hz"):
        FaceEncoder(smooth=0.0)
    with pytest.raises(ValueError, match="face tracks must be"):
        FaceEncoder()(torch.zeros(5, mesh.N_POINTS, 3))
