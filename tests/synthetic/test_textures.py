import numpy as np
import pytest

from mediakit.synthetic import textures
from mediakit.synthetic.clip import SPLITS, random_stream
from mediakit.synthetic.textures import PHOTO_TEXTURES, PHOTOGRAPHS, TEXTURES, draw_photograph, draw_texture


@pytest.mark.parametrize("name", TEXTURES)
def test_samples_are_even_repeatable_and_different(name):
    first, again, other = (draw_texture(name, (70, 90), random_stream(name, key)) for key in (0, 0, 1))
    assert first.shape == (70, 90)
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert abs(first.mean() - 0.5) < 0.03
    assert 0.15 < first.std() < 0.21
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.05


@pytest.mark.parametrize("name", PHOTO_TEXTURES)
def test_splits_share_no_piece_of_a_photograph(name, monkeypatch):
    """A photograph whose pixels are numbered tells which of them each split's part holds."""
    numbers = np.arange(512 * 512, dtype=np.float32).reshape(512, 512)
    monkeypatch.setattr(textures, "photograph", lambda _: numbers)
    monkeypatch.setattr(textures, "_level_brick", lambda: numbers)
    parts = {split: set(textures.photo_part(name, split).ravel().tolist()) for split in SPLITS}
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert len(parts[a]) > 60_000
        assert not parts[a] & parts[b]


@pytest.mark.parametrize("name", PHOTO_TEXTURES)
@pytest.mark.parametrize("split", SPLITS)
def test_a_sample_stays_inside_its_part(name, split, monkeypatch):
    """In a photograph that is bright in one split's part only, that split's samples are all bright."""
    bright = np.full((512, 512), -100.0, np.float32)
    rows, columns = {"train": (slice(None), slice(0, 248)), "val": (slice(0, 248), slice(256, 512))}.get(
        split, (slice(256, 512), slice(256, 512))
    )
    bright[rows, columns] = 1
    monkeypatch.setattr(textures, "photograph", lambda _: bright)
    monkeypatch.setattr(textures, "_level_brick", lambda: bright)
    for key in range(20):
        assert textures._photographed(name, (64, 48), random_stream(key), split).min() > 0.999


def test_courses_of_bricks_are_level():
    """Mean lightness of rows shows the courses of the levelled photograph, and hardly those of the leaning one."""
    level = textures._level_brick()
    leaning = np.rot90(textures.photograph("brick"))
    for rows in (slice(0, 128), slice(384, 512)):
        assert level[rows].mean(1).std() > 2 * leaning[rows].mean(1).std()


def test_photographs_belong_to_one_split_and_keep_their_lightness():
    names = [name for split in SPLITS for name in PHOTOGRAPHS[split]]
    assert len(names) == len(set(names))
    camera = textures.photograph("camera")
    assert camera.shape == (512, 512)
    # CIE L* of sRGB gray 128 is 53.585
    data = pytest.importorskip("skimage.data").camera()
    assert camera[data == 128].mean() == pytest.approx(0.53585, abs=1e-4)


@pytest.mark.parametrize("split", SPLITS)
def test_a_photograph_is_cut_to_any_size(split):
    for size in ((40, 40), (30, 90), (90, 30)):
        piece = draw_photograph(size, random_stream(split, 1), split)
        assert piece.shape == size
        assert piece.min() >= 0
        assert piece.max() <= 1
        assert piece.std() > 0.02


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no texture 'velvet'; there are brick"):
        draw_texture("velvet", (32, 32), random_stream(0))
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'dev'"):
        draw_texture("brick", (32, 32), random_stream(0), "dev")
    with pytest.raises(ValueError, match="split must be one of"):
        draw_photograph((32, 32), random_stream(0), "dev")
