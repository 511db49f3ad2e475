"""A layer of FGSE for speed: the numbers of `.FGSELayer` from fewer products, with its derivative written by hand.

On a CPU a training step is bound by memory traffic and by what autograd keeps. Here

- everything that is linear in the layer's input is folded: with ``fc1(q + r g) = fc1 q + r (fc1 g)`` both output
  projections of the input are one, and those of the global semantics run over classes instead of classes and seconds;
  the cross-modal gate reads ``L (q + W c) = L q + (L W) c``, where ``L q`` is also what the other modality needs;
- dropout draws sixteen random bits a value, and its scale is folded into the next weights;
- ReLU and dropout share one mask, the zeros of their result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mediakit.parsing.threads import each_part

_EPS = 1e-8  # of F.cosine_similarity
_SETTINGS = 3  # fields of `Folded` that are no tensors


class Folded(NamedTuple):
    """Weights of a layer as `.fused_stack` takes them; each is ``(out, in)`` and multiplies from the left.

    Attributes:
        heads: Number of attention heads.
        norm_eps: Of the layer norm.
        keep: Share of values that dropout keeps; 1 where there is no dropout.
        attend: Queries, keys and values of both attentions, intra first, queries scaled; ``(6 d, d)``.
        attend_bias: ``(6 d,)``.
        intra_context: Output projection of the intra attention, over ``keep``.
        local: Intra gate.
        local_bias: With the bias of the intra attention's output in it.
        glob: Intra global semantics.
        glob_bias: Likewise.
        shared: L, the cross-modal gate's projection.
        shared_bias: Of L.
        cross_context: L after the output projection of the cross attention, over ``keep``.
        cross_bias: L applied to the bias of the cross attention's output.
        out: Sum of both output projections.
        out_bias: Sum of their biases.
        intra_out: Intra output projection alone.
        cross_out: Cross output projection alone.
        expand: First feed-forward weights with the norm's scale in them.
        expand_bias: With the norm's shift in it.
        contract: Second feed-forward weights, over ``keep``.
        contract_bias: Of the second.
    """

    heads: int
    norm_eps: float
    keep: float
    attend: Tensor
    attend_bias: Tensor
    intra_context: Tensor
    local: Tensor
    local_bias: Tensor
    glob: Tensor
    glob_bias: Tensor
    shared: Tensor
    shared_bias: Tensor
    cross_context: Tensor
    cross_bias: Tensor
    out: Tensor
    out_bias: Tensor
    intra_out: Tensor
    cross_out: Tensor
    expand: Tensor
    expand_bias: Tensor
    contract: Tensor
    contract_bias: Tensor


def fused_stack(x: Tensor, layers: Sequence[Folded], chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """Layers of FGSE, one after the other.

    Args:
        x: ``(2, B, T, K, d)``, audio and visual.
        layers: Weights of each layer, in the dtype of ``x``; one at least.
        chunk: On a CPU, how many rows ``(2, B, T, K)`` go through all layers at once, rounded down to whole videos.

    Returns:
        The enhanced classes, of the same shape; the last layer's maps ``(2, B, T, K, K)`` within each modality and from
        each to the other.
    """
    settings = tuple((layer.heads, layer.norm_eps, layer.keep) for layer in layers)
    return _FusedStack.apply(x, chunk, settings, *(tensor for layer in layers for tensor in layer[_SETTINGS:]))


class _FusedStack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, chunk: int, settings: tuple[tuple[int, float, float], ...], *weights: Tensor
    ) -> Any:
        layers = _layers(settings, weights)
        videos = max(1, chunk * x.shape[-1] // max(1, x[:, :1].numel())) if x.device.type == "cpu" else x.shape[1]
        parts = x.split(videos, dim=1)
        drops = any(layer.keep < 1 for layer in layers)
        # A seed of its own makes each part's dropout the same in whichever order the threads come to them.
        seeds = torch.randint(2**62, (len(parts),)).tolist() if drops else [0] * len(parts)

        def run(part: Tensor, seed: int) -> tuple[Tensor, Tensor | None, Tensor | None, list[_Saved]]:
            generator = torch.Generator(device=x.device).manual_seed(seed) if drops else None
            kept: list[_Saved] = []
            part = part.contiguous()
            for number, layer in enumerate(layers, 1):
                part, same, across, saved = _forward(part, layer, generator, maps=number == len(layers))
                kept.append(saved)
            return part, same, across, kept

        found = each_part(x.device.type, run, parts, seeds)
        if any(ctx.needs_input_grad):
            ctx.settings, ctx.videos = settings, videos
            ctx.save_for_backward(*weights)
            # Not through save_for_backward, which would hold all of it until the end of the backward pass.
            ctx.kept = [kept for *_, kept in found]
        return tuple(torch.cat([part[number] for part in found], dim=1) for number in range(3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_same: Tensor, grad_across: Tensor) -> Any:
        layers, kept, ctx.kept = _layers(ctx.settings, ctx.saved_tensors), ctx.kept, None
        if kept is None:
            raise RuntimeError("FGSE frees what it kept on its way back; a second backward pass needs a forward pass")

        def run(kept: list[_Saved], *grads: Tensor) -> list[Tensor]:
            grad, grad_same, grad_across = grads
            gradients: list[Tensor] = []
            for layer in reversed(layers):
                last = layer is layers[-1]
                grad, *of_weights = _backward(
                    grad, grad_same if last else None, grad_across if last else None, layer, kept
                )
                gradients = of_weights + gradients
            return [grad, *gradients]

        parts = [g.split(ctx.videos, dim=1) for g in (grad, grad_same, grad_across)]
        found = each_part(grad.device.type, run, kept, *parts)
        of_weights = [sum(gradients[1:], gradients[0]) for gradients in zip(*(part[1:] for part in found), strict=True)]
        return torch.cat([part[0] for part in found], dim=1), None, None, *of_weights


def _layers(settings: Sequence[tuple[int, float, float]], weights: Sequence[Tensor]) -> list[Folded]:
    size = len(Folded._fields) - _SETTINGS
    return [Folded(*setting, *weights[n * size : (n + 1) * size]) for n, setting in enumerate(settings)]


class _Saved(NamedTuple):
    """What the derivative needs; n = 2 B T K rows, m = 2 B T segments."""

    x: Tensor  # (2, B, T, K, d)
    heads: Tensor  # (6, m, heads, K, e): queries, keys, values, intra and cross; the last two of the other modality
    intra: Tensor  # (m heads, K, K) attention weights before dropout
    cross: Tensor
    intra_kept: Tensor  # bool, which of them dropout keeps; empty without dropout
    cross_kept: Tensor
    intra_context: Tensor  # (n, d)
    cross_context: Tensor
    s: Tensor  # (n, d) input and what the intra attention adds
    local: Tensor  # (n, d) after ReLU
    glob: Tensor
    gate: Tensor
    shared: Tensor
    z: Tensor  # (n, d) normed
    deviation: Tensor  # (n, 1) reciprocal standard deviation
    hidden: Tensor  # (n, hidden) after ReLU and dropout
    intra_gate: Tensor  # (2 B, T, K) float32: cosines and norms of both gates
    cross_gate: Tensor
    intra_norm: Tensor
    cross_norm: Tensor


def _keep(shape: torch.Size, keep: float, generator: torch.Generator | None) -> Tensor:
    """True with probability ``keep`` (to 1/65536): sixteen random bits a value cost a tenth of ``bernoulli_``."""
    assert generator is not None
    count = shape.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64, device=generator.device)
    bits.random_(-(2**63), None, generator=generator)
    return bits.view(torch.int16)[:count].view(shape) < round(keep * 65536) - 32768


def _forward(
    x: Tensor, w: Folded, generator: torch.Generator | None, maps: bool
) -> tuple[Tensor, Tensor | None, Tensor | None, _Saved]:
    _, batch, time, classes, dim = x.shape
    rows, half = x.reshape(-1, dim), batch * time
    projected = (rows @ w.attend.T).view(2 * half, classes, 6, w.heads, -1).permute(2, 0, 3, 1, 4)
    bias = w.attend_bias.view(6, 1, w.heads, 1, -1)
    # Matrices as small as those of a head are faster in float32, and softmax more so.
    heads = torch.empty(projected.shape, dtype=_wide(x), device=x.device)
    for rows_into, rows_from in _pieces(half):
        torch.add(projected[rows_from], bias[rows_from[0]], out=heads[rows_into])
    q1, k1, v1, q2, k2, v2 = heads.flatten(1, 2)
    intra = torch.softmax(torch.bmm(q1, k1.transpose(1, 2)), -1)
    cross = torch.softmax(torch.bmm(q2, k2.transpose(1, 2)), -1)
    intra_kept = cross_kept = torch.empty(0, dtype=torch.bool)
    used1, used2 = intra, cross
    if w.keep < 1:
        intra_kept, cross_kept = (_keep(intra.shape, w.keep, generator) for _ in range(2))
        used1, used2 = intra * intra_kept, cross * cross_kept
    context1 = _rows(torch.bmm(used1, v1), w.heads).to(x.dtype)
    context2 = _rows(torch.bmm(used2, v2), w.heads).to(x.dtype)

    s = torch.addmm(rows, context1, w.intra_context.T)
    local = torch.addmm(w.local_bias, s, w.local.T).relu_()
    glob = torch.addmm(w.glob_bias, s, w.glob.T).relu_()
    shared = torch.addmm(w.shared_bias, rows, w.shared.T)
    gate = torch.addmm(shared, context2, w.cross_context.T).add_(w.cross_bias).relu_()
    shared.relu_()
    shape = (2 * batch, time, classes, dim)
    mean1, mean2 = glob.view(shape).mean(1), _swap(shared.view(shape).mean(1))
    cosine1, norm1 = _cosine(local.view(shape), mean1)
    cosine2, norm2 = _cosine(gate.view(shape), mean2)
    y = torch.addmm(w.out_bias, rows, w.out.T)
    for cosine, mean, out in ((cosine1, mean1, w.intra_out), (cosine2, mean2, w.cross_out)):
        weight = torch.sigmoid(cosine).to(x.dtype)
        y.view(shape).addcmul_(weight.unsqueeze(-1), (mean @ out.T).unsqueeze(1))
    z, _, deviation = torch.native_layer_norm(y, (dim,), None, None, w.norm_eps)
    hidden = torch.addmm(w.expand_bias, z, w.expand.T).relu_()
    if w.keep < 1:
        hidden *= _keep(hidden.shape, w.keep, generator)
    result = torch.addmm(w.contract_bias, hidden, w.contract.T).view(x.shape)
    same = across = None
    if maps:
        same, across = (_maps(used, x.shape, w) for used in (used1, used2))
    saved = _Saved(
        x, heads, intra, cross, intra_kept, cross_kept, context1, context2, s, local, glob, gate, shared, z, deviation,
        hidden, cosine1, cosine2, norm1, norm2,
    )  # fmt: skip
    return result, same, across, saved


def _backward(
    grad: Tensor, grad_same: Tensor | None, grad_across: Tensor | None, w: Folded, kept: list[_Saved]
) -> list[Tensor]:
    """Gradients of a layer's input and weights; takes what the layer saved off the end of the list."""
    saved = kept.pop()
    x = saved.x
    _, batch, time, classes, dim = x.shape
    rows, grad = x.reshape(-1, dim), grad.reshape(-1, dim)
    shape = (2 * batch, time, classes, dim)
    g: dict[str, Tensor] = {}

    def through(name: str, grad: Tensor, inputs: Tensor) -> None:
        g[name] = grad.T @ inputs
        g[f"{name}_bias"] = grad.sum(0)

    through("contract", grad, saved.hidden)
    grad_hidden = _masked(grad @ w.contract, saved.hidden)
    through("expand", grad_hidden, saved.z)
    grad_y = _norm_backward(grad_hidden @ w.expand, saved.z, saved.deviation)
    del grad_hidden
    through("out", grad_y, rows)
    grad_rows = grad_y @ w.out

    means = saved.glob.view(shape).mean(1), _swap(saved.shared.view(shape).mean(1))
    grad_y = grad_y.view(shape)
    gates = (saved.local, means[0], saved.intra_gate, saved.intra_norm), (
        saved.gate, means[1], saved.cross_gate, saved.cross_norm,
    )  # fmt: skip
    grads = []
    for name, weight, (local, mean, cosine, norm) in zip(
        ("intra_out", "cross_out"), (w.intra_out, w.cross_out), gates, strict=True
    ):
        gate = torch.sigmoid(cosine)
        grad_gate = (grad_y * (mean @ weight.T).unsqueeze(1)).sum(-1, dtype=_wide(x))
        spread = (grad_y * gate.to(x.dtype).unsqueeze(-1)).sum(1)  # gradient of the projected mean, (2 B, K, d)
        g[name] = spread.flatten(0, 1).T @ mean.flatten(0, 1)
        grad_local, grad_mean = _cosine_backward(grad_gate * gate * (1 - gate), local.view(shape), mean, cosine, norm)
        grads.append((_masked(grad_local.view(-1, dim), local), grad_mean + spread @ weight))
    (grad_local, grad_mean1), (grad_gate, grad_mean2) = grads

    grad_glob = _masked((grad_mean1 / time).unsqueeze(1).expand(shape).reshape(-1, dim), saved.glob)
    through("local", grad_local, saved.s)
    through("glob", grad_glob, saved.s)
    grad_s = torch.addmm(grad_local @ w.local, grad_glob, w.glob)
    grad_rows += grad_s
    g["intra_context"] = grad_s.T @ saved.intra_context
    g["cross_context"] = grad_gate.T @ saved.cross_context
    g["cross_bias"] = grad_gate.sum(0)
    grad_context1, grad_context2 = grad_s @ w.intra_context, grad_gate @ w.cross_context
    grad_shared = _masked((_swap(grad_mean2) / time).unsqueeze(1).expand(shape).reshape(-1, dim), saved.shared)
    grad_shared += grad_gate
    through("shared", grad_shared, rows)
    grad_rows.addmm_(grad_shared, w.shared)

    grad_heads = torch.empty_like(saved.heads)
    into, heads = grad_heads.flatten(1, 2), saved.heads.flatten(1, 2)
    for first, weights, keep, grad_context, grad_map in (
        (0, saved.intra, saved.intra_kept, grad_context1, grad_same),
        (3, saved.cross, saved.cross_kept, grad_context2, grad_across),
    ):
        q, k, v = heads[first : first + 3]
        grad_context = _heads(grad_context, classes, w.heads).to(v.dtype)
        grad_weights = grad_context @ v.transpose(1, 2)
        if grad_map is not None:
            grad_weights.view(-1, w.heads, classes, classes).add_(
                grad_map.reshape(-1, 1, classes, classes), alpha=1 / (w.heads * w.keep)
            )
        used = weights
        if w.keep < 1:
            used = weights * keep
            grad_weights *= keep
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        torch.bmm(grad_scores, k, out=into[first])
        torch.bmm(grad_scores.transpose(1, 2), q, out=into[first + 1])
        torch.bmm(used.transpose(1, 2), grad_context, out=into[first + 2])
    grad_projected = torch.empty(len(rows), w.attend.shape[0], dtype=x.dtype, device=x.device)
    spread = grad_projected.view(-1, classes, 6, w.heads, dim // w.heads).permute(2, 0, 3, 1, 4)
    for rows_into, rows_from in _pieces(batch * time):
        spread[rows_from] = grad_heads[rows_into]
    through("attend", grad_projected, rows)
    grad_rows.addmm_(grad_projected, w.attend)
    return [grad_rows.view(x.shape), *(g[name] for name in Folded._fields[3:])]


def _wide(x: Tensor) -> torch.dtype:
    """What sums are kept in."""
    return torch.promote_types(x.dtype, torch.float32)


def _pieces(half: int) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Where projections (6, m, ...) lie as heads: the cross attention's keys and values with the other modality."""
    own, others, first, second = slice(0, 4), slice(4, 6), slice(0, half), slice(half, None)
    every = slice(None)
    return [((own, every), (own, every)), ((others, first), (others, second)), ((others, second), (others, first))]


def _swap(x: Tensor) -> Tensor:
    """Exchanges the modalities, the slower half of the first dimension."""
    return torch.cat(x.chunk(2)[::-1])


def _rows(context: Tensor, heads: int) -> Tensor:
    """``(m heads, K, e) -> (m K, heads e)``."""
    return context.unflatten(0, (-1, heads)).transpose(1, 2).reshape(-1, heads * context.shape[-1])


def _heads(rows: Tensor, classes: int, heads: int) -> Tensor:
    """``(m K, heads e) -> (m heads, K, e)``."""
    return rows.view(-1, classes, heads, rows.shape[-1] // heads).transpose(1, 2).flatten(0, 1)


def _maps(used: Tensor, shape: torch.Size, w: Folded) -> Tensor:
    mean = used.unflatten(0, (-1, w.heads)).mean(1, dtype=_wide(used)) / w.keep
    return mean.view(*shape[:3], *mean.shape[1:])


def _masked(grad: Tensor, result: Tensor) -> Tensor:
    """Gradient before ReLU (and dropout), whose result is zero where it does not pass."""
    return torch.ops.aten.threshold_backward(grad, result, 0)


def _norm_backward(grad: Tensor, z: Tensor, deviation: Tensor) -> Tensor:
    along = (grad * z).mean(-1, keepdim=True)
    return (grad - grad.mean(-1, keepdim=True)).addcmul_(z, along, value=-1).mul_(deviation.to(grad.dtype))


def _cosine(local: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of ``(2 B, T, K, d)`` with ``(2 B, K, d)`` and the norms of the former, float32 ``(2 B, T, K)``."""
    norm = torch.linalg.vector_norm(local, dim=-1, dtype=_wide(local)).clamp_(min=_EPS)
    length = torch.linalg.vector_norm(mean, dim=-1, dtype=_wide(mean)).clamp_(min=_EPS)
    return (local * mean.unsqueeze(1)).sum(-1, dtype=_wide(local)).div_(norm * length.unsqueeze(1)), norm


def _cosine_backward(grad: Tensor, local: Tensor, mean: Tensor, cosine: Tensor, norm: Tensor) -> tuple[Tensor, Tensor]:
    length = torch.linalg.vector_norm(mean, dim=-1, dtype=_wide(mean)).clamp_(min=_EPS)
    across = (grad / (norm * length.unsqueeze(1))).to(local.dtype).unsqueeze(-1)
    along = (grad * cosine / norm.square()).to(local.dtype).unsqueeze(-1)
    pull = ((grad * cosine).sum(1) / length.square()).to(local.dtype).unsqueeze(-1)
    grad_local = (mean.unsqueeze(1) * across).addcmul_(local, along, value=-1)
    grad_mean = (local * across).sum(1).addcmul_(mean, pull, value=-1)
    return grad_local, grad_mean
