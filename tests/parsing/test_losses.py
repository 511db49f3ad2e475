"""Losses against numbers worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from mediakit.parsing import ParsingOutput, han_loss, mmcse_loss
from mediakit.parsing.losses import cooccurrence_loss, orthogonality_loss, video_loss

LOG = math.log


def output(**given):
    """One video of one second and two classes."""
    made = {
        "frame_logits": torch.tensor([[[[LOG(3), 0.0], [-LOG(3), LOG(3)]]]]),  # .75 .5, .25 .75
        "video_prob": torch.tensor([[0.8, 0.4]]),
        "audio_prob": torch.tensor([[0.5, 0.25]]),
        "visual_prob": torch.tensor([[0.75, 0.5]]),
    }
    return ParsingOutput(**made | given)


LABELS = torch.tensor([[1.0, 0.0]])
AUDIO, VISUAL = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])


def test_video_and_segments():
    losses = {name: loss.item() for name, loss in mmcse_loss(output(), LABELS, AUDIO, VISUAL).items()}
    assert losses == pytest.approx(
        {
            "video": -(LOG(0.8) + LOG(0.6)) / 2,
            "audio_segments": -(LOG(0.75) + LOG(0.5)) / 2,
            "visual_segments": -(LOG(0.75) + LOG(0.75)) / 2,
            "reconstruction": 0,
            "orthogonality": 0,
            "cooccurrence": 0,
            "total": -(LOG(0.8) + LOG(0.6) + LOG(0.75) + LOG(0.5) + LOG(0.75) + LOG(0.75)) / 2,
        }
    )


def test_soft_labels():
    soft = torch.tensor([[[0.5, 0.25]]])
    loss = mmcse_loss(output(), LABELS, soft, VISUAL)["audio_segments"].item()
    first = -(0.5 * LOG(0.75) + 0.5 * LOG(0.25))
    assert loss == pytest.approx((first - LOG(0.5)) / 2)


def test_probabilities_at_and_beyond_the_ends():
    prob = torch.tensor([[1.3, 0.0, 1.0]], requires_grad=True)
    loss = video_loss(prob, torch.tensor([[1.0, 1.0, 0.0]]))
    assert loss.item() == pytest.approx((1e-7 - 2 * LOG(1e-7)) / 3, rel=0.02)  # float32 has 1 - 1.2e-7 next to 1
    loss.backward()
    assert prob.grad.isfinite().all()
    assert prob.grad[0, 0] == 0  # clamped
    with torch.autocast("cpu", torch.bfloat16):  # where torch refuses it
        assert video_loss(prob.bfloat16(), torch.tensor([[1.0, 1.0, 0.0]])).dtype == torch.float32


def test_reconstruction():
    zeros, ones = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    found = output(holistic=(zeros, 2 * ones), reconstructed=(3 * ones, 4 * ones))
    losses = mmcse_loss(found, LABELS, AUDIO, VISUAL)
    assert losses["reconstruction"].item() == pytest.approx(9 + 4)
    without = mmcse_loss(output(), LABELS, AUDIO, VISUAL)["total"]
    assert (losses["total"] - without).item() == pytest.approx(0.5 * 13)


def test_the_target_of_the_reconstruction_learns_too():
    holistic, again = (torch.zeros(1, 1, 4, requires_grad=True) for _ in range(2))
    pair = (again + 1, again + 2)
    mmcse_loss(output(holistic=(holistic, holistic), reconstructed=pair), LABELS, AUDIO, VISUAL)["total"].backward()
    assert holistic.grad.tolist() == (-again.grad).tolist()
    assert again.grad.tolist() == [[[0.75] * 4]]  # 0.5 * (2 * 1 + 2 * 2) / 4


def test_orthogonality():
    # Two classes and, last, the background. Audio: cosines 1 and -0.6; visual: the mean class (1, 2) with (0, 3).
    audio = torch.tensor([[[[2.0, 0.0], [-3.0, 4.0], [5.0, 0.0]]]])
    visual = torch.tensor([[[[1.0, 4.0], [1.0, 0.0], [0.0, 3.0]]]])
    assert orthogonality_loss((audio, visual)).item() == pytest.approx((1 - 0.6) / 2 + 2 / math.sqrt(5))
    losses = mmcse_loss(output(decoupled=(audio, visual)), LABELS, AUDIO, VISUAL)
    assert losses["orthogonality"].item() == pytest.approx(0.2 + 2 / math.sqrt(5))
    assert orthogonality_loss((audio * 0, visual * 0)).item() == 0


def test_cooccurrence_targets_are_outer_products():
    audio, visual = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[0.0, 1.0, 0.0]]])
    targets = {
        "aa": [[1, 1, 0], [1, 1, 0], [0, 0, 0]],
        "av": [[0, 1, 0], [0, 1, 0], [0, 0, 0]],
        "vv": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        "va": [[0, 0, 0], [1, 1, 0], [0, 0, 0]],
    }
    maps = [torch.tensor([[rows]], dtype=torch.float32) for rows in targets.values()]
    assert cooccurrence_loss(maps, audio, visual).item() == 0
    for n in range(4):
        one_off = [m + (i == n) * torch.eye(3) for i, m in enumerate(maps)]
        assert cooccurrence_loss(one_off, audio, visual).item() == pytest.approx(3 / 9)
    even = [torch.full((1, 1, 3, 3), 1 / 3)] * 4
    hits = torch.tensor([4, 2, 1, 2])  # ones of each target
    expected = ((4 * hits + (9 - hits)) / 9 / 9).sum().item()
    losses = mmcse_loss(output(frame_logits=torch.zeros(1, 1, 2, 3), video_prob=torch.zeros(1, 3), cooccurrence=even),
                        torch.zeros(1, 3), audio, visual)  # fmt: skip
    assert losses["cooccurrence"].item() == pytest.approx(expected)


def test_weights_of_the_total():
    found = output(
        holistic=(torch.zeros(1, 1, 2),) * 2,
        reconstructed=(torch.ones(1, 1, 2),) * 2,
        decoupled=(torch.ones(1, 1, 3, 2),) * 2,
        cooccurrence=(torch.full((1, 1, 2, 2), 0.5),) * 4,
    )
    parts = {name: loss.item() for name, loss in mmcse_loss(found, LABELS, AUDIO, VISUAL).items()}
    segments = parts["audio_segments"] + parts["visual_segments"]
    assert parts["reconstruction"] == pytest.approx(2)
    assert parts["orthogonality"] == pytest.approx(2)
    assert parts["cooccurrence"] == pytest.approx(1)
    assert parts["total"] == pytest.approx(parts["video"] + segments + 1.0 + 0.2 + 0.1)
    weights = {"segment_weight": 3.0, "reconstruction_weight": 5.0, "orthogonality_weight": 7.0}
    other = mmcse_loss(found, LABELS, AUDIO, VISUAL, **weights, cooccurrence_weight=11.0)
    assert other["total"].item() == pytest.approx(parts["video"] + 3 * segments + 10 + 14 + 11)
    assert all(other[name].item() == value for name, value in parts.items() if name != "total")
    off = dict.fromkeys((*weights, "cooccurrence_weight"), 0.0)
    assert mmcse_loss(found, LABELS, AUDIO, VISUAL, **off)["total"].item() == pytest.approx(parts["video"])


def test_means_are_over_videos_seconds_and_classes():
    torch.manual_seed(0)
    logits, audio, visual = torch.randn(3, 4, 2, 5), torch.rand(3, 4, 5).round(), torch.rand(3, 4, 5).round()
    prob, labels = torch.rand(3, 5), torch.rand(3, 5).round()
    found = ParsingOutput(logits, prob, prob, prob, tuple(torch.rand(3, 4, 5, 5) for _ in range(4)))
    losses = mmcse_loss(found, labels, audio, visual)
    alone = [
        mmcse_loss(
            ParsingOutput(logits[n : n + 1], *[prob[n : n + 1]] * 3, tuple(m[n : n + 1] for m in found.cooccurrence)),
            labels[n : n + 1], audio[n : n + 1], visual[n : n + 1],
        )
        for n in range(3)
    ]  # fmt: skip
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(sum(part[name].item() for part in alone) / 3, rel=1e-5), name
    segment = F.binary_cross_entropy(logits[1, 2, 0].sigmoid(), audio[1, 2])
    one = ParsingOutput(logits[1:2, 2:3], *[prob[1:2]] * 3)
    assert mmcse_loss(one, labels[1:2], audio[1:2, 2:3], visual[1:2, 2:3])["audio_segments"].item() == pytest.approx(
        segment.item(), rel=1e-5
    )


def test_han():
    losses = {name: loss.item() for name, loss in han_loss(output(), LABELS).items()}
    visual = -(0.95 * LOG(0.75) + 0.05 * LOG(0.25) + 0.05 * LOG(0.5) + 0.95 * LOG(0.5)) / 2
    expected = {
        "video": -(LOG(0.8) + LOG(0.6)) / 2,
        "audio": -(LOG(0.5) + LOG(0.75)) / 2,
        "visual": visual,
    }
    assert losses == pytest.approx(expected | {"total": sum(expected.values())})
    smooth = han_loss(output(), LABELS, audio_smoothing=1.0, visual_smoothing=0.0)
    assert smooth["audio"].item() == pytest.approx(-(LOG(0.5) + LOG(0.5) + LOG(0.25) + LOG(0.75)) / 4)
    assert smooth["visual"].item() == pytest.approx(-(LOG(0.75) + LOG(0.5)) / 2)
    assert smooth["video"].item() == pytest.approx(expected["video"])
