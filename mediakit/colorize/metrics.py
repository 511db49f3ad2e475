"""How close colours come to the true ones, without any downloaded weights.

Pictures are sRGB, uint8 or float in [0, 1], and are compared as the 8-bit pictures that a user gets. Functions give one
number a picture. A dull picture wins on PSNR and SSIM, so :class:`ColorScore` puts the score of the gray picture beside
every score.
"""

from __future__ import annotations

from math import radians
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mediakit import base  # noqa: F401 imports torchmetrics where packages that it loads unasked are broken
from mediakit.colorize.color import join, rgb_to_lab
from mediakit.summary import colorfulness

# isort: split
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

SCORES = ("psnr", "psnr_ab", "ssim", "ab_mae", "ciede2000", "auc_ab", "pearson_a", "pearson_b", "colorfulness")
"""Names of what :class:`ColorScore` gives of each picture, and of the gray one as ``gray_<name>``."""
PEAK_AB = 255.0
"""Peak of `psnr_ab`: what 8 bits of a or b span."""
EXACT_PSNR = 100.0
"""What an exact picture counts as in means, in dB, where its PSNR is infinite."""
CONSTANT_AB = 0.01
"""Standard deviation of a or b below which a picture has no correlation: that of gray ones is up to 0.001."""
_COLUMNS = (*SCORES, *(f"gray_{name}" for name in SCORES), "true_colorfulness")
_SIGMA, _REACH = 1.5, 5  # the Gaussian window of SSIM, 11 x 11


