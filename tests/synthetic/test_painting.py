"""What is painted into a face."""

import numpy as np
import pytest

from mediakit.synthetic.painting import Mouth, aperture, paint_lashes
from mediakit.synthetic.portrait import load_portrait

pytest.importorskip("cv2")
pytest.importorskip("skimage")


@pytest.fixture
def points():
    portrait = load_portrait()
    return np.column_stack([portrait.texture[:478], np.zeros(478)]).astype(np.float64)


def test_aperture_scales_with_the_face_and_tells_the_eyes_apart(points):
    both = aperture(points)
    np.testing.assert_allclose(aperture(2 * points), 2 * both)
    points[[7, 163, 144, 145, 153, 154, 155]] = points[[246, 161, 160, 159, 158, 157, 173]]
    assert aperture(points)[0] == 0
    assert aperture(points)[1] == both[1]


def test_an_open_mouth_is_filled_and_nothing_else(points):
    portrait = load_portrait()
    mouth = Mouth(portrait, np.ones(3, np.float32))
    points[[95, 88, 178, 87, 14, 317, 402, 318, 324], 1] += 40  # the inner lower lip
    person, alpha = np.full((700, 700, 3), 0.5, np.float32), np.ones((700, 700), np.float32)
    x, y = np.rint(points[[13, 14], :2].mean(0)).astype(int)
    alpha[y - 5 : y + 5, x - 5 : x + 5] = 0  # a hole in the mesh
    person[alpha == 0] = 0
    before = person.copy()
    skull = np.column_stack([portrait.texture[:478], np.zeros(478)])
    mouth.paint(person, alpha, points, skull, np.ones_like(alpha))
    changed = np.argwhere(np.abs(person - before).max(-1) > 1e-3)
    low, high = points[[78, 308, 13, 14], :2].min(0), points[[78, 308, 13, 14], :2].max(0)
    assert (changed.min(0) >= low[::-1] - 12).all()
    assert (changed.max(0) <= high[::-1] + 12).all()
    assert alpha.min() == pytest.approx(1, abs=1e-6)
    # Teeth are where they are in the photograph.
    top = np.rint(points[13, :2]).astype(int)
    bright = person[top[1] + 8, top[0] - 20 : top[0] + 20].mean()
    assert bright == pytest.approx(0.92 * portrait.image[top[1] + 8, top[0] - 20 : top[0] + 20].mean(), rel=0.2)
    assert person[y + 12, x].mean() < 0.5 * bright


def test_a_mouth_outside_the_picture_is_no_error(points):
    mouth = Mouth(load_portrait(), np.ones(3, np.float32))
    person, alpha = np.zeros((50, 50, 3), np.float32), np.zeros((50, 50), np.float32)
    mouth.paint(person, alpha, points + 900, points + 900, alpha)
    assert not person.any()


def test_lashes_darken_only_eyes_that_close(points):
    person = np.ones((700, 700, 3), np.float32)
    resting = aperture(points)
    paint_lashes(person, points, resting)
    assert (person == 1).all()
    points[[7, 163, 144, 145, 153, 154, 155]] = points[[246, 161, 160, 159, 158, 157, 173]] + [0, 1, 0]
    paint_lashes(person, points, resting)
    dark = np.argwhere(person.mean(-1) < 0.7)
    assert len(dark) > 30
    assert np.abs(dark.mean(0) - points[[33, 133], 1::-1].mean(0)).max() < 12
