"""FGSE: the fused layer, whose derivative is written by hand, against the one that reads like the paper."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mediakit.parsing.fgse import FGSE, ClassAttention, FGSELayer, local_global
from mediakit.parsing.fgse_fused import _keep

# videos, segments, classes, channels, heads, layers
SIZES = {
    "usual proportions": (3, 4, 5, 16, 4, 2),
    "one of everything": (1, 1, 1, 4, 2, 1),
    "one class": (2, 3, 1, 8, 2, 2),
    "one segment": (3, 1, 7, 12, 3, 1),
    "one head": (2, 2, 3, 6, 1, 3),
    "as many heads as channels": (2, 3, 4, 5, 5, 1),
}


def stack(sizes, dropout=0.0, dtype=torch.float64, **switches):
    """Layers without a weight that is 0 or 1 by birth, and an input."""
    videos, segments, classes, dim, heads, layers = sizes
    draw = torch.Generator().manual_seed(0)
    fgse = FGSE(layers, dim, heads, 2 * dim, dropout, **switches).to(dtype)
    with torch.no_grad():
        for weight in fgse.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=draw, dtype=dtype)
    x = torch.randn(2, videos, segments, classes, dim, generator=draw, dtype=dtype)
    return fgse, x.requires_grad_()


def answer(fgse, x, fused, *cotangents):
    """Outputs, and the gradients of their sum weighted by cotangents (None where an output is not used)."""
    fgse.fused = fused
    result, maps = fgse(x)
    outputs = [result, *maps]
    pairs = [(y, c) for y, c in zip(outputs, cotangents, strict=False) if c is not None]
    wanted = [x, *fgse.parameters()]
    gradients = torch.autograd.grad(sum((y * c).sum() for y, c in pairs), wanted, allow_unused=True)
    return outputs, [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, gradients, strict=True)]


@pytest.mark.parametrize("used", ["all", "features", "maps", "two maps"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_fused_equals_plain(sizes, used):
    fgse, x = stack(sizes)
    draw = torch.Generator().manual_seed(1)
    maps = (*x.shape[1:4], x.shape[3])
    cotangents = [torch.randn(shape, generator=draw, dtype=x.dtype) for shape in (x.shape, maps, maps, maps, maps)]
    unused = {"all": (), "features": (1, 2, 3, 4), "maps": (0,), "two maps": (0, 1, 3)}[used]
    cotangents = [None if n in unused else c for n, c in enumerate(cotangents)]
    expected, expected_gradients = answer(fgse, x, False, *cotangents)
    found, gradients = answer(fgse, x, True, *cotangents)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    for a, b in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    assert any(g.any() for g in gradients) == (used in ("all", "features") or (sizes[2] > 1))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_derivative_by_finite_differences(dropout):
    fgse, x = stack((3, 2, 3, 8, 2, 2), dropout)
    draw = torch.Generator().manual_seed(2)
    weights = [x, *fgse.parameters()]
    directions = [torch.randn(w.shape, generator=draw, dtype=w.dtype) for w in weights]
    cotangents = [torch.randn(y.shape, generator=draw, dtype=x.dtype) for y in (x, *fgse(x)[1])]

    def value():
        torch.manual_seed(3)  # the same values are dropped each time
        result, maps = fgse(x)
        return sum((y * c).sum() for y, c in zip((result, *maps), cotangents, strict=True))

    gradients = torch.autograd.grad(value(), weights)
    with torch.no_grad():
        for weight, direction, gradient in zip(weights, directions, gradients, strict=True):
            start, values = weight.clone(), []
            for step in (1e-6, -1e-6):
                weight.copy_(start + step * direction)
                values.append(float(value()))
            weight.copy_(start)
            expected = (values[0] - values[1]) / 2e-6
            assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_what_was_kept_is_given_free():
    fgse, x = stack((2, 3, 4, 8, 2, 2))
    loss = fgse(x)[0].sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="a second backward pass needs a forward pass"):
        loss.backward()


@pytest.mark.parametrize("chunk", [1, 7, 30, 44, 45, 1000])
def test_chunks_of_any_size(chunk):
    fgse, x = stack((7, 3, 5, 8, 2, 2))  # 30 rows a video
    cotangents = [torch.ones_like(x), *(torch.linspace(0, 1, 5, dtype=x.dtype) for _ in range(4))]
    expected, expected_gradients = answer(fgse, x, False, *cotangents)
    fgse.chunk = chunk
    found, gradients = answer(fgse, x, True, *cotangents)
    for a, b in zip([*found, *gradients], [*expected, *expected_gradients], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_only_what_wants_a_gradient_gets_one():
    fgse, x = stack((2, 3, 4, 8, 2, 2))
    weights = dict(fgse.named_parameters())
    fgse(x)[0].square().sum().backward()
    everything = {name: weight.grad.clone() for name, weight in weights.items()} | {"x": x.grad.clone()}
    for free in ("x", "layers.1.expand.weight", "layers.0.cross_shared.bias"):
        fgse.zero_grad()
        fgse.requires_grad_(False)
        inputs = x.detach().requires_grad_(free == "x")
        wanted = inputs if free == "x" else weights[free].requires_grad_()
        fgse(inputs)[0].square().sum().backward()
        torch.testing.assert_close(wanted.grad, everything[free])
        assert all(weight.grad is None for name, weight in weights.items() if name != free)


def test_without_gradients_nothing_is_kept():
    fgse, x = stack((2, 3, 4, 8, 2, 2))
    with_gradient, maps = fgse(x)
    with torch.inference_mode():
        without, again = fgse(x)
    assert with_gradient.grad_fn is not None
    assert without.grad_fn is None
    for a, b in zip((without, *again), (with_gradient, *maps), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("fused", [True, False])
def test_modalities_classes_segments_and_videos(fused):
    """The same weights serve all, so what is exchanged in the input is exchanged in the result."""
    fgse, x = stack((3, 4, 5, 8, 2, 2))
    fgse.fused = fused
    x = x.detach()
    result, maps = fgse(x)
    swapped, others = fgse(x.flip(0))
    torch.testing.assert_close(swapped, result.flip(0))
    for a, b in zip(others, (maps.vv, maps.va, maps.aa, maps.av), strict=True):
        torch.testing.assert_close(a, b)
    order = torch.tensor([3, 1, 4, 0, 2])
    permuted, others = fgse(x[..., order, :])
    torch.testing.assert_close(permuted, result[..., order, :])
    torch.testing.assert_close(others.av, maps.av[..., order, :][..., order])
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(fgse(x[:, :, order])[0], result[:, :, order])
    other = x.clone()
    other[:, 1] += 1
    changed = (fgse(other)[0] - result).abs().amax((0, 2, 3, 4)) > 1e-9
    assert changed.tolist() == [False, True, False]
    other = x.clone()
    other[1, :, 0, 0] += 1  # one class, seen in one second: by attention and by time it gets everywhere
    assert ((fgse(other)[0] - result).abs().amax(-1) > 0).all()


def test_bf16_is_as_close_as_autocast_of_the_plain_layers():
    fgse, x = stack((4, 5, 6, 32, 4, 4), dtype=torch.float32)
    cotangents = [torch.ones(1)] * 5
    exact, exact_gradients = answer(fgse, x, False, *cotangents)
    with torch.autocast("cpu", torch.bfloat16):
        plain, plain_gradients = answer(fgse, x, False, *cotangents)
        found, gradients = answer(fgse, x, True, *cotangents)
    assert found[0].dtype == torch.bfloat16
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    for map in found[1:]:
        assert map.dtype == torch.float32
        torch.testing.assert_close(map.sum(-1), torch.ones(map.shape[:-1]), atol=1e-5, rtol=0)

    def error(tensors, expected):
        differences = [(a.float() - b).detach().norm() for a, b in zip(tensors, expected, strict=True)]
        return float(torch.stack(differences).norm() / torch.stack([b.detach().norm() for b in expected]).norm())

    assert error(found, exact) < 0.02
    assert error(found, exact) < 1.2 * error(plain, exact)
    assert error(gradients, exact_gradients) < 1.2 * error(plain_gradients, exact_gradients)


@pytest.mark.parametrize("fused", [True, False])
def test_rows_of_maps_sum_to_one(fused):
    fgse, x = stack((2, 3, 7, 8, 2, 2), dropout=0.3)
    fgse.fused = fused
    _, maps = fgse.eval()(x)
    for found in maps:
        assert found.shape == (2, 3, 7, 7)
        assert (found > 0).all()
        torch.testing.assert_close(found.sum(-1), torch.ones(2, 3, 7, dtype=x.dtype))


@pytest.mark.parametrize("fused", [True, False])
def test_dropout_of_maps(fused):
    """With one head a map shows each weight: dropped, or as without dropout over the share that is kept."""
    fgse, x = stack((60, 4, 6, 8, 1, 1), dropout=0.3)
    fgse.fused = fused
    _, whole = fgse.eval()(x.detach())
    torch.manual_seed(0)
    _, maps = fgse.train()(x.detach())
    for dropped, full in zip(maps, whole, strict=True):
        kept = dropped > 0
        assert abs(float(kept.double().mean()) - 0.7) < 5 * math.sqrt(0.21 / kept.numel())
        torch.testing.assert_close(dropped[kept], full[kept] / 0.7)
    assert not torch.equal(maps.aa > 0, maps.vv > 0)
    assert not torch.equal(maps.aa > 0, maps.av > 0)


def test_dropout_is_off_in_evaluation_and_at_rate_0():
    fgse, x = stack((2, 3, 4, 8, 2, 2), dropout=0.5)
    assert not torch.equal(fgse(x)[0], fgse(x)[0])
    still = fgse.eval()(x)[0]
    assert torch.equal(still, fgse(x)[0])
    for layer in fgse.train().layers:
        layer.dropout = 0.0
    torch.testing.assert_close(fgse(x)[0], still)


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.01])
def test_share_that_is_kept(keep):
    shape = torch.Size((1001, 999))  # no multiple of the four values that one random number makes
    kept = _keep(shape, keep, torch.Generator().manual_seed(0))
    assert kept.shape == shape
    deviation = math.sqrt(keep * (1 - keep) / kept.numel())
    assert abs(float(kept.double().mean()) - keep) < 5 * deviation + 1 / 65536
    flat = kept.flatten().double() - keep
    for step in (1, 2, 3, 4, 999):  # neighbours know nothing of one another
        together = float((flat[step:] * flat[:-step]).mean()) / (keep * (1 - keep))
        assert abs(together) < 5 / math.sqrt(kept.numel())
    assert torch.equal(kept, _keep(shape, keep, torch.Generator().manual_seed(0)))
    assert not torch.equal(kept, _keep(shape, keep, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("chunk", [30, 4096])
def test_the_seed_fixes_dropout_and_videos_differ_in_it(chunk):
    fgse, x = stack((1, 3, 5, 8, 2, 2), dropout=0.3)
    fgse.chunk = chunk
    copies = x.detach().expand(-1, 7, -1, -1, -1)
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append(fgse(copies)[0])
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert all(not torch.equal(runs[0][:, 0], runs[0][:, n]) for n in range(1, 7))


def test_dead_units_give_no_nan():
    """A class whose ReLUs are all off has cosine 0, as F.cosine_similarity says, and a gradient."""
    fgse, x = stack((2, 3, 4, 8, 2, 1))
    with torch.no_grad():
        for linear in (fgse.layers[0].intra_local, fgse.layers[0].intra_global, fgse.layers[0].cross_shared):
            linear.bias -= 100
    expected, expected_gradients = answer(fgse, x, False, torch.ones_like(x))
    found, gradients = answer(fgse, x, True, torch.ones_like(x))
    for a, b in zip([*found, *gradients], [*expected, *expected_gradients], strict=True):
        assert a.isfinite().all()
        torch.testing.assert_close(a, b)


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours = ClassAttention(12, 3, dropout=0.0).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    with torch.no_grad():
        ours.project.bias.normal_()
        ours.out.bias.normal_()
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.project.weight,
            "in_proj_bias": ours.project.bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    query, other = torch.randn(2, 5, 7, 12, dtype=torch.float64)
    for found, expected in zip(ours(query, other), theirs(query, other, other), strict=True):
        torch.testing.assert_close(found, expected)


def test_attention_begins_as_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = ClassAttention(64, 4), nn.MultiheadAttention(64, 4)
    for a, b in ((ours.project.weight, theirs.in_proj_weight), (ours.out.weight, theirs.out_proj.weight)):
        assert a.std().item() == pytest.approx(b.std().item(), rel=0.05)
        assert a.abs().max().item() == pytest.approx(b.abs().max().item(), rel=0.01)
    assert not ours.project.bias.any()
    assert not ours.out.bias.any()


def test_local_global_by_hand():
    local = torch.tensor([[3.0, 4.0], [-4.0, 3.0], [-3.0, -4.0]])[:, None]  # (T, K, d)
    glob = torch.tensor([[6.0, 9.0], [2.0, 3.0], [1.0, 0.0]])[:, None]  # mean (3, 4)
    gates = 1 / (1 + torch.exp(-torch.tensor([1.0, 0.0, -1.0])))
    torch.testing.assert_close(local_global(local, glob)[:, 0], gates[:, None] * torch.tensor([3.0, 4.0]))


def test_parts_that_are_off():
    sizes = (2, 3, 4, 8, 2, 2)
    dim, layers = 8, 2
    full = sum(w.numel() for w in stack(sizes)[0].parameters())
    attention, gates = 2 * (4 * dim * dim + 4 * dim), 3 * (dim * dim + dim)
    for switches, fewer in (
        ({"secm": False}, attention),
        ({"lgsf": False}, gates),
        ({"secm": False, "lgsf": False}, attention + gates),
    ):
        fgse, x = stack(sizes, **switches)
        assert sum(w.numel() for w in fgse.parameters()) == full - layers * fewer
        result, maps = fgse(x)
        assert (maps is None) == (not switches.get("secm", True))
        result.square().sum().backward()
        assert all(w.grad is not None and w.grad.any() for w in fgse.parameters())


def test_without_both_parts_it_is_an_mlp():
    fgse, x = stack((2, 3, 4, 8, 2, 1), secm=False, lgsf=False)
    (layer,) = fgse.layers
    y = F.layer_norm(2 * x @ (layer.intra_out.weight + layer.cross_out.weight).T + layer.intra_out.bias
                     + layer.cross_out.bias, (8,), layer.norm.weight, layer.norm.bias)  # fmt: skip
    torch.testing.assert_close(fgse(x)[0], layer.contract(F.relu(layer.expand(y))))


def test_no_layers_change_nothing():
    fgse, x = FGSE(0, 8, 2), torch.randn(2, 1, 3, 4, 8)
    result, maps = fgse(x)
    assert result is x
    assert maps is None


def test_start_of_layers():
    first, *others = FGSE(3, 8, 2).layers
    assert all(torch.equal(first.expand.weight, other.expand.weight) for other in others)
    first, second = FGSE(2, 8, 2, same_start=False).layers
    assert not torch.equal(first.expand.weight, second.expand.weight)
    assert len({id(w) for w in FGSE(3, 8, 2).parameters()}) == 3 * len([*FGSELayer(8, 2).parameters()])


def test_what_is_exported_is_the_plain_road():
    fgse, x = stack((2, 3, 4, 8, 2, 2))
    expected, maps = fgse.eval()(x)
    program = torch.export.export(fgse, (x.detach(),))
    assert "aten.linear.default" in str(program.graph)
    found, again = program.module()(x.detach())
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(again.va, maps.va)


def test_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="heads must divide the 10 channels of a class, got 4"):
        FGSE(1, 10, 4)
