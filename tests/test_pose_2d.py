"""Pose from x and y: exact projections, an independent optimiser, and what must be refused or left out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mediakit import motion
from mediakit.mesh import N_POINTS
from mediakit.pose_2d import head_pose_2d, weak_perspective

angle = st.floats(-60, 60)


def cloud(count: int = 20, seed: int = 0) -> torch.Tensor:
    """Points of a face's proportions: wide, high, shallow."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=draw, dtype=torch.double) * torch.tensor([0.5, 0.4, 0.15])


def similarity(pitch: float, yaw: float, roll: float, scale: float = 80.0) -> motion.Similarity:
    rotation = motion.rotation_from_euler(torch.tensor([pitch, yaw, roll], dtype=torch.double))
    return motion.Similarity(torch.tensor(scale).double(), rotation, torch.tensor([200.0, -150.0, 7.0]).double())


def degrees_apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return math.degrees(Rotation.from_matrix((a.mT @ b).numpy()).magnitude())


@settings(deadline=None, max_examples=40)
@given(angle, angle, st.floats(-170, 170), st.floats(1, 300))
def test_exact_projections_give_the_pose_back(pitch, yaw, roll, scale):
    true = similarity(pitch, yaw, roll, scale)
    found = weak_perspective(true.apply(cloud())[:, :2], cloud())
    assert degrees_apart(found.rotation, true.rotation) < 1e-5
    assert torch.linalg.det(found.rotation).item() == pytest.approx(1)
    assert found.scale.item() == pytest.approx(scale)
    torch.testing.assert_close(found.translation[:2], true.translation[:2])
    assert found.translation[2] == 0


@pytest.mark.parametrize("depth_weight", [0.0, 0.2, 1.0])
def test_noisy_points_give_the_least_squares_of_an_independent_optimiser(depth_weight):
    true = similarity(15, -25, 10)
    draw = torch.Generator().manual_seed(1)
    points = true.apply(cloud()) + torch.randn(20, 3, generator=draw, dtype=torch.double) * 3
    weights = torch.rand(20, generator=draw, dtype=torch.double)
    found = weak_perspective(points, cloud(), weights, depth_weight)
    parts = np.array([1, 1, depth_weight**0.5])

    def errors(x):
        moved = np.exp(x[3]) * cloud().numpy() @ Rotation.from_rotvec(x[:3]).as_matrix().T + x[4:]
        return (np.sqrt(weights.numpy())[:, None] * (moved - points.numpy()) * parts).ravel()

    start = [*Rotation.from_matrix(true.rotation.numpy()).as_rotvec(), math.log(80), 200, -150, 7]
    best = least_squares(errors, start, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    wanted = torch.from_numpy(Rotation.from_rotvec(best.x[:3]).as_matrix())
    assert degrees_apart(found.rotation, wanted) < 1e-4
    assert found.scale.item() == pytest.approx(math.exp(best.x[3]), rel=1e-6)
    np.testing.assert_allclose(found.translation[:2], best.x[4:6], atol=1e-4)


def test_full_depth_is_procrustes():
    draw = torch.Generator().manual_seed(2)
    points = torch.stack([similarity(5, y, -y).apply(cloud()) for y in (-40.0, 0.0, 30.0)])
    points = points + torch.randn(points.shape, generator=draw, dtype=torch.double)
    for found, wanted in zip(
        weak_perspective(points, cloud(), None, 1.0), motion.procrustes(points, cloud()), strict=True
    ):
        torch.testing.assert_close(found, wanted)


def test_depth_does_not_matter_where_it_counts_for_nothing():
    points = similarity(10, 20, 0).apply(cloud())
    lied = points.clone()
    lied[:, 2] = float("nan")
    torch.testing.assert_close(weak_perspective(lied, cloud()).rotation, weak_perspective(points, cloud()).rotation)


def test_hidden_points_and_frames_without_a_pose():
    points = torch.stack([similarity(10, 20, 5).apply(cloud())[:, :2]] * 3)
    points[0, 3] = float("nan")  # one hidden point: the others carry it
    points[1, 3:] = float("nan")  # three are left
    found = weak_perspective(points, cloud())
    assert degrees_apart(found.rotation[0], similarity(10, 20, 5).rotation) < 1e-5
    assert torch.isnan(found.rotation[1]).all()
    assert torch.isnan(found.scale[1])
    assert torch.isfinite(found.rotation[2]).all()
    flat = cloud() * torch.tensor([1.0, 1.0, 0.0])
    assert torch.isnan(weak_perspective(points[2], flat).scale), "a plane seen from afar has two poses"


@pytest.mark.parametrize(
    ("points", "template", "weights", "depth"),
    [
        (torch.zeros(20, 4), cloud(), None, 0.0),
        (torch.zeros(19, 2), cloud(), None, 0.0),
        (torch.zeros(20, 2), cloud(), None, 0.5),
        (torch.zeros(20, 3), cloud(), None, -1.0),
        (torch.zeros(20, 2), cloud(), torch.ones(19), 0.0),
        (torch.zeros(20, 2), cloud(), -torch.ones(20), 0.0),
    ],
)
def test_bad_input(points, template, weights, depth):
    with pytest.raises(ValueError, match=r"points|weight"):
        weak_perspective(points, template, weights, depth)


def test_head_pose_2d_of_a_turning_face():
    draw = torch.Generator().manual_seed(3)
    shape = torch.rand(N_POINTS, 3, generator=draw, dtype=torch.double) * 2 - 1
    shape[:, 2] = 1.2 - 0.6 * shape[:, :2].square().sum(-1)  # bulges towards the camera
    shape[33], shape[263] = torch.tensor([-0.5, 0, 0.9]).double(), torch.tensor([0.5, 0, 0.9]).double()
    angles = torch.tensor([[0.0, 0, 0], [10, -20, 5], [-15, 35, -8]]).double()
    true = motion.Similarity(
        torch.full((3,), 90.0).double(), motion.rotation_from_euler(angles), torch.zeros(3, 3).double()
    )
    points = motion.to_face_frame(true.apply(shape))
    points[..., 2] *= 0.3  # a depth that is wrong
    torch.testing.assert_close(motion.euler_angles(head_pose_2d(points, shape).rotation), angles)
    assert (motion.euler_angles(motion.head_pose(points, shape).rotation) - angles).abs().max() > 5
