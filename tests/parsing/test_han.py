"""HAN against its layer written out with attention by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from mediakit.parsing import HAN, han_loss

TINY = {"classes": 5, "audio_dim": 6, "frames_dim": 7, "clips_dim": 3, "hidden": 8}


def inputs(videos=2, segments=4):
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(videos, segments, dim, generator=draw) for dim in (6, 7, 3)]


def build(**settings):
    torch.manual_seed(0)
    model = HAN(**TINY | settings)
    with torch.no_grad():
        for weight in model.parameters():  # no weight is 0 or 1 by birth
            weight += 0.1 * torch.randn(weight.shape)
    return model


def attend(attention, query, other, heads):
    """Multi-head attention over time, head after head."""
    dim = query.shape[-1]
    q, k, v = (
        F.linear(x, attention.in_proj_weight[rows], attention.in_proj_bias[rows])
        for x, rows in ((query, slice(dim)), (other, slice(dim, 2 * dim)), (other, slice(2 * dim, None)))
    )
    outputs = []
    for h in range(heads):
        part = slice(h * dim // heads, (h + 1) * dim // heads)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(dim // heads)
        outputs.append(torch.softmax(scores, -1) @ v[..., part])
    return F.linear(torch.cat(outputs, -1), attention.out_proj.weight, attention.out_proj.bias)


def enhance(layer, x, other, heads):
    x = layer.norms[0](x + attend(layer.across, x, other, heads) + attend(layer.within, x, x, heads))
    return layer.norms[1](x + layer.contract(F.relu(layer.expand(x))))


@pytest.mark.parametrize(("heads", "layers"), [(1, 1), (2, 1), (4, 2)])
def test_it_is_the_paper(heads, layers):
    model = build(heads=heads, layers=layers).eval()
    audio, frames, clips = inputs()
    heard = model.audio(audio)
    seen = model.visual(torch.cat([model.frames(frames), model.clips(clips)], -1))
    for layer in model.layers:  # both read what went into the layer
        heard, seen = enhance(layer, heard, seen, heads), enhance(layer, seen, heard, heads)
    logits, over_time, over_modalities = (
        F.linear(torch.stack([heard, seen], 2), w, b)
        for w, b in zip(model.heads.weight.chunk(3), model.heads.bias.chunk(3), strict=True)
    )
    weighted = logits.sigmoid() * over_time.softmax(1)
    output = model(audio, frames, clips)
    torch.testing.assert_close(output.frame_logits, logits)
    torch.testing.assert_close(output.video_prob, (weighted * over_modalities.softmax(2)).sum((1, 2)))
    torch.testing.assert_close(output.audio_prob, weighted[:, :, 0].sum(1))
    torch.testing.assert_close(output.visual_prob, weighted[:, :, 1].sum(1))
    assert output[4:] == (None, None, None, None)


def test_both_modalities_share_the_layers():
    model = build(layers=3)
    layer = 2 * (4 * 8 * 8 + 4 * 8) + 2 * (8 * 8 + 8) + 2 * 2 * 8
    rest = (6 * 8 + 8) + (7 * 8 + 8) + (3 * 8 + 8) + (16 * 8 + 8) + (8 * 15 + 15)
    assert sum(w.numel() for w in model.parameters()) == 3 * layer + rest


def test_parameters_of_the_original():
    """At the original's sizes: 128-d VGGish, 2048-d ResNet-152, 512-d R(2+1)D, 25 classes."""
    attention = 2 * (4 * 512 * 512 + 4 * 512) + 2 * (512 * 512 + 512) + 4 * 512
    inputs = (128 + 2048 + 512 + 1024) * 512 + 4 * 512
    assert sum(w.numel() for w in HAN().parameters()) == attention + inputs + 3 * (512 * 25 + 25)


@pytest.mark.parametrize(("classes", "segments"), [(1, 1), (3, 1), (1, 6), (31, 13)])
def test_any_number_of_classes_and_segments(classes, segments):
    model = build(classes=classes)
    output = model(*inputs(segments=segments))
    assert output.frame_logits.shape == (2, segments, 2, classes)
    han_loss(output, torch.ones(2, classes))["total"].backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_dropout_is_off_in_evaluation():
    model = build(dropout=0.5)
    assert not torch.equal(model(*inputs()).frame_logits, model(*inputs()).frame_logits)
    model.eval()
    assert torch.equal(model(*inputs()).frame_logits, model(*inputs()).frame_logits)


def test_raw_features_equal_pooled_ones():
    torch.manual_seed(0)
    model = HAN(4, 768, 16, 8, hidden=8).eval()
    map, frames, clips = torch.randn(2, 64, 768), torch.randn(2, 80, 16), torch.randn(2, 10, 8)
    grid = F.interpolate(map.transpose(1, 2).reshape(2, 768, 2, 32), size=(2, 1024), mode="bicubic")
    pooled = F.adaptive_avg_pool1d(grid.mean(2), 10).transpose(1, 2)
    expected = model(pooled, frames.view(2, 10, 8, 16).mean(2), clips)
    for a, b in zip(model(map, frames, clips)[:4], expected[:4], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
