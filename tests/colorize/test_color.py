"""Lab against scikit-image and against itself; the gamut against what a display shows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from skimage import color as sk

from mediakit.colorize.color import fit_gamut, join, lab_to_rgb, rgb_to_lab

EXTREMES = [*itertools.product([0.0, 0.002, 0.04045, 0.0405, 0.5, 0.999, 1.0], repeat=3)]


def planar(pixels, dtype=torch.float32):
    """(N, 3) to (3, 1, N)."""
    return torch.as_tensor(np.asarray(pixels), dtype=dtype).T[:, None]


def random_colors(count=20000, low=0.0, high=1.0):
    return np.random.default_rng(0).uniform(low, high, (count, 3))


def colorings(*shape, spread=70, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2, *shape, generator=draw) * spread


def eight_bits(rgb):
    return (rgb * 255).round() / 255


@pytest.mark.parametrize("pixels", [EXTREMES, random_colors(), random_colors(high=0.06)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rgb_to_lab_is_scikit_images(pixels, dtype):
    ours = rgb_to_lab(planar(pixels, dtype))
    assert ours.dtype == dtype
    np.testing.assert_allclose(
        ours[:, 0].T, sk.rgb2lab(np.asarray(pixels)), atol=1e-4 if dtype.itemsize == 4 else 1e-10
    )


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lab_to_rgb_is_scikit_images_also_for_colors_that_do_not_exist(dtype):
    lab = random_colors() * [100, 260, 260] - [0, 130, 130]
    lab = np.concatenate([lab, [*itertools.product([0, 1e-3, 7.9996, 8, 100], [-128, 0, 127], [-128, 0, 127])]])
    ours = lab_to_rgb(planar(lab, dtype))
    assert ours.min() < -1  # not clipped
    assert ours.max() > 1.5
    np.testing.assert_allclose(ours.clamp(0, 1)[:, 0].T, sk.lab2rgb(lab), atol=1e-4 if dtype.itemsize == 4 else 1e-10)


def test_there_and_back():
    rgb = planar([*EXTREMES, *random_colors()], torch.float64)
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=1e-7, rtol=0)


def test_any_shape_is_a_batch():
    rgb = torch.rand(2, 4, 3, 5, 6)
    torch.testing.assert_close(rgb_to_lab(rgb)[1, 2], rgb_to_lab(rgb[1, 2]), atol=1e-4, rtol=0)
    torch.testing.assert_close(lab_to_rgb(rgb)[1, 2], lab_to_rgb(rgb[1, 2]), atol=1e-6, rtol=0)


def test_half_precision_is_computed_as_float32():
    rgb = torch.rand(3, 4, 4).half()
    assert torch.equal(rgb_to_lab(rgb), rgb_to_lab(rgb.float()))


@pytest.mark.parametrize("function", [rgb_to_lab, lab_to_rgb])
def test_gradients(function):
    unit = 1 if function is rgb_to_lab else 100
    inner = (planar(random_colors(5, 0.1, 0.9), torch.float64) * unit).requires_grad_()
    assert torch.autograd.gradcheck(function, inner)
    edges = torch.tensor([*EXTREMES]).T[:, None] * unit
    function(edges.requires_grad_()).sum().backward()
    assert edges.grad.isfinite().all()
    assert (edges.grad != 0).any(0).all()


def test_a_gray_picture_stays_the_same_to_the_last_bit():
    gray = (torch.arange(256) / 255).repeat(3, 1)[:, None]
    again = join(rgb_to_lab(gray)[:1], torch.zeros(2, 1, 256))
    assert torch.equal((again * 255).round(), gray * 255)


@pytest.mark.parametrize("spread", [20, 70, 1000])
def test_eight_bits_keep_lightness_whatever_the_colors(spread):
    gray = (torch.arange(256) / 255).repeat(3, 1)[:, None]
    lightness = rgb_to_lab(gray)[:1].expand(1, 200, 256)
    ab = colorings(200, 256, spread=spread)
    kept = rgb_to_lab(eight_bits(join(lightness, ab)))[:1] - lightness
    clipped = rgb_to_lab(lab_to_rgb(torch.cat([lightness, ab])).clamp(0, 1))[:1] - lightness
    assert kept.abs().max() <= 0.3
    assert clipped.abs().max() > 3  # what it is for


def test_real_photographs_with_their_own_and_with_swapped_colors():
    data = pytest.importorskip("skimage.data")
    lab = rgb_to_lab(torch.from_numpy(data.astronaut()).permute(2, 0, 1)[:, ::2, ::2] / 255)
    own, swapped = (eight_bits(join(lab[:1], ab)) for ab in (lab[1:], -lab[1:]))
    torch.testing.assert_close(rgb_to_lab(own), lab, atol=2e-3, rtol=0)
    assert (rgb_to_lab(swapped)[:1] - lab[:1]).abs().max() <= 0.3


def test_colors_of_the_gamut_stay_and_the_others_go_to_its_edge():
    lab = planar(random_colors() * [100, 240, 240] - [0, 120, 120], torch.float64)
    fitted = fit_gamut(lab[:1], lab[1:])
    shown = lab_to_rgb(lab)
    inside = ((shown >= 0) & (shown <= 1)).all(0)
    assert 0.1 < inside.double().mean() < 0.5
    assert torch.equal(fitted[:, inside], lab[1:, inside])
    after = lab_to_rgb(torch.cat([lab[:1], fitted]))
    assert after.min() > -2e-5
    assert after.max() < 1 + 1e-4
    # At the edge: one percent more chroma would leave the gamut.
    more = lab_to_rgb(torch.cat([lab[:1], 1.01 * fitted + 1e-9]))[:, ~inside]
    assert ((more.amin(0) < 0) | (more.amax(0) > 1)).double().mean() > 0.99
    # Hue: the same direction.
    cross = fitted[0] * lab[2] - fitted[1] * lab[1]
    assert cross.abs().max() < 1e-9
    assert ((fitted * lab[1:]).sum(0) >= 0).all()


def test_black_and_white_have_no_color():
    ends = torch.tensor([0.0, 100.0]).reshape(1, 1, 2)
    assert fit_gamut(ends, colorings(1, 2)).abs().max() < 0.3
    assert torch.equal(eight_bits(join(ends, colorings(1, 2))), torch.tensor([0.0, 1.0]).expand(3, 1, 2))


def test_fitting_scales_gradients():
    lightness, ab = torch.full((1, 1, 2), 50.0), torch.tensor([[[5.0, 300.0]], [[5.0, 0.0]]], requires_grad=True)
    fit_gamut(lightness, ab).sum().backward()
    factor = (fit_gamut(lightness, ab.detach())[0, 0, 1] / 300).item()
    assert 0 < factor < 0.5
    torch.testing.assert_close(ab.grad, torch.tensor([1.0, factor]).expand(2, 1, 2))


def test_batches_share_what_has_one_of_it():
    lightness, ab = torch.rand(1, 4, 5) * 100, torch.randn(3, 2, 4, 5) * 50
    rgb = join(lightness, ab)
    assert rgb.shape == (3, 3, 4, 5)
    torch.testing.assert_close(rgb[1], join(lightness, ab[1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrong", [torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4), torch.zeros(4, 4)])
def test_wrong_input(wrong):
    with pytest.raises(ValueError, match=r"float tensor \(\.\.\., 3, H, W\)"):
        rgb_to_lab(wrong)
    with pytest.raises(ValueError, match=r"ab must be .*\.\.\., 2, H, W"):
        join(torch.zeros(1, 4, 4), wrong)
