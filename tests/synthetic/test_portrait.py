"""The photograph behind the talking heads: mesh, matte and pose agree with each other."""

import numpy as np
import pytest
import torch

from mediakit import motion
from mediakit.mesh import LIP_ROWS, MIRROR, N_POINTS
from mediakit.synthetic.portrait import load_portrait

pytest.importorskip("cv2")
pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def portrait():
    return load_portrait()


def area(polygon):
    x, y = polygon.T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_the_pose_takes_the_shape_to_the_texture(portrait):
    placed = motion.to_face_frame(portrait.pose.apply(torch.from_numpy(portrait.shape).double())).numpy()
    np.testing.assert_allclose(placed[:, :2], portrait.texture, atol=2e-3)
    assert np.linalg.norm(portrait.shape[263] - portrait.shape[33]) == pytest.approx(1, abs=1e-5)


def test_the_mesh_is_a_disk_with_one_hole_for_the_mouth(portrait):
    edges = {frozenset(e) for a, b, c in portrait.triangles.tolist() for e in ((a, b), (b, c), (a, c))}
    used = set(portrait.triangles.ravel().tolist())
    assert len(used) - len(edges) + len(portrait.triangles) == 0  # Euler
    assert not used & set(range(468, N_POINTS))  # irises are part of the eyes' picture
    upper, lower = LIP_ROWS[-1]
    mouth = area(portrait.texture[[*upper, *lower[-2:0:-1]]])
    covered = sum(area(portrait.texture[t]) for t in portrait.triangles)
    assert covered == pytest.approx((len(portrait.image) - 1) ** 2 - mouth, rel=0.005)


def test_the_head_follows_and_the_body_does_not(portrait):
    x, y = portrait.texture[N_POINTS:].T
    follows = portrait.follows[N_POINTS:]
    assert (portrait.follows[:N_POINTS] == 1).all()
    assert (follows[y < 250] == 1).all()
    assert (follows[y > 600] == 0).all()
    assert len(x[y > 600]) >= 9


def test_masks_lie_where_they_belong(portrait):
    at = np.rint(portrait.texture[:468]).astype(int)
    for mask in (portrait.matte, portrait.hair, portrait.suit):
        assert mask.shape == portrait.image.shape[:2]
        assert mask.min() >= 0
        assert mask.max() <= 1
    assert (portrait.matte[at[:, 1], at[:, 0]] > 0.9).mean() > 0.97
    centre = at[[1, 4, 152, 50, 280]]  # nose, chin, cheeks
    assert portrait.hair[centre[:, 1], centre[:, 0]].max() < 0.05
    assert portrait.matte[:20].max() < 0.05
    assert portrait.suit[650, 200] > 0.95


def test_the_outline_keeps_no_trace_of_the_old_background(portrait):
    """Colours do not jump across the outline of the suit: those outside are those inside."""
    row = 560
    edge = int(np.flatnonzero(portrait.matte[row] > 0.5)[0])
    inside, outside = portrait.image[row, edge + 10], portrait.image[row, max(edge - 4, 0)]
    assert np.abs(inside - outside).max() < 0.15


def test_the_mirror_image_is_one(portrait):
    mirrored, side = load_portrait(True), len(portrait.image)
    np.testing.assert_allclose(mirrored.matte, portrait.matte[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(mirrored.image, portrait.image[:, ::-1], atol=2e-3)
    expected = portrait.texture[list(MIRROR)] * [-1, 1] + [side - 1, 0]
    np.testing.assert_allclose(mirrored.texture[:N_POINTS], expected, atol=1e-3)
    right, left = (motion.euler_angles(p.pose.rotation) for p in (portrait, mirrored))
    torch.testing.assert_close(left, right * torch.tensor([1.0, -1.0, -1.0], dtype=right.dtype), atol=0.02, rtol=0)
