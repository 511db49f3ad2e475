"""Manipulations, each against its closed form."""

import numpy as np
import pytest

from mediakit.mesh import N_POINTS
from mediakit.synthetic import twins
from mediakit.synthetic.portrait import load_portrait

cv2 = pytest.importorskip("cv2")
pytest.importorskip("skimage")
pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def shape():
    return load_portrait().shape.astype(np.float64)


@pytest.fixture
def offsets(shape):
    return np.random.default_rng(0).normal(size=(40, len(shape), 3))


def test_regions_are_soft_and_hold_what_they_are_named_for(shape):
    parts = {name: twins.region(shape, name) for name in ("inner", "lower", "upper")}
    for weights in parts.values():
        assert weights.min() == 0
        assert weights.max() == 1
        assert ((weights > 0.05) & (weights < 0.95)).sum() > 20
        assert not weights[N_POINTS:].any()
    mouth, eyes, rim = [13, 14, 61, 291], [159, 386, 105], [10, 454, 234]
    assert parts["lower"][mouth].min() == 1
    assert parts["lower"][eyes].max() == 0
    assert parts["upper"][eyes].min() > 0.9
    assert parts["upper"][mouth].max() == 0
    assert parts["inner"][[1, *mouth]].min() == 1
    assert parts["inner"][rim].max() < 0.2
    with pytest.raises(ValueError, match="region must be one of"):
        twins.region(shape, "ears")


def test_a_lag_of_whole_frames_is_a_shift(shape, offsets):
    weights = twins.region(shape, "lower")
    late = twins.lag(offsets, weights, 4)
    inside, outside = weights == 1, weights == 0
    np.testing.assert_allclose(late[4:, inside], offsets[:-4, inside], atol=1e-12)
    np.testing.assert_allclose(late[:4, inside], np.repeat(offsets[:1, inside], 4, 0), atol=1e-12)
    np.testing.assert_array_equal(late[:, outside], offsets[:, outside])


def test_a_lag_of_half_a_frame_lies_between(shape, offsets):
    ones = np.ones(len(shape))
    np.testing.assert_allclose(twins.lag(offsets, ones, 0.5)[1:], (offsets[1:] + offsets[:-1]) / 2, atol=1e-12)
    np.testing.assert_allclose(twins.lag(offsets, ones, 0.0), offsets)


def test_jitter_has_its_size_is_new_in_each_frame_and_smooth_over_the_face(shape):
    weights = twins.region(shape, "inner")
    extra = twins.jitter(np.zeros((400, len(shape), 3)), shape, weights, 0.008, np.random.default_rng(1))
    inside = extra[:, weights > 0.5]
    assert np.sqrt((inside[..., :2] ** 2).mean()) == pytest.approx(0.008, rel=0.1)
    assert np.sqrt((inside[..., 2] ** 2).mean()) == pytest.approx(0.004, rel=0.1)
    assert not extra[:, weights == 0].any()
    x = inside[..., 0]
    assert np.abs((x[1:] * x[:-1]).mean() / (x**2).mean()) < 0.1
    a, b = load_portrait().triangles[:, :2].T
    steps = np.linalg.norm(extra[:, a] - extra[:, b], axis=-1)
    assert np.sqrt((steps**2).mean()) < 0.3 * 0.008


@pytest.mark.parametrize(("hertz", "sigma"), [(1.0, 4.0), (3.0, 2.0), (0.4, 5.0)])
def test_oversmoothing_attenuates_a_sine_as_a_gaussian_does(shape, hertz, sigma):
    time = np.arange(300) / 25
    wave = np.sin(2 * np.pi * hertz * time)
    offsets = np.broadcast_to(wave[:, None, None], (300, len(shape), 3))
    weights = twins.region(shape, "inner")
    smooth = twins.oversmooth(offsets, weights, sigma)
    gain = np.exp(-0.5 * (2 * np.pi * hertz / 25 * sigma) ** 2)
    middle = slice(60, 240)
    np.testing.assert_allclose(
        smooth[middle, weights == 1, 0].T, np.broadcast_to(gain * wave[middle], ((weights == 1).sum(), 180)), atol=2e-3
    )
    np.testing.assert_array_equal(smooth[:, weights == 0], offsets[:, weights == 0])


def test_a_slide_is_a_similarity_of_the_inner_face(shape):
    drift = np.array([[0.0, 0.0, 0.0, 0.0], [0.03, -0.02, 0.05, 0.04]])
    weights = twins.region(shape, "inner")
    moved = shape + twins.slide(np.zeros((2, *shape.shape)), shape, weights, drift)
    np.testing.assert_array_equal(moved[0], shape)
    inside = weights == 1
    before, after = (x[inside, :2] - x[1, :2] for x in (shape, moved[1]))
    distance = np.linalg.norm(before, axis=1)
    far = distance > 0.1
    np.testing.assert_allclose(np.linalg.norm(after, axis=1)[far] / distance[far], np.exp(0.04), rtol=0.003)
    turned = np.angle(np.exp(1j * (np.arctan2(*after.T[::-1]) - np.arctan2(*before.T[::-1]))))
    np.testing.assert_allclose(turned[far], 0.05, atol=0.004)  # to first order
    np.testing.assert_allclose(moved[1, 1, :2] - shape[1, :2], [0.03, -0.02], atol=1e-12)
    np.testing.assert_array_equal(moved[1, weights == 0], shape[weights == 0])
    np.testing.assert_array_equal(moved[1, :, 2], shape[:, 2])


