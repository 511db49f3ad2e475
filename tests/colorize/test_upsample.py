"""Upsampling by lightness: right where the answer is known, better than bilinear on a photograph, equal in any tile."""

from __future__ import annotations

import pytest
import torch
from skimage import data
from torch.nn import functional as F

from mediakit.colorize.color import rgb_to_lab
from mediakit.colorize.upsample import GuidedUpsampler, row_tiles, upsample_ab


def shrink(x, size):
    return F.interpolate(x, size, mode="area")


def bilinear(x, size):
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


@pytest.fixture(scope="module")
def photo():
    lab = rgb_to_lab(torch.from_numpy(data.coffee()).permute(2, 0, 1)[None] / 255)
    return lab[:, :1], lab[:, 1:]


def test_better_than_bilinear_on_a_photograph(photo):
    lightness, ab = photo
    small = shrink(ab, (100, 150))
    guided = upsample_ab(small, shrink(lightness, (100, 150)), lightness)
    error, plain = ((x - ab).abs().mean() for x in (guided, bilinear(small, ab.shape[-2:])))
    assert error < 0.85 * plain


def test_an_edge_of_lightness_is_an_edge_of_color():
    # A red square on a dark blue ground; its border lies inside small pixels.
    square = torch.zeros(1, 1, 96, 96)
    square[..., 21:67, 27:75] = 1
    lightness = 20 + 50 * square
    ab = torch.cat([60 * square, 30 - 60 * square], 1)
    args = shrink(ab, (12, 12)), shrink(lightness, (12, 12))
    wrong, plain = ((x - ab).abs() > 15 for x in (upsample_ab(*args, lightness), bilinear(args[0], (96, 96))))
    assert wrong.sum() < 0.02 * plain.sum()


@pytest.mark.parametrize("tile_pixels", [1, 601, 7 * 600 + 5, 10**9])
def test_any_tile_gives_the_same(photo, tile_pixels):
    lightness, ab = photo
    args = shrink(ab, (50, 77)), shrink(lightness, (50, 77)), lightness
    torch.testing.assert_close(upsample_ab(*args, tile_pixels=tile_pixels), upsample_ab(*args), atol=1e-4, rtol=0)


def test_rows_alone_are_those_of_the_whole(photo):
    lightness, ab = photo
    small, guide = shrink(ab, (50, 77)), shrink(lightness, (50, 77))
    some = GuidedUpsampler(small, guide, (400, 600)).rows(lightness[:, :, 123:130], 123)
    torch.testing.assert_close(some, upsample_ab(small, guide, lightness)[:, :, 123:130], atol=1e-4, rtol=0)


def test_flat_lightness_leaves_bilinear_interpolation():
    ab = torch.randn(2, 2, 5, 9, generator=torch.Generator().manual_seed(0)) * 40
    flat = torch.full((2, 1, 5, 9), 40.0)
    expected = bilinear(ab, (33, 31))
    torch.testing.assert_close(upsample_ab(ab, flat, torch.full((2, 1, 33, 31), 40.0)), expected, atol=1e-3, rtol=0)


def test_no_color_that_is_not_around():
    draw = torch.Generator().manual_seed(1)
    ab, small = torch.rand(1, 2, 6, 6, generator=draw) * 20 + 5, torch.rand(1, 1, 6, 6, generator=draw) * 100
    result = upsample_ab(ab, small, torch.rand(1, 1, 60, 60, generator=draw) * 100)
    assert result.min() >= ab.min()
    assert result.max() <= ab.max()


@pytest.mark.parametrize(
    ("small", "size"), [((1, 1), (1, 1)), ((1, 1), (7, 3)), ((2, 256), (5, 4000)), ((32, 32), (9, 5))]
)
def test_odd_sizes(small, size):
    draw = torch.Generator().manual_seed(2)
    lightness = torch.rand(1, 1, *size, generator=draw) * 100
    ab = torch.full((1, 2, *small), 7.0)
    result = upsample_ab(ab, torch.rand(1, 1, *small, generator=draw) * 100, lightness)
    torch.testing.assert_close(result, torch.full((1, 2, *size), 7.0), atol=1e-3, rtol=0)


def test_tiles_cover_every_row_once():
    rows = [n for tile in row_tiles(101, 40, 1000) for n in range(tile.start, tile.stop)]
    assert rows == list(range(101))


def test_wrong_input():
    ab, guide = torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"\(B, 2, h, w\) and \(B, 1, h, w\)"):
        upsample_ab(ab, torch.zeros(1, 1, 4, 5), torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="rows 6 to 9, 8 wide, are not of 8x8"):
        GuidedUpsampler(ab, guide, (8, 8)).rows(torch.zeros(1, 1, 3, 8), 6)
