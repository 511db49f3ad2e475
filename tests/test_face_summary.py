"""What is kept of a face track."""

import numpy as np
import pytest
import torch

from mediakit.face_summary import summarize_track
from mediakit.mesh import N_POINTS
from mediakit.tracks import FaceTrack


def head(count: int) -> torch.Tensor:
    """A rigid cloud with a face's landmarks in place, in pixels, moving to the right."""
    rng = np.random.default_rng(0)
    shape = rng.uniform([-60, -80, -40], [60, 80, 0], (N_POINTS, 3))
    shape[33], shape[263] = (-50, -20, 0), (50, -20, 0)
    shape[10], shape[152] = (0, -90, 0), (0, 90, 0)
    moving = shape + np.arange(count)[:, None, None] * np.array([0.5, 0, 0]) + np.array([200, 200, 0])
    return torch.from_numpy(moving).float()


def test_a_rigid_head_has_one_pose_and_one_expression():
    count = 1500
    track = FaceTrack(head(count), torch.ones(count, dtype=torch.bool), torch.arange(count, dtype=torch.float64) / 30)
    found = summarize_track(track, key_times=(0.0, 10.0, 1000.0))
    assert found.interocular_px == pytest.approx(100, abs=1e-3)
    assert len(found.time) == len(found.pose) == len(found.expression) == 500  # thinned by three
    assert float(found.time[0]) == pytest.approx(1 / 30)  # the mean of three frames
    assert found.pose.std(0).max() < 1e-2
    assert found.expression.std(0).max() < 1e-4
    assert sorted(found.boxes) == [0.0, 10.0]
    assert torch.equal(found.boxes[10.0], track.points[300, :, :2])
