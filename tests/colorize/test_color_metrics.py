"""Scores against scikit-image, published pairs and numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage import color as sk_color
from skimage import data as sk_data
from skimage import metrics as sk_metrics

from mediakit.colorize.color import join, rgb_to_lab
from mediakit.colorize.metrics import (
    SCORES,
    ColorScore,
    ab_mae,
    auc_ab,
    ciede2000,
    pearson_ab,
    psnr,
    psnr_ab,
    ssim,
)
from mediakit.summary import colorfulness

# Of the 34 pairs of Sharma, Wu and Dalal (2005) those that catch the usual mistakes: L, a, b twice, and the difference.
SHARMA = [
    (50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425),
    (50.0, -1.3802, -84.2814, 50.0, 0.0, -82.7485, 1.0000),
    (50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0009, 7.1792),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0010, 7.1792),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0011, 7.2195),
    (50.0, -0.001, 2.49, 50.0, 0.0009, -2.49, 4.8045),
    (50.0, -0.001, 2.49, 50.0, 0.0011, -2.49, 4.7461),
    (50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492),
    (50.0, 2.5, 0.0, 61.0, -5.0, 29.0, 22.8977),
    (50.0, 2.5, 0.0, 50.0, 3.2592, 0.335, 1.0000),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (22.7233, 20.0904, -46.694, 23.0331, 14.973, -42.5619, 2.0373),
    (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
    (2.0776, 0.0795, -1.135, 0.9033, -0.0636, -0.5514, 0.9082),
]


def planar(picture):
    return torch.from_numpy(np.ascontiguousarray(picture)).movedim(-1, -3)


@pytest.fixture(scope="module")
def photo():
    """(H, W, 3) uint8."""
    return sk_data.astronaut()[::4, ::4]


@pytest.fixture(scope="module")
def worse(photo):
    noise = np.random.default_rng(0).normal(0, 12, photo.shape)
    return np.clip(photo[..., [1, 0, 2]] + noise, 0, 255).astype(np.uint8)


def test_psnr_and_ssim_are_scikit_images(photo, worse):
    stack = torch.stack([planar(worse), planar(photo[:, ::-1])])
    true = planar(photo).expand(2, -1, -1, -1)
    for ours, other in zip(range(2), (worse, photo[:, ::-1]), strict=True):
        expected = sk_metrics.peak_signal_noise_ratio(photo, other, data_range=255)
        assert float(psnr(stack, true)[ours]) == pytest.approx(expected, abs=1e-4)
        expected = sk_metrics.structural_similarity(
            photo, other, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert float(ssim(stack, true)[ours]) == pytest.approx(expected, abs=1e-5)


def test_equal_pictures(photo):
    picture = planar(photo)
    assert float(psnr(picture, picture)) == math.inf
    assert float(ssim(picture, picture)) == 1
    lab = rgb_to_lab(picture / 255)
    assert float(ciede2000(lab, lab).max()) == 0
    assert float(auc_ab(lab[1:], lab[1:])) == 1
    torch.testing.assert_close(pearson_ab(lab[1:], lab[1:]), torch.ones(2))


def test_floats_count_as_the_eight_bits_that_are_written(photo, worse):
    p, t = planar(worse), planar(photo)
    assert torch.equal(psnr(p, t), psnr(p / 255 + 0.3 / 255, t / 255))


def test_psnr_by_hand():
    assert float(psnr(torch.zeros(3, 2, 2), torch.ones(3, 2, 2))) == 0
    off = torch.zeros(2, 2, 2)
    off[0, 0, 0] = 51 * math.sqrt(8)  # mean square (255 / 5)^2
    assert float(psnr_ab(off, torch.zeros(2, 2, 2))) == pytest.approx(20 * math.log10(5), rel=1e-6)


def test_ssim_of_flat_pictures_by_hand():
    # Without variance what is left is the term of the means, here of 100 and 200.
    first, second = (torch.full((3, 11, 12), value, dtype=torch.uint8) for value in (100, 200))
    c1 = 2.55**2
    assert float(ssim(first, second)) == pytest.approx((2 * 2e4 + c1) / (1e4 + 4e4 + c1), rel=1e-6)


@pytest.mark.parametrize("row", SHARMA)
def test_ciede2000_of_published_pairs(row):
    first, second = (torch.tensor(v, dtype=torch.double)[:, None, None] for v in (row[:3], row[3:6]))
    assert float(ciede2000(first, second)) == pytest.approx(row[6], abs=5e-5)
    assert float(ciede2000(second, first)) == pytest.approx(row[6], abs=5e-5)


def test_ciede2000_is_scikit_images():
    lab = np.random.default_rng(1).uniform([0, -120, -120], [100, 120, 120], (2, 200, 200, 3))
    lab[:, :50, :50, 1:] = 0
    lab[1, 50:100, :, 1:] *= -1
    expected = sk_color.deltaE_ciede2000(*lab)
    np.testing.assert_allclose(ciede2000(*planar(lab)), expected, atol=1e-8)
    np.testing.assert_allclose(ciede2000(*planar(lab).float()), expected, atol=2e-3)


def test_errors_of_ab_by_hand():
    true = torch.zeros(2, 2, 2)
    pred = torch.tensor([[[3.0, 0.0], [0.0, 300.0]], [[4.0, 0.0], [15.0, 0.0]]])
    assert float(ab_mae(pred, true)) == pytest.approx((3 + 4 + 15 + 300) / 8)
    assert float(auc_ab(pred, true)) == pytest.approx(1 - (5 + 0 + 15 + 150) / 4 / 150)


def test_auc_is_the_area_under_the_share_of_pixels():
    pred, true = torch.randn(2, 2, 30, 30, generator=torch.Generator().manual_seed(0)) * 50
    distances = np.linalg.norm((pred - true).numpy(), axis=0)
    steps = np.linspace(0, 150, 15001)
    shares = [(distances <= step).mean() for step in steps[:: 15001 // 1500]]
    assert float(auc_ab(pred, true)) == pytest.approx(np.mean(shares), abs=1e-3)


def test_pearson_is_numpys_and_undefined_of_what_does_not_vary():
    pred, true = torch.randn(2, 4, 2, 9, 7, generator=torch.Generator().manual_seed(0)) * 30
    pred[1, 0] = 5.0
    true[2, 1] = 5.0 + 1e-4 * true[2, 1]
    ours = pearson_ab(pred, true)
    assert ours.isnan().nonzero().tolist() == [[1, 0], [2, 1]]
    for item, channel in ((0, 0), (0, 1), (3, 1)):
        expected = np.corrcoef(pred[item, channel].ravel(), true[item, channel].ravel())[0, 1]
        assert float(ours[item, channel]) == pytest.approx(expected, abs=1e-5)


def test_colorfulness_signed_and_abs_by_hand():
    # Left half pure red, right half pure green: rg = 255 and -255, yb = 127.5 everywhere.
    halves = torch.zeros(3, 2, 4)
    halves[0, :, :2] = halves[1, :, 2:] = 255
    assert float(colorfulness(halves)) == pytest.approx(255 + 0.3 * 127.5, rel=1e-6)
    assert float(colorfulness(halves, "abs")) == pytest.approx(0.3 * math.hypot(255, 127.5), rel=1e-6)
    with pytest.raises(ValueError, match="take 'signed' or 'abs'"):
        colorfulness(halves, "ct2")


def pictures(count=4, size=24):
    draw = torch.Generator().manual_seed(3)
    coarse = torch.rand(2, count, 3, 6, 6, generator=draw)
    return torch.nn.functional.interpolate(coarse.flatten(0, 1), (size, size), mode="bilinear").unflatten(0, (2, count))


def test_score_gathers_what_the_functions_say():
    pred, true = pictures()
    score = ColorScore()
    score.update(pred[:1], true[:1])
    score.update(pred[1:], true[1:])
    result, items = score.compute(), score.per_item()
    eight = [(v * 255).round() / 255 for v in (pred, true)]
    lab, true_lab = (rgb_to_lab(v) for v in eight)
    expected = {
        "psnr": psnr(pred, true),
        "ab_mae": ab_mae(lab[:, 1:], true_lab[:, 1:]),
        "ciede2000": ciede2000(lab, true_lab).mean((1, 2)),
        "colorfulness": colorfulness(eight[0] * 255),
        "true_colorfulness": colorfulness(eight[1] * 255),
    }
    for name, values in expected.items():
        torch.testing.assert_close(items[name], values, atol=1e-4, rtol=1e-5)
        assert result[name] == pytest.approx(float(values.mean()), rel=1e-5)
    gap = abs(float(expected["colorfulness"].mean() - expected["true_colorfulness"].mean()))
    assert result["delta_colorfulness"] == pytest.approx(gap, abs=1e-4)
    assert result["pictures"] == 4
    assert score.protocol["size"] == "24 x 24"
    assert set(result) >= {*SCORES, *(f"gray_{name}" for name in SCORES)}


def test_the_gray_picture_is_scored_beside():
    _, true = pictures()
    lab = rgb_to_lab((true * 255).round() / 255)
    gray = join(lab[:, :1], torch.zeros_like(lab[:, 1:]))[:, 1:2].expand(-1, 3, -1, -1)
    score = ColorScore()
    score.update(gray, true)
    result = score.compute()
    for name in ("psnr", "ssim", "ab_mae", "ciede2000", "auc_ab", "delta_colorfulness"):
        assert result[name] == result[f"gray_{name}"]
    assert result["gray_colorfulness"] == 0
    assert result["gray_ab_mae"] == pytest.approx(float(lab[:, 1:].abs().mean()), abs=0.01)
    assert result["pearson_undefined"] == 4
    assert math.isnan(result["pearson_a"])


def test_an_exact_picture_counts_with_a_finite_psnr_and_nan_shows():
    _, true = pictures()
    score = ColorScore()
    score.update(true, true)
    assert score.compute()["psnr"] == 100
    score.update(true * float("nan"), true)
    assert math.isnan(score.compute()["psnr"])
    assert not math.isnan(score.compute()["gray_psnr"])


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_sizes_may_differ_and_are_told():
    score = ColorScore(variant="abs")
    assert score.protocol["size"] == "none"
    for size in (24, 11):
        score.update(*pictures(2, size))
    assert score.protocol["size"] == "11 x 11 to 24 x 24"
    assert score.protocol["colorfulness"].endswith("abs")
    score.reset()
    with pytest.raises(ValueError, match="no pictures"):
        score.compute()


def test_wrong_input():
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(torch.zeros(3, 10, 40), torch.zeros(3, 10, 40))
    with pytest.raises(ValueError, match=r"\(\.\.\., 2, H, W\)"):
        ab_mae(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="got"):
        psnr(torch.zeros(3, 4, 4), torch.zeros(3, 4, 5))
    with pytest.raises(ValueError, match="batch"):
        ColorScore().update(torch.zeros(3, 12, 12), torch.zeros(3, 12, 12))
