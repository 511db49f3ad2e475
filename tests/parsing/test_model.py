"""The network of MM-CSE, part by part, against the formulas written out literally, and what its switches change."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mediakit.parsing import ParsingModel, mmcse_loss
from mediakit.parsing.model import CAFD, ClassLinear, SharedFeatures, mmil_pool

TINY = {"classes": 5, "audio_dim": 6, "frames_dim": 7, "clips_dim": 3, "hidden": 16, "heads": 2, "layers": 2}


def inputs(videos=2, segments=4, **dims):
    dims = TINY | dims
    draw = torch.Generator().manual_seed(1)
    return [
        torch.randn(videos, segments, dims[name], generator=draw) for name in ("audio_dim", "frames_dim", "clips_dim")
    ]


def build(**settings):
    torch.manual_seed(0)
    return ParsingModel(**TINY | settings)


def count(module):
    return sum(weight.numel() for weight in module.parameters())


def tensors(output):
    """All tensors of an output."""
    for value in output:
        if isinstance(value, torch.Tensor):
            yield value
        elif value is not None:
            yield from value


@pytest.mark.parametrize("shape", [(2, 3), (4,), (2, 3, 4)])
def test_class_linear_is_a_linear_for_each_class(shape):
    torch.manual_seed(0)
    for shared in (True, False):
        ours = ClassLinear(5, 3, 2, shared=shared)
        linears = [nn.Linear(3, 2) for _ in range(5)]
        with torch.no_grad():
            for c, linear in enumerate(linears):
                ours.weight[c], ours.bias[c] = linear.weight, linear.bias
        x = torch.randn(*shape, 3) if shared else torch.randn(*shape, 5, 3)
        expected = torch.stack([f(x if shared else x[..., c, :]) for c, f in enumerate(linears)], -2)
        torch.testing.assert_close(ours(x), expected)


def test_class_linear_begins_as_linear_does():
    torch.manual_seed(0)
    ours, linear = ClassLinear(30, 64, 32), nn.Linear(64, 32)
    for found, expected in ((ours.weight, linear.weight), (ours.bias, linear.bias)):
        assert found.abs().max().item() <= 1 / 8
        assert found.std().item() == pytest.approx(expected.std().item(), rel=0.15)
    assert not torch.equal(ours.weight[0], ours.weight[1])


@pytest.mark.parametrize("deep", [False, True])
def test_decoupling_is_the_formula(deep):
    torch.manual_seed(0)
    cafd = CAFD(3, 8, 4, deep, dropout=0.5).eval()
    holistic = torch.randn(2, 5, 8)
    found = cafd(holistic)

    parts = []
    for c in range(4):  # the background is the last
        part = F.relu(F.linear(F.relu(holistic), cafd.decouple.weight[c], cafd.decouple.bias[c]))
        if deep:
            part = F.relu(F.linear(part, cafd.refine.weight[c], cafd.refine.bias[c]))
        parts.append(part)
    torch.testing.assert_close(found.decoupled, torch.stack(parts, 2))

    alpha = torch.sigmoid(cafd.share[4](F.relu(cafd.share[1](F.relu(holistic)))))
    assert alpha.shape == (2, 5, 1)
    for c in range(3):
        mixed = torch.cat([alpha * parts[c], (1 - alpha) * parts[3]], dim=-1)
        torch.testing.assert_close(found.events[:, :, c], F.relu(cafd.fuse(mixed)))

    hidden = F.relu(F.linear(torch.cat(parts, -1), cafd.reconstruct[0].weight, cafd.reconstruct[0].bias))
    restored = F.relu(F.linear(hidden, cafd.reconstruct[2].weight, cafd.reconstruct[2].bias))
    torch.testing.assert_close(found.restored, restored)


def test_decoupling_drops_only_where_the_paper_does():
    torch.manual_seed(0)
    shallow, deep = (CAFD(3, 8, 4, deep, background=False, dropout=0.5) for deep in (False, True))
    holistic = torch.randn(2, 5, 8)
    assert torch.equal(shallow(holistic).events, shallow(holistic).events)
    assert not torch.equal(deep(holistic).events, deep(holistic).events)
    assert torch.equal(deep.eval()(holistic).events, deep(holistic).events)
    fusing = CAFD(3, 8, 4, False, dropout=0.5)
    assert not torch.equal(fusing(holistic).events, fusing(holistic).events)
    assert torch.equal(fusing(holistic).decoupled, fusing(holistic).decoupled)


def test_without_background_the_events_are_as_decoupled():
    cafd = CAFD(3, 8, 4, False, background=False)
    found = cafd(torch.randn(2, 5, 8), reconstruct=False)
    assert torch.equal(found.events, found.decoupled[:, :, :-1])
    assert found.restored is None
    assert count(CAFD(3, 8, 4, False)) - count(cafd) == (8 * 4 + 4) + (4 + 1) + (8 * 4 + 4)


def test_shared_features_differ_by_class_only():
    shared = SharedFeatures(3, 8, 4)
    found = shared(x := torch.randn(2, 5, 8))
    for c in range(3):
        torch.testing.assert_close(found[:, :, c], F.relu(shared.project(F.relu(x)) + shared.classes[c]))


def test_pooling_is_the_double_sum():
    torch.manual_seed(0)
    prob, over_time, over_modalities = torch.rand(2, 3, 2, 4), torch.randn(2, 3, 2, 4), torch.randn(2, 3, 2, 4)
    video, audio, visual = mmil_pool(prob, over_time, over_modalities)
    for b in range(2):
        for k in range(4):
            times = over_time[b, :, :, k].exp()
            times = times / times.sum(0)
            sums = [0.0, 0.0, 0.0]
            for t in range(3):
                modalities = over_modalities[b, t, :, k].exp()
                modalities = modalities / modalities.sum()
                for m in range(2):
                    sums[0] += float(times[t, m] * modalities[m] * prob[b, t, m, k])
                    sums[1 + m] += float(times[t, m] * prob[b, t, m, k])
            assert [video[b, k].item(), audio[b, k].item(), visual[b, k].item()] == pytest.approx(sums, abs=1e-6)


def test_video_probability_can_pass_one():
    """Sound is attended to in the first second and pictures in the second, each where its modality is preferred."""
    over_time = torch.tensor([[[9.0], [-9.0]], [[-9.0], [9.0]]]).view(1, 2, 2, 1)
    video, audio, visual = mmil_pool(torch.ones(1, 2, 2, 1), over_time, over_time)
    assert video.item() == pytest.approx(2, abs=1e-3)
    assert audio.item() == pytest.approx(1)
    assert visual.item() == pytest.approx(1)


@pytest.mark.parametrize(("classes", "segments"), [(1, 1), (1, 6), (3, 1), (31, 13)])
def test_any_number_of_classes_and_segments(classes, segments):
    model = build(classes=classes)
    output = model(*inputs(segments=segments))
    assert output.frame_logits.shape == (2, segments, 2, classes)
    for prob in (output.video_prob, output.audio_prob, output.visual_prob):
        assert prob.shape == (2, classes)
        assert ((prob >= 0) & (prob <= 2)).all()
    assert all(map.shape == (2, segments, classes, classes) for map in output.cooccurrence)
    assert [x.shape for x in output.holistic] == [(2, segments, 16)] * 2
    assert [x.shape for x in output.reconstructed] == [(2, segments, 16)] * 2
    assert [x.shape for x in output.decoupled] == [(2, segments, classes + 1, 8)] * 2
    truth = torch.rand(2, segments, classes).round()
    mmcse_loss(output, truth.amax(1), truth, truth)["total"].backward()
    unused = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert unused == {f"unused.{m}.{kind}" for m in (0, 1) for kind in ("weight", "bias")}


def test_videos_do_not_see_one_another_and_the_order_of_modalities():
    model = build().eval()
    audio, frames, clips = inputs(3)
    with torch.no_grad():
        whole = model(audio, frames, clips)
        for n in range(3):
            alone = model(audio[n : n + 1], frames[n : n + 1], clips[n : n + 1])
            for a, b in zip(tensors(alone), tensors(whole), strict=True):
                torch.testing.assert_close(a[0], b[n], rtol=1e-5, atol=1e-6)
        louder = model(audio + 1, frames, clips)
    assert not torch.equal(louder.holistic[0], whole.holistic[0])
    assert torch.equal(louder.holistic[1], whole.holistic[1])
    torch.testing.assert_close(whole.holistic[0], model.audio(audio))
    seen = F.linear(torch.cat([model.frames(frames), model.clips(clips)], -1), model.visual.weight, model.visual.bias)
    torch.testing.assert_close(whole.holistic[1], seen)


def test_heads_are_three_linears_for_each_class():
    model = build(layers=0).eval()
    output = model(*inputs())
    features = [cafd(x).events for cafd, x in zip(model.decoupling, output.holistic, strict=True)]
    x = torch.stack(features, dim=2)  # (B, T, 2, K, d)
    rows = [[F.linear(x[..., k, :], w[r], b[r]) for k, (w, b) in enumerate(zip(model.heads.weight, model.heads.bias,
             strict=True))] for r in range(3)]  # fmt: skip
    logits, over_time, over_modalities = (torch.stack(row, -1) for row in rows)
    torch.testing.assert_close(output.frame_logits, logits)
    pooled = mmil_pool(logits.sigmoid(), over_time, over_modalities)
    for found, expected in zip(output[1:4], pooled, strict=True):
        torch.testing.assert_close(found, expected)


def test_raw_features_equal_pooled_ones():
    """CLAP's map is pooled after the projection here, as the authors do, and eight frames a second likewise."""
    torch.manual_seed(0)
    model = ParsingModel(4, 768, 32, 8, hidden=16, heads=2, layers=1).eval()
    map, frames, clips = torch.randn(2, 64, 768), torch.randn(2, 80, 32), torch.randn(2, 10, 8)
    with torch.no_grad():
        raw = model(map, frames, clips)
        grid = map.transpose(1, 2).reshape(2, 768, 2, 32)
        grid = F.interpolate(grid, size=(2, 1024), mode="bicubic", align_corners=False)
        heard = F.adaptive_avg_pool1d(model.audio(grid.permute(0, 2, 3, 1)).mean(1).transpose(1, 2), 10).transpose(1, 2)
        torch.testing.assert_close(raw.holistic[0], heard, rtol=1e-4, atol=1e-5)
        grid = F.adaptive_avg_pool1d(grid.mean(2), 10).transpose(1, 2)
        pooled = model(grid, frames.view(2, 10, 8, 32).mean(2), clips)
    for a, b in zip(tensors(raw), tensors(pooled), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("audio", "frames", "message"),
    [(5, 4, "5 rows of audio and 4 of frames do not fit 4"), (4, 6, "4 rows of audio and 6 of frames do not fit 4")],
)
def test_features_that_do_not_fit_together(audio, frames, message):
    with pytest.raises(ValueError, match=message):
        build()(torch.zeros(2, audio, 6), torch.zeros(2, frames, 7), torch.zeros(2, 4, 3))


