"""Colours of people and rooms."""

import numpy as np
import pytest

from mediakit.mesh import LIP_ROWS
from mediakit.synthetic.colouring import recolour, room
from mediakit.synthetic.portrait import load_portrait

cv2 = pytest.importorskip("cv2")
pytest.importorskip("skimage")

PLAIN = {"skin": (1.0, 1.0, 1.0), "hair": (1.0, 0.0, 0.0), "suit": 14.0, "lips": 0.0}


@pytest.fixture(scope="module")
def portrait():
    return load_portrait()


def at(image, portrait, *points):
    x, y = np.rint(portrait.texture[list(points)]).astype(int).T
    return image[y, x]


def test_skin_takes_its_factors_and_eyes_and_clothes_do_not(portrait):
    plain = recolour(portrait, **PLAIN)
    dark = recolour(portrait, **{**PLAIN, "skin": (0.7, 0.6, 0.5)})
    cheeks = (50, 280, 9)
    np.testing.assert_allclose(
        at(dark, portrait, *cheeks) / at(plain, portrait, *cheeks), [[0.7, 0.6, 0.5]] * 3, atol=0.02
    )
    np.testing.assert_allclose(at(dark, portrait, 468, 473), at(plain, portrait, 468, 473), atol=0.01)  # irises
    np.testing.assert_allclose(dark[600:], plain[600:], atol=0.01)


def test_clothes_take_the_hue(portrait):
    for hue in (120.0, 240.0):
        image = recolour(portrait, **{**PLAIN, "suit": hue})
        patch = image[600:660, 120:200].mean((0, 1))
        got = cv2.cvtColor(patch[None, None].astype(np.float32), cv2.COLOR_RGB2HLS)[0, 0, 0]
        assert abs((got - hue + 180) % 360 - 180) < 15
        edge = int(np.flatnonzero(portrait.matte[560] > 0.5)[0])
        assert int(np.argmax(image[560, edge + 1])) == int(np.argmax(patch))  # up to its outline


def test_hair_and_lips(portrait):
    plain = recolour(portrait, **PLAIN)
    assert recolour(portrait, **{**PLAIN, "hair": (0.4, 0.0, 0.0)})[80, 350].mean() < 0.6 * plain[80, 350].mean()
    red = recolour(portrait, **{**PLAIN, "lips": 1.0})
    ratio = at(red, portrait, *LIP_ROWS[1][1][3:8]) / at(plain, portrait, *LIP_ROWS[1][1][3:8])
    assert (ratio[:, 0] > ratio[:, 1] + 0.08).all()


@pytest.mark.parametrize("name", ["wall", "coffee", "gravel"])
def test_rooms_are_out_of_focus(name):
    got = room((name, 0.3, 0.6, 0.5, 0.4), (90, 120))
    assert got.shape == (90, 120, 3)
    assert got.dtype == np.float32
    assert 0 <= got.min() <= got.max() <= 1
    assert got.std() > 0.005
    assert np.abs(np.diff(got, axis=0)).max() < 0.25
    assert np.abs(np.diff(got, axis=1)).max() < 0.25