def psnr(pred: Tensor, true: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of 8-bit RGB, ``10 log10(255² / MSE)`` over all pixels and channels.

    Args:
        pred: sRGB ``(..., 3, H, W)``, uint8 or float in [0, 1].
        true: Likewise.

    Returns:
        ``(...)`` in dB; infinite for equal pictures.

    Raises:
        ValueError: The shapes differ or are not those of pictures.
    """
    return _decibels(_levels(pred, true), 255.0)


def psnr_ab(pred: Tensor, true: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of a and b alone, with `PEAK_AB` as peak.

    Args:
        pred: CIELAB a and b, ``(..., 2, H, W)``.
        true: Likewise.

    Returns:
        ``(...)`` in dB; infinite for equal colours.

    Raises:
        ValueError: The shapes differ or are not those of colours.
    """
    return _decibels(_pair(pred, true, 2), PEAK_AB)


def ssim(pred: Tensor, true: Tensor) -> Tensor:
    """Structural similarity (Wang et al., 2004) of 8-bit RGB, mean over the channels.

    The window is Gaussian, 11 x 11 with a standard deviation of 1.5; K1 = 0.01, K2 = 0.03; windows that reach over
    the border do not count.

    Args:
        pred: sRGB ``(..., 3, H, W)``, uint8 or float in [0, 1], at least 11 pixels in height and width.
        true: Likewise.

    Returns:
        ``(...)``, at most 1.

    Raises:
        ValueError: The shapes differ, are not those of pictures, or are smaller than the window.
    """
    x, y = _levels(pred, true)
    if min(x.shape[-2:]) <= 2 * _REACH:
        raise ValueError(f"ssim needs pictures of at least 11 x 11 pixels, got {tuple(x.shape[-2:])}")
    shape = x.shape[:-3]
    # Variance is a small difference of large squares; MPS has no float64.
    precise = torch.float32 if x.device.type == "mps" else torch.float64
    x, y = (v.reshape(-1, 1, *v.shape[-2:]).to(precise) for v in (x, y))
    taps = torch.arange(-_REACH, _REACH + 1, device=x.device, dtype=x.dtype)
    window = F.normalize(torch.exp(-0.5 * (taps / _SIGMA).square()), p=1, dim=0)

    def blurred(v: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(v, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))

    mx, my = blurred(x), blurred(y)
    vx, vy, cov = blurred(x * x) - mx * mx, blurred(y * y) - my * my, blurred(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    maps = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return maps.reshape(*shape, -1).mean(-1).float()


def ab_mae(pred: Tensor, true: Tensor) -> Tensor:
    """Mean absolute error of a and b, over both and all pixels.

    Args:
        pred: CIELAB a and b, ``(..., 2, H, W)``.
        true: Likewise.

    Returns:
        ``(...)`` in units of Lab.

    Raises:
        ValueError: The shapes differ or are not those of colours.
    """
    p, t = _pair(pred, true, 2)
    return (p - t).abs().mean((-3, -2, -1))


def auc_ab(pred: Tensor, true: Tensor, limit: float = 150.0) -> Tensor:
    """Raw accuracy (Zhang et al., ECCV 2016): area under the share of pixels within a distance in ab, over distances.

    The integral from 0 to ``limit`` is taken exactly, ``1 - mean(min(d, limit)) / limit``, with no steps.

    Args:
        pred: CIELAB a and b, ``(..., 2, H, W)``.
        true: Likewise.
        limit: Largest distance.

    Returns:
        ``(...)`` in [0, 1]; 1 is exact.

    Raises:
        ValueError: The shapes differ or are not those of colours.
    """
    p, t = _pair(pred, true, 2)
    distance = torch.linalg.vector_norm(p - t, dim=-3)
    return 1 - distance.clamp(max=limit).mean((-2, -1)) / limit


def pearson_ab(pred: Tensor, true: Tensor) -> Tensor:
    """Pearson correlation of a and of b over the pixels of a picture.

    Args:
        pred: CIELAB a and b, ``(..., 2, H, W)``.
        true: Likewise.

    Returns:
        ``(..., 2)`` in [-1, 1]; NaN where one of the two hardly varies (`CONSTANT_AB`).

    Raises:
        ValueError: The shapes differ or are not those of colours.
    """
    p, t = (v.flatten(-2) - v.mean((-2, -1))[..., None] for v in _pair(pred, true, 2))
    spread_p, spread_t = p.square().mean(-1).sqrt(), t.square().mean(-1).sqrt()
    r = ((p * t).mean(-1) / (spread_p * spread_t)).clamp(-1, 1)
    return torch.where((spread_p < CONSTANT_AB) | (spread_t < CONSTANT_AB), float("nan"), r)


def ciede2000(pred: Tensor, true: Tensor) -> Tensor:
    """Colour difference CIEDE2000 (Sharma, Wu and Dalal, 2005; kL = kC = kH = 1), of every pixel.

    Args:
        pred: CIELAB ``(..., 3, H, W)``.
        true: Likewise.

    Returns:
        ``(..., H, W)``; about 1 is just noticeable.

    Raises:
        ValueError: The shapes differ or are not those of Lab.
    """
    (l1, a1, b1), (l2, a2, b2) = (v.unbind(-3) for v in _pair(pred, true, 3))
    chroma7 = ((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * (chroma7 / (chroma7 + 25.0**7)).sqrt()
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = (torch.rad2deg(torch.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    neutral, turn = c1 * c2 == 0, h2 - h1
    turn = torch.where(neutral, 0.0, turn - 360 * (turn > 180) + 360 * (turn < -180))
    hue = torch.where(neutral, h1 + h2, h1 + turn / 2)
    d_hue = 2 * (c1 * c2).sqrt() * torch.sin(torch.deg2rad(turn) / 2)
    light, chroma = (l1 + l2) / 2 - 50, (c1 + c2) / 2

    def cosine(times: int, shift: float) -> Tensor:
        return torch.cos(times * torch.deg2rad(hue) + radians(shift))

    t = 1 - 0.17 * cosine(1, -30) + 0.24 * cosine(2, 0) + 0.32 * cosine(3, 6) - 0.20 * cosine(4, -63)
    hue_difference = (hue % 360 - 275) / 25
    rotation = -torch.sin(torch.deg2rad(60 * torch.exp(-hue_difference.square())))
    rotation = rotation * 2 * (chroma**7 / (chroma**7 + 25.0**7)).sqrt()
    d_l = (l2 - l1) / (1 + 0.015 * light.square() / (20 + light.square()).sqrt())
    d_c, d_h = (c2 - c1) / (1 + 0.045 * chroma), d_hue / (1 + 0.015 * chroma * t)
    return (d_l.square() + d_c.square() + d_h.square() + rotation * d_c * d_h).clamp(min=0).sqrt()


class ColorScore(Metric):
    """All scores of coloured pictures beside those of the same pictures left gray, gathered over batches and processes.

    The gray picture has the true lightness and no colour: what doing nothing scores.

    Args:
        variant: Of :func:`~mediakit.summary.colorfulness`.
        **kwargs: Of `torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    rows: list[Tensor] | Tensor
    smallest: Tensor
    largest: Tensor

    def __init__(self, variant: Literal["signed", "abs"] = "signed", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("smallest", default=torch.full((2,), 2**31 - 1), dist_reduce_fx="min")
        self.add_state("largest", default=torch.zeros(2, dtype=torch.long), dist_reduce_fx="max")

    def update(self, pred: Tensor, true: Tensor) -> None:
        """Adds pictures.

        Args:
            pred: Coloured, sRGB (B, 3, H, W), uint8 or float in [0, 1], H and W at least 11.
            true: The true ones.

        Raises:
            ValueError: The shapes differ or are not those of a batch of pictures.
        """
        p, t = _levels(pred, true)
        if p.ndim != 4:
            raise ValueError(f"a batch must be (B, 3, H, W), got {tuple(p.shape)}")
        lab = rgb_to_lab(t / 255)
        # One channel three times: rounded apart, red and blue may differ by a level.
        gray = (join(lab[:, :1], torch.zeros_like(lab[:, 1:]))[:, 1:2] * 255).round().expand(-1, 3, -1, -1)
        columns = [*_columns(p, t, lab, self.variant), *_columns(gray, t, lab, self.variant)]
        columns.append(colorfulness(t, self.variant))
        self.rows.append(torch.stack(columns, 1).float())  # type: ignore[union-attr]
        size = torch.tensor(p.shape[-2:], device=self.smallest.device)
        self.smallest, self.largest = torch.minimum(self.smallest, size), torch.maximum(self.largest, size)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gathers the processes' states; one that saw no picture takes part all the same."""
        if isinstance(self.rows, list) and not self.rows:
            self.rows = [torch.zeros(0, len(_COLUMNS), device=self.device)]
        super().sync(*args, **kwargs)

    def compute(self) -> dict[str, float]:
        """Means over the pictures.

        Returns:
            `SCORES` by name, each also as ``gray_<name>``; ``true_colorfulness``; ``delta_colorfulness`` and
            ``gray_delta_colorfulness``, the distance of the means of a whole set; ``pictures``, their number; and
            ``pearson_undefined``, how many of these have no correlation of a or of b: they are left out of its mean,
            which is NaN where none is left.

        Raises:
            ValueError: No picture was added.
        """
        items = {name: column.cpu().double() for name, column in self._items().items()}
        if not len(items["psnr"]):
            raise ValueError("there are no pictures to score")
        # Only a correlation may be undefined; NaN elsewhere comes from the network and must show.
        scores = {name: float(x.nanmean() if "pearson" in name else x.mean()) for name, x in items.items()}
        for kind in ("", "gray_"):
            scores[f"{kind}delta_colorfulness"] = abs(scores[f"{kind}colorfulness"] - scores["true_colorfulness"])
        undefined = items["pearson_a"].isnan() | items["pearson_b"].isnan()
        return scores | {"pearson_undefined": float(undefined.sum()), "pictures": float(len(undefined))}

    def per_item(self) -> dict[str, Tensor]:
        """Scores of each picture.

        They come in the order in which pictures were added, process after process; every process must call it. An
        infinite PSNR is `EXACT_PSNR`.

        Returns:
            float32 (N,) by name: `SCORES`, each also as ``gray_<name>``, and ``true_colorfulness``.
        """
        with self.sync_context(self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self._items()

    @property
    def protocol(self) -> dict[str, str]:
        """What has to be known to compare the scores with others': sizes of the pictures seen, and variants."""
        low, high = (" x ".join(map(str, size.tolist())) for size in (self.smallest, self.largest))
        return {
            "size": "none" if not int(self.largest.max()) else low if low == high else f"{low} to {high}",
            "pictures": "RGB of 8 bits, as given (no crop)",
            "psnr_ab": f"peak {PEAK_AB:g}",
            "ssim": "Gaussian 11 x 11, sigma 1.5, mean of R, G and B",
            "colorfulness": f"Hasler-Suesstrunk, {self.variant}",
        }

    def _items(self) -> dict[str, Tensor]:
        empty = isinstance(self.rows, list) and not self.rows
        rows = torch.zeros(0, len(_COLUMNS)) if empty else dim_zero_cat(self.rows)
        return dict(zip(_COLUMNS, rows.unbind(1), strict=True))


def _columns(rgb: Tensor, true: Tensor, true_lab: Tensor, variant: Literal["signed", "abs"]) -> list[Tensor]:
    """`SCORES` of 8-bit levels (B, 3, H, W), each (B,)."""
    lab, x, y = rgb_to_lab(rgb / 255), rgb / 255, true / 255
    ab, true_ab = lab[:, 1:], true_lab[:, 1:]
    return [
        psnr(x, y).clamp(max=EXACT_PSNR),
        psnr_ab(ab, true_ab).clamp(max=EXACT_PSNR),
        ssim(x, y),
        ab_mae(ab, true_ab),
        ciede2000(lab, true_lab).mean((1, 2)),
        auc_ab(ab, true_ab),
        *pearson_ab(ab, true_ab).unbind(1),
        colorfulness(rgb, variant),
    ]


def _decibels(pair: tuple[Tensor, Tensor], peak: float) -> Tensor:
    error = (pair[0] - pair[1]).square().mean((-3, -2, -1))
    return 10 * (peak**2 / error).log10()


def _levels(pred: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Both pictures as float levels 0..255 without fractions."""
    p, t = (v.float() if v.dtype == torch.uint8 else (v * 255).round().clamp(0, 255) for v in (pred, true))
    return _pair(p, t, 3)


def _pair(pred: Tensor, true: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    if pred.shape != true.shape or pred.ndim < 3 or pred.shape[-3] != channels or not true.numel():
        raise ValueError(f"both must be (..., {channels}, H, W), got {tuple(pred.shape)} and {tuple(true.shape)}")
    return pred, true