def test_evaluation_is_still_and_training_is_not():
    model = build(dropout=0.5)
    assert not torch.equal(model(*inputs()).frame_logits, model(*inputs()).frame_logits)
    still = model.eval()(*inputs())
    assert all(torch.equal(a, b) for a, b in zip(tensors(still), tensors(model(*inputs())), strict=True))
    without = build(dropout=0.0)
    without.load_state_dict(model.state_dict())
    torch.testing.assert_close(without(*inputs()).frame_logits, still.frame_logits)


def test_without_reconstruction_the_rest_is_equal():
    model = build().eval()
    whole, part = model(*inputs()), model(*inputs(), reconstruct=False)
    assert part.reconstructed is None
    assert all(
        torch.equal(a, b) for a, b in zip(tensors(part), tensors(whole._replace(reconstructed=None)), strict=True)
    )


CLASSES, HIDDEN, DIM, LAYERS = TINY["classes"], TINY["hidden"], TINY["hidden"] // 2, TINY["layers"]
CAFDS = 2 * ((CLASSES + 1) * (HIDDEN * DIM + DIM + DIM * HIDDEN) + HIDDEN + HIDDEN * HIDDEN + HIDDEN) + (
    CLASSES + 1
) * (DIM * DIM + DIM)
FUSION = 2 * ((HIDDEN * DIM + DIM) + (DIM + 1) + (2 * DIM * DIM + DIM))
SHARED = 2 * (HIDDEN * DIM + DIM + CLASSES * DIM)
SECM = LAYERS * 2 * 4 * (DIM * DIM + DIM)
LGSF = LAYERS * 3 * (DIM * DIM + DIM)
REST = LAYERS * (2 * (DIM * DIM + DIM) + 2 * DIM + 8 * DIM * DIM + 5 * DIM)


