"""Actors: where their points go, how light falls on them, what their pictures show."""

import dataclasses

import numpy as np
import pytest
import torch

from mediakit import motion
from mediakit.mesh import N_POINTS, eye_rows
from mediakit.synthetic.actors import Actor, draw_identity
from mediakit.synthetic.camera import expose
from mediakit.synthetic.face_shapes import EXPRESSIONS

pytest.importorskip("cv2")
pytest.importorskip("skimage")

STILL = np.zeros(2)


@pytest.fixture(scope="module")
def actor():
    return Actor(draw_identity(np.random.default_rng(5)), (240, 280))


def shoot(actor, angles=(0, 0, 0), **weights):
    offsets = np.tensordot([weights.get(name, 0.0) for name in EXPRESSIONS], actor.expressions, 1)
    pose = actor.turned(np.array(angles, float), STILL, 1.0)
    points = actor.points(pose, offsets, STILL)
    return points, actor.photograph(points, pose)


def inside(points, outline, size, at=0.5):
    """Mean place of an outline's points, as a pixel."""
    return np.rint(points[list(outline), :2].mean(0)).astype(int)


def test_identities_are_drawn_from_the_stream_alone():
    first, again, other = (draw_identity(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert all(
        type(x) in (bool, float, str) for v in dataclasses.astuple(first) for x in (v if isinstance(v, tuple) else (v,))
    )


def test_interocular_distance_is_one_and_a_fifth_of_the_height(actor):
    assert np.linalg.norm(actor.shape[263] - actor.shape[33]) == pytest.approx(1, abs=1e-6)
    points, _ = shoot(actor)
    assert 0.15 < np.linalg.norm(points[263] - points[33]) / 240 < 0.27


def test_turning_is_what_head_pose_measures(actor):
    template = motion.face_template(torch.from_numpy(shoot(actor)[0][None, :N_POINTS]))
    rest = motion.head_pose(torch.from_numpy(shoot(actor)[0][:N_POINTS]), template)
    for angles in ((8.0, 0, 0), (0, -9.0, 0), (0, 0, 6.0), (-5.0, 7.0, 3.0)):
        pose = actor.turned(np.array(angles), np.array([0.1, -0.05]), 1.04)
        points = actor.points(pose, np.zeros_like(actor.shape), STILL)[:N_POINTS]
        found = motion.head_pose(torch.from_numpy(points), template)
        expected = motion.rotation_from_euler(torch.tensor(angles, dtype=torch.float64)) @ rest.rotation
        torch.testing.assert_close(found.rotation, expected, atol=1e-6, rtol=0)
        assert float(found.scale / rest.scale) == pytest.approx(1.04, rel=1e-6)
        # A point in the neck stays but for the shift.
        pivot = torch.tensor([0.0, -0.75, -0.85], dtype=torch.float64)
        moved = (pose.rotation @ pivot * actor.pose.scale + pose.translation) - actor.pose.apply(pivot[None])[0]
        torch.testing.assert_close(
            moved / actor.pose.scale, torch.tensor([0.1, -0.05, 0.0]).double(), atol=1e-6, rtol=0
        )


def test_the_body_stays_and_sways_alone(actor):
    pose = actor.turned(np.array([5.0, 9.0, -3.0]), STILL, 1.0)
    still = actor.follows == 0
    rest = actor.points(actor.pose, np.zeros_like(actor.shape), STILL)
    turned = actor.points(pose, np.zeros_like(actor.shape), STILL)
    swayed = actor.points(pose, np.zeros_like(actor.shape), np.array([0.1, 0.2]))
    assert still.sum() > 20
    np.testing.assert_allclose(turned[still], rest[still], atol=1e-9)
    np.testing.assert_allclose(
        (swayed - turned)[still], np.array([[0.1, -0.2, 0]]) * float(actor.pose.scale) + np.zeros((still.sum(), 3))
    )
    np.testing.assert_array_equal(swayed[:N_POINTS], turned[:N_POINTS])


def test_light_from_a_side_brightens_that_cheek(actor):
    for azimuth, sign in ((60.0, 1), (-60.0, -1)):
        lit = Actor(dataclasses.replace(actor.identity, light=(azimuth, 0.0, 0.36)), (48, 48))
        light = lit.light(lit.pose)
        assert sign * (light[425] - light[205]) > 0.1  # the subject's left cheek is at image-right
    dark = Actor(dataclasses.replace(actor.identity, light=(60.0, 0.0, 0.0)), (48, 48))
    np.testing.assert_array_equal(dark.light(dark.pose), 1)


def test_the_room_shows_where_nobody_is(actor):
    points, picture = shoot(actor)
    person, alpha = actor.layers(points, actor.pose)
    assert picture.shape == (240, 280, 3)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 1
    away = alpha < 1e-4
    assert 0.2 < away.mean() < 0.7
    np.testing.assert_allclose(picture[away], expose(actor.background, actor.identity.exposure)[away], atol=1e-3)
    np.testing.assert_allclose(
        picture, expose(person + (1 - alpha[..., None]) * actor.background, actor.identity.exposure), atol=1e-5
    )


def test_an_open_mouth_is_dark_inside_and_the_teeth_stay_above(actor):
    points, closed = shoot(actor, closure=1.0)
    x, y = inside(points, (13, 14), closed.shape)
    opened_points, opened = shoot(actor, jaw=1.0)
    gap = slice(int(opened_points[13, 1]) + 1, int(opened_points[14, 1]))
    column = opened[gap, int(opened_points[13, 0])].mean(-1)
    assert len(column) > 6
    assert column.min() < 0.6 * closed[y, x].mean()
    assert column[: len(column) // 2].max() > column[len(column) // 2 :].max()  # teeth above, tongue below
    far = np.ones(closed.shape[:2], bool)
    low, high = opened_points[[61, 291, 152, 2], :2].min(0), opened_points[[61, 291, 152, 2], :2].max(0)
    far[int(low[1]) - 12 : int(high[1]) + 24, int(low[0]) - 60 : int(high[0]) + 60] = False
    assert np.abs(opened - closed)[far].max() < 0.1


def test_a_closed_eye_hides_white_and_iris(actor):
    _, opened = shoot(actor)
    points, shut = shoot(actor, right_lid=1.0)
    upper, lower = eye_rows()[0]
    low, high = (f(points[[*upper, *lower], :2], 0).astype(int) for f in (np.min, np.max))
    eye = (slice(low[1] - 2, high[1] + 2), slice(low[0], high[0]))
    assert np.abs(shut - opened)[eye].max() > 0.15
    left = np.rint(points[473, :2]).astype(int) if len(points) > 473 else None
    assert np.abs(shut - opened)[left[1], left[0]].max() < 0.02  # the other eye


def test_mirrored_actors_look_the_other_way():
    identity = dataclasses.replace(draw_identity(np.random.default_rng(5)), mirrored=False)
    yaw = [
        float(motion.euler_angles(Actor(dataclasses.replace(identity, mirrored=m), (48, 48)).pose.rotation)[1])
        for m in (False, True)
    ]
    assert yaw[0] == pytest.approx(-yaw[1], abs=0.1)
    assert abs(yaw[0]) > 0.5
