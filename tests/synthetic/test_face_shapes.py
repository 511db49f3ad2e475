"""Displacements of the face: angles, distances and symmetries that their names promise."""

import numpy as np
import pytest
import torch

from mediakit import motion
from mediakit.mesh import LIP_ROWS, MIRROR, N_POINTS, RIGID, eye_rows
from mediakit.synthetic.face_shapes import EXPRESSIONS, IDENTITY, expression_basis, identity_basis
from mediakit.synthetic.portrait import load_portrait

pytest.importorskip("cv2")
pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def shape():
    return load_portrait().shape.astype(np.float64)


@pytest.fixture(scope="module")
def basis(shape):
    return dict(zip(EXPRESSIONS, expression_basis(shape), strict=True))


def scalars(shape):
    values = motion.expression_scalars(torch.from_numpy(shape[:N_POINTS]))
    return dict(zip(motion.EXPRESSION_NAMES, values.tolist(), strict=True))


def test_the_jaw_turns_by_14_degrees_about_the_ears(shape, basis):
    hinge = shape[[234, 454]].mean(0)
    before, after = (x[152, 1:] - hinge[1:] for x in (shape, shape + 0.01 * basis["jaw"]))
    turned = np.degrees(np.arctan2(*after) - np.arctan2(*before)) / 0.01
    assert abs(turned) == pytest.approx(14.0, rel=0.02)
    assert after[0] < before[0]  # down
    assert not basis["jaw"][list(LIP_ROWS[-1][0][1:-1])].any()  # the upper lip stays
    assert basis["jaw"][14, 1] < -0.05


def test_the_mouth_opens_with_the_jaw_and_closes_with_closure(shape, basis):
    openings = [scalars(shape + w * basis["jaw"])["mouth_opening"] for w in np.linspace(0, 1, 6)]
    assert (np.diff(openings) > 0.01).all()
    closed = shape + basis["closure"]
    gap = np.linalg.norm(closed[list(LIP_ROWS[-1][0])] - closed[list(LIP_ROWS[-1][1])], axis=1)
    wide = np.linalg.norm(shape[13] - shape[14])
    assert gap.max() < 0.13 * wide
    for upper, lower in LIP_ROWS[:-1]:  # the lips keep their thickness: no ring passes the next one
        assert (closed[list(upper[2:-2]), 1] > closed[list(lower[2:-2]), 1]).all()


@pytest.mark.parametrize(
    ("name", "scalar", "rise"),
    [
        ("width", "mouth_width", 0.06),
        ("right_brow", "right_brow_height", 0.05),
        ("left_brow", "left_brow_height", 0.05),
    ],
)
def test_a_weight_moves_its_scalar(shape, basis, name, scalar, rise):
    before, after = scalars(shape), scalars(shape + basis[name])
    assert after[scalar] - before[scalar] > rise
    if "brow" in name:
        other = scalar.replace("right", "x").replace("left", "right").replace("x", "left")
        assert abs(after[other] - before[other]) < 0.02


def test_a_smile_lifts_both_corners_alike(shape, basis):
    lift = basis["smile"][[61, 291], 1]
    np.testing.assert_allclose(lift, 0.1, atol=0.01)
    assert basis["smile"][61, 0] < 0 < basis["smile"][291, 0]


def test_lids_close_each_its_own_eye(shape, basis):
    for (upper, lower), name, other in zip(
        eye_rows(), ("right_lid", "left_lid"), ("left_lid", "right_lid"), strict=True
    ):
        before, after = (
            np.linalg.norm((x[list(upper)] - x[list(lower)]), axis=1).mean() for x in (shape, shape + basis[name])
        )
        assert after < 0.05 * before
        assert not basis[other][[*upper, *lower]].any()


def test_what_counts_as_rigid_hardly_moves(basis):
    for name, move in basis.items():
        still = np.linalg.norm(move[list(RIGID)], axis=1)
        assert np.sqrt((still**2).mean()) < (0.025 if "brow" in name else 0.01), name
        assert np.abs(move[-32:]).max() < 0.01, name  # the border of the picture


def test_a_mirrored_face_moves_as_the_mirror_image_does(shape, basis):
    face = shape[:N_POINTS]
    flip = np.array([-1, 1, 1])
    mirrored = face[list(MIRROR)] * flip
    theirs = dict(zip(EXPRESSIONS, expression_basis(mirrored), strict=True))
    for name in EXPRESSIONS:
        partner = name.replace("right", "x").replace("left", "right").replace("x", "left")
        ours = expression_basis(face)[EXPRESSIONS.index(partner)]
        np.testing.assert_allclose(theirs[name], ours[list(MIRROR)] * flip, atol=0.004)


def test_identities_are_smooth_and_told_apart(shape):
    basis = identity_basis(shape)
    assert basis.shape == (len(IDENTITY), *shape.shape)
    triangles = load_portrait().triangles
    for name, move in zip(IDENTITY, basis, strict=True):
        assert 0.015 < np.linalg.norm(move[:468], axis=1).max() < 0.4, name
        edge = np.linalg.norm(move[triangles[:, 0]] - move[triangles[:, 1]], axis=1)
        length = np.linalg.norm(shape[triangles[:, 0]] - shape[triangles[:, 1]], axis=1)
        assert (edge / length).max() < 0.75, name  # bends, and does not tear
    rows = basis[:, :N_POINTS].reshape(len(IDENTITY), -1)
    assert np.linalg.matrix_rank(rows / np.linalg.norm(rows, axis=1, keepdims=True), tol=0.05) == len(IDENTITY)