@pytest.mark.parametrize(
    ("switches", "fewer", "lacks"),
    [
        ({"decoupling": False}, CAFDS + FUSION - SHARED, {"decoupled", "reconstructed"}),
        ({"background": False}, FUSION, set()),
        ({"secm": False}, SECM, {"cooccurrence"}),
        ({"lgsf": False}, LGSF, set()),
        ({"secm": False, "lgsf": False}, SECM + LGSF, {"cooccurrence"}),
        ({"layers": 0}, SECM + LGSF + REST, {"cooccurrence"}),
        ({"decoupling": False, "layers": 0}, CAFDS + FUSION - SHARED + SECM + LGSF + REST,
         {"decoupled", "reconstructed", "cooccurrence"}),
        ({"same_start": False}, 0, set()),
    ],
)  # fmt: skip
def test_ablations(switches, fewer, lacks):
    full, ablated = build(), build(**switches)
    assert count(full) - count(ablated) == fewer
    output = ablated(*inputs())
    assert {name for name, value in output._asdict().items() if value is None} == lacks
    assert output.frame_logits.shape == (2, 4, 2, 5)
    truth = torch.rand(2, 4, 5).round()
    losses = mmcse_loss(output, truth.amax(1), truth, truth)
    losses["total"].backward()
    assert all(w.grad is not None for name, w in ablated.named_parameters() if not name.startswith("unused"))
    off = {"decoupled": "orthogonality", "reconstructed": "reconstruction", "cooccurrence": "cooccurrence"}
    for field, part in off.items():
        assert (losses[part].item() == 0) == (field in lacks)


def test_bf16():
    model = build(hidden=32, layers=3).eval()
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(*inputs())
    exact = model(*inputs())
    for name in ("frame_logits", "video_prob", "audio_prob", "visual_prob"):
        found, expected = getattr(rough, name), getattr(exact, name)
        assert found.dtype == torch.float32
        assert (found - expected).norm() < 0.02 * expected.norm(), name
    truth = torch.rand(2, 4, 5).round()
    rough, exact = (mmcse_loss(output, truth.amax(1), truth, truth) for output in (rough, exact))
    for name, loss in exact.items():
        assert rough[name].item() == pytest.approx(loss.item(), rel=0.02), name