def pictures():
    draw = np.random.default_rng(3)
    small = draw.uniform(0.3, 0.6, (2, 15, 20, 3)).astype(np.float32)
    target, source = (cv2.resize(x, (160, 120), interpolation=cv2.INTER_CUBIC) for x in small)
    return target * [1.0, 0.8, 0.7], source * [0.8, 0.9, 0.8] * 0.8


def test_a_blend_has_the_colours_of_the_target_and_the_picture_of_the_source():
    target, source = (x.astype(np.float32) for x in pictures())
    mask = np.zeros((120, 160), np.float32)
    mask[30:90, 40:120] = 1
    mixed = twins.blend(target, source, mask)
    inside = mask == 1
    np.testing.assert_array_equal(mixed[~inside], target[~inside])
    theirs, ours, drawn = (cv2.cvtColor(x, cv2.COLOR_RGB2LAB)[inside] for x in (target, mixed, source))
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.3)
    ratio = np.clip(theirs.std(0) / drawn.std(0), 0.7, 1.2)
    np.testing.assert_allclose(ours.std(0), ratio * drawn.std(0), rtol=0.05)
    for channel in range(3):
        assert np.corrcoef(ours[:, channel], drawn[:, channel])[0, 1] > 0.98
    np.testing.assert_array_equal(twins.blend(target, source, 0 * mask), target)
    np.testing.assert_allclose(twins.blend(target, target, mask), target, atol=2e-3)


def test_colours_are_matched_on_the_sample_alone():
    target = np.full((40, 40, 3), 0.6, np.float32)
    source = np.full((40, 40, 3), 0.3, np.float32)
    source[:, 20:] = 0.9
    mask, sample = np.ones((40, 40), np.float32), np.ones((40, 40), np.float32)
    sample[:, 20:] = 0
    mixed = twins.blend(target, source, mask, sample)
    np.testing.assert_allclose(mixed[:, :20], 0.6, atol=0.01)
    assert mixed[:, 20:].min() > 0.8


def test_masks_lie_on_the_face(shape):
    points = np.column_stack([load_portrait().texture[:478], np.zeros(478)])
    for name, inside, outside in (("inner", (1, 13, 159, 386), (10, 454, 234)), ("lower", (13, 14), (159, 386, 168))):
        mask = twins.face_mask(points, (700, 700), name, 12.0)
        assert mask.dtype == np.float32
        at = lambda i: mask[tuple(np.rint(points[i, 1::-1]).astype(int))]  # noqa: B023, E731
        assert min(map(at, inside)) > 0.9
        assert max(map(at, outside)) < 0.1
        assert ((mask > 0.1) & (mask < 0.9)).sum() > 1000
        skin = twins.without_features(mask, points)
        assert skin[tuple(np.rint(points[13, 1::-1]).astype(int))] == 0
        assert (skin <= mask).all()
    assert skin[tuple(np.rint(points[17, 1::-1] + [14, 0]).astype(int))] > 0  # the chin is skin


def test_misalignment_without_error_is_the_identity_and_else_a_similarity(shape):
    points = np.zeros((478, 3))
    points[1] = [70, 50, 0]
    picture = np.clip(pictures()[0], 0, 1).astype(np.float32)
    np.testing.assert_allclose(twins.misalign(picture, points, np.zeros(4), 1.0), picture, atol=1e-5)
    shifted = twins.misalign(picture, points, np.array([3.0, -2.0, 0.0, 0.0]), 1.0)
    np.testing.assert_allclose(shifted[2:100, 10:150], picture[4:102, 7:147], atol=1e-5)
    grown = twins.misalign(picture, points, np.array([0.0, 0.0, 0.0, np.log(2)]), 1.0)
    np.testing.assert_allclose(grown[50, 70], picture[50, 70], atol=1e-5)
    np.testing.assert_allclose(grown[50, 90], picture[50, 80], atol=0.01)
    turned = twins.misalign(picture, points, np.array([0.0, 0.0, 90.0, 0.0]), 1.0)
    np.testing.assert_allclose(turned[40, 70], picture[50, 80], atol=0.01)  # counter-clockwise


def test_a_low_resolution_loses_detail():
    picture = np.random.default_rng(0).random((80, 80, 3)).astype(np.float32)
    soft = twins.misalign(picture, np.full((478, 3), 40.0), np.zeros(4), 0.5)
    assert soft.std() < 0.7 * picture.std()
    assert soft.mean() == pytest.approx(picture.mean(), abs=0.01)
