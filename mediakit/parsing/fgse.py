"""Fine-grained semantic enhancement (FGSE) of MM-CSE: event co-occurrence within a segment, semantics over time.

Both modalities go through a layer's weights together, as one tensor ``(2, B, T, K, d)``, index 0 audio and 1 visual:
the authors update audio first, but from the layer's inputs, so the order does not matter. `FGSELayer` reads like the
paper; :mod:`mediakit.parsing.fgse_fused` computes the same with fewer and larger products and a derivative written by
hand, and is what runs unless a part is switched off or the network is being exported.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mediakit.parsing.fgse_fused import Folded, fused_stack


class Maps(NamedTuple):
    """How much each class (row) attends to each other (column) within a segment, mean over heads; rows sum to 1.

    In training they are taken after dropout, as the authors do.

    Attributes:
        aa: Audio to audio, ``(B, T, K, K)``.
        av: Audio to visual.
        vv: Visual to visual.
        va: Visual to audio.
    """

    aa: Tensor
    av: Tensor
    vv: Tensor
    va: Tensor


def local_global(local: Tensor, glob: Tensor) -> Tensor:
    """Local-global semantic fusion (LGSF): the mean over time, weighted in each segment by how near the segment is.

    ``sigmoid(cos(local, g)) * g`` with ``g = mean over T of glob``, one class at a time.

    Args:
        local: ``(..., T, K, d)``.
        glob: ``(..., T, K, d)``.

    Returns:
        ``(..., T, K, d)``.
    """
    mean = glob.mean(-3, keepdim=True)
    return torch.sigmoid(F.cosine_similarity(local, mean, dim=-1)).unsqueeze(-1) * mean


class ClassAttention(nn.Module):
    """Multi-head attention over the K classes of one segment (SECM).

    Args:
        dim: Channels of a class.
        heads: Number of heads; divides ``dim``.
        dropout: Rate at which attention weights are dropped in training.
    """

    def __init__(self, dim: int = 128, heads: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project = nn.Linear(dim, 3 * dim)  # query, key, value
        self.out = nn.Linear(dim, dim)
        # As nn.MultiheadAttention begins.
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, query: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """``(..., K, d)`` twice -> what the classes learn from ``other``, same shape, and the map ``(..., K, K)``."""
        dim = query.shape[-1]
        w, b = self.project.weight, self.project.bias
        q, k, v = (
            F.linear(x, w[i * dim : (i + 1) * dim], b[i * dim : (i + 1) * dim])
            .unflatten(-1, (self.heads, -1))
            .transpose(-2, -3)
            for i, x in enumerate((query, other, other))
        )
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), dim=-1)
        weights = F.dropout(weights, self.dropout, self.training)
        return self.out((weights @ v).transpose(-2, -3).flatten(-2)), weights.mean(-3)


class FGSELayer(nn.Module):
    """One layer of FGSE: SECM and LGSF within a modality and across, then a feed-forward network without a residual.

    Args:
        dim: d, channels of a class.
        heads: Attention heads; divides ``dim``.
        hidden: Channels inside the feed-forward network.
        dropout: Of attention weights and inside the feed-forward network.
        secm: Whether classes attend to one another; without, ``s = q``.
        lgsf: Whether global semantics are gated in; without, ``LGSF(s) = s``.
    """

    def __init__(
        self,
        dim: int = 128,
        heads: int = 8,
        hidden: int = 512,
        dropout: float = 0.1,
        secm: bool = True,
        lgsf: bool = True,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads must divide the {dim} channels of a class, got {heads}")
        self.dropout, self.secm, self.lgsf = dropout, secm, lgsf
        self.intra = ClassAttention(dim, heads, dropout) if secm else None
        self.cross = ClassAttention(dim, heads, dropout) if secm else None
        self.intra_local = nn.Linear(dim, dim) if lgsf else None
        self.intra_global = nn.Linear(dim, dim) if lgsf else None
        self.cross_shared = nn.Linear(dim, dim) if lgsf else None
        self.intra_out = nn.Linear(dim, dim)
        self.cross_out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Maps | None]:
        """Enhances both modalities, equation by equation.

        Args:
            x: ``(2, B, T, K, d)``.

        Returns:
            The same shape, and the maps; None without SECM.
        """
        other = x.flip(0)
        s1, s2, maps = x, x, None
        if self.intra is not None and self.cross is not None:
            from_same, same = self.intra(x, x)
            from_other, across = self.cross(x, other)
            s1, s2 = x + from_same, x + from_other
            maps = Maps(same[0], across[0], same[1], across[1])
        if self.intra_local is not None and self.intra_global is not None and self.cross_shared is not None:
            s1 = local_global(F.relu(self.intra_local(s1)), F.relu(self.intra_global(s1)))
            s2 = local_global(F.relu(self.cross_shared(s2)), F.relu(self.cross_shared(other)))
        y = self.norm(self.intra_out(x + s1) + self.cross_out(x + s2))
        return self.contract(F.dropout(F.relu(self.expand(y)), self.dropout, self.training)), maps


class FGSE(nn.Module):
    """Layers of FGSE, one after the other.

    Args:
        layers: How many.
        dim: d, channels of a class.
        heads: Attention heads; divides ``dim``.
        hidden: Channels inside the feed-forward networks.
        dropout: Of attention weights and inside the feed-forward networks.
        secm: Whether classes attend to one another.
        lgsf: Whether global semantics are gated in.
        same_start: Whether the layers begin with equal weights, as the authors' deep copies do.
    """

    chunk = 2048
    """Rows ``(2, B, T, K)`` of float32 that go through the CPU at once: what they need stays near its caches."""

    def __init__(
        self,
        layers: int = 4,
        dim: int = 128,
        heads: int = 8,
        hidden: int = 512,
        dropout: float = 0.1,
        secm: bool = True,
        lgsf: bool = True,
        same_start: bool = True,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FGSELayer(dim, heads, hidden, dropout, secm, lgsf) for _ in range(layers))
        if same_start:
            for layer in self.layers[1:]:
                layer.load_state_dict(self.layers[0].state_dict())
        self.fused = secm and lgsf

    def forward(self, x: Tensor) -> tuple[Tensor, Maps | None]:
        """``(2, B, T, K, d)`` -> the same shape, and the last layer's maps; None without SECM or without layers."""
        if not self.fused or not len(self.layers) or torch.compiler.is_compiling() or torch.jit.is_tracing():
            maps = None
            for layer in self.layers:
                x, maps = layer(x)
            return x, maps
        device = x.device.type
        if torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        with torch.autocast(device, enabled=False):
            folded = [_fold(layer, x.dtype) for layer in self.layers if isinstance(layer, FGSELayer)]
        outputs, same, across = fused_stack(x, folded, self.chunk * 4 // x.element_size())
        return outputs, Maps(same[0], across[0], same[1], across[1])


def _fold(layer: FGSELayer, dtype: torch.dtype) -> Folded:
    """Weights of a layer as the fused road takes them; autograd undoes the folding."""
    intra, cross = layer.intra, layer.cross
    # The fused road is for whole layers.
    assert intra is not None
    assert cross is not None
    assert layer.cross_shared is not None
    assert layer.intra_local is not None
    assert layer.intra_global is not None
    keep = 1 - layer.dropout if layer.training else 1.0
    dim, shared = layer.intra_out.in_features, layer.cross_shared.weight
    scale = torch.ones(3 * dim, device=shared.device, dtype=shared.dtype)
    scale[:dim] = (dim // intra.heads) ** -0.5
    added = intra.out.bias
    tensors = (
        torch.cat([a.project.weight * scale.unsqueeze(-1) for a in (intra, cross)]),
        torch.cat([a.project.bias * scale for a in (intra, cross)]),
        intra.out.weight / keep,
        layer.intra_local.weight,
        torch.addmv(layer.intra_local.bias, layer.intra_local.weight, added),
        layer.intra_global.weight,
        torch.addmv(layer.intra_global.bias, layer.intra_global.weight, added),
        shared,
        layer.cross_shared.bias,
        shared @ cross.out.weight / keep,
        shared @ cross.out.bias,
        layer.intra_out.weight + layer.cross_out.weight,
        layer.intra_out.bias + layer.cross_out.bias,
        layer.intra_out.weight,
        layer.cross_out.weight,
        layer.expand.weight * layer.norm.weight,
        torch.addmv(layer.expand.bias, layer.expand.weight, layer.norm.bias),
        layer.contract.weight / keep,
        layer.contract.bias,
    )
    return Folded(intra.heads, layer.norm.eps, keep, *(tensor.to(dtype) for tensor in tensors))
