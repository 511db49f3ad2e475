"""The detector's network: small Transformers read head, expression and their coherence in phase space.

An implementation of the published description (arXiv 2404.18149); sizes, the third stream and the tokens are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from mediakit.deepfake.evidence import combine, discount, masses_from_logits
from mediakit.deepfake.phase import delay_embed
from mediakit.deepfake.signals import EXPRESSION, HEAD, RATE, WINDOW, Signals
from mediakit.denoise import savgol
from mediakit.mesh import SEMANTIC_GROUPS

STREAMS = ("head", "expression", "coherence")
"""What the streams read: the head's movement, the face's, and both together."""

Phase = Literal["delay", "plane", "none"]
Rule = Literal["dempster", "cautious", "yager", "mean"]

_HEAD_PARTS = (slice(0, 6), slice(6, 9), slice(9, 10))
_ENDS = list(accumulate(3 * len(group) for group in SEMANTIC_GROUPS.values()))
_FACE_PARTS = [slice(start, end) for start, end in zip([0, *_ENDS], _ENDS, strict=False)]
CHANNELS = (HEAD + 2 * len(_HEAD_PARTS), EXPRESSION + 2 * len(_FACE_PARTS))
"""Numbers a frame that networks read of the head and of the expression, `dynamics` among them."""
_STILL = 1e-5  # IOD a frame: what counts as not moving
_CLAMP = 8.0  # standard deviations beyond which an input tells nothing more


class DeepfakeOutput(NamedTuple):
    """What a network says about windows; fake comes first, then real, then unknown.

    Attributes:
        logits: Evidence of each stream before softplus, ``(B, S, 2)``.
        masses: Masses of each stream, discounted by the windows' quality, ``(B, S, 3)``.
        mass: Masses of all streams together, ``(B, 3)``, not calibrated.
        conflict: How much the streams contradict each other, in [0, 1], ``(B,)``.
    """

    logits: Tensor
    masses: Tensor
    mass: Tensor
    conflict: Tensor


def weigh(logits: Tensor, valid: Tensor, quality: Tensor | None, rule: Rule) -> DeepfakeOutput:
    """Turns the streams' logits into fused masses.

    Args:
        logits: ``(B, S, 2)``.
        valid: Frames that show a face, ``(B, T)``: a window without any knows nothing.
        quality: Of each window, ``(B,)`` in [0, 1]; 1 if None.
        rule: How streams are joined, see `mediakit.deepfake.evidence.combine`.
    """
    trust = valid.any(1).to(logits.dtype)
    trust = trust if quality is None else trust * quality.to(logits.dtype)
    masses = discount(masses_from_logits(logits), trust[:, None])
    return DeepfakeOutput(logits, masses, *combine(masses, rule))


class Standardize(nn.Module):
    """Brings each channel to zero mean and unit deviation over the training windows; far values are clipped at 8.

    Args:
        channels: Number of channels.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    @torch.no_grad()
    def fit(self, x: Tensor, valid: Tensor) -> None:
        """Takes mean and deviation from the valid frames of ``x (B, T, C)``."""
        frames = x[valid].double()
        self.mean.copy_(frames.mean(0))
        self.deviation.copy_(frames.std(0).clamp_min(1e-6))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Standardizes ``(B, T, C)``; zeros in frames that are not valid."""
        return ((x - self.mean) / self.deviation).clamp(-_CLAMP, _CLAMP) * valid[..., None]


def dynamics(head: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
    """How fast parts move: logs of the rms speed and acceleration, which no linear layer could read off.

    Args:
        head: ``Signals.head``, ``(B, T, 20)``.
        expression: ``Signals.expression``, ``(B, T, 273)``.

    Returns:
        Of the head's rotation, shift and size ``(B, T, 6)``, of the six groups of `.SEMANTIC_GROUPS` ``(B, T, 12)``;
        natural logarithms of IOD (rotation: of matrix elements) a frame and a frame squared, the first frame as the
        second.
    """
    return _log_speeds(head, _HEAD_PARTS), _log_speeds(expression, _FACE_PARTS)


def _log_speeds(x: Tensor, parts: Sequence[slice]) -> Tensor:
    speed = torch.cat([x[:, 1:2] - x[:, :1], x.diff(dim=1)], 1)
    change = torch.cat([speed[:, 1:2] - speed[:, :1], speed.diff(dim=1)], 1)
    rms = [moved[..., part].square().mean(-1) for moved in (speed, change) for part in parts]
    return (torch.stack(rms, -1) + _STILL**2).log() / 2


def with_dynamics(signals: Signals) -> tuple[Tensor, Tensor]:
    """What networks read: head ``(B, T, 26)`` and expression ``(B, T, 285)``, each with `dynamics`."""
    head, face = dynamics(signals.head, signals.expression)
    return torch.cat([signals.head, head], -1), torch.cat([signals.expression, face], -1)


class Tokens(nn.Module):
    """Phase-space points of one signal as tokens, each of a few frames.

    Args:
        channels: C of the signal.
        phase: ``"delay"`` embeds [s(t), s(t - lag), ...]; ``"plane"`` takes value, velocity and acceleration
            (Savitzky-Golay, in units of the lag); ``"none"`` the plain sequence.
        dim: Embedding dimension m, for ``"delay"``.
        lag: Frames.
        patch: Frames of a token.
        inner: Channels after the first projection.
        width: Channels of a token.
    """

    def __init__(self, channels: int, phase: Phase, dim: int, lag: int, patch: int, inner: int, width: int) -> None:
        super().__init__()
        self.phase, self.dim, self.lag, self.patch = phase, dim, lag, patch
        self.embed = nn.Linear(channels * {"delay": dim, "plane": 3, "none": 1}[phase], inner)
        self.project = nn.Linear(inner * patch, width)

    def forward(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, T, C)`` and ``(B, T)`` to tokens ``(B, N, width)`` and whether they show enough, ``(B, N)`` bool."""
        if self.phase == "delay":
            x = delay_embed(x, self.dim, self.lag)
            valid = delay_embed(valid[..., None], self.dim, self.lag).all(-1)
        elif self.phase == "plane":
            time_first = x.transpose(0, 1)
            x = torch.cat(
                [savgol(time_first, 7, 2, deriv, RATE) * (self.lag / RATE) ** deriv for deriv in range(3)], -1
            ).transpose(0, 1)
        whole = x.shape[1] // self.patch * self.patch
        # The end of a window is the end of its last token: no frame of the present is left out.
        x = torch.nn.functional.gelu(self.embed(x[:, -whole:])).unflatten(1, (-1, self.patch)).flatten(2)
        seen = valid[:, -whole:].unflatten(1, (-1, self.patch)).to(x.dtype).mean(-1)
        return self.project(x), seen >= 0.5


class Stream(nn.Module):
    """A small Transformer over the tokens of one or two signals, which attend to each other.

    Args:
        channels: Channels of each signal.
        tokens: Most tokens a signal has.
        width: Channels inside.
        layers: Pre-norm layers.
        heads: Attention heads.
        feedforward: Channels of the feed-forward part.
        dropout: Everywhere.
        phase: See `Tokens`, likewise for the next four.
        dim: Embedding dimension.
        lag: Frames.
        patch: Frames of a token.
        inner: Channels after the first projection.
    """

    def __init__(
        self,
        channels: Sequence[int],
        tokens: int,
        width: int,
        layers: int,
        heads: int,
        feedforward: int,
        dropout: float,
        phase: Phase,
        dim: int,
        lag: int,
        patch: int,
        inner: int,
    ) -> None:
        super().__init__()
        self.tokens = nn.ModuleList(Tokens(c, phase, dim, lag, patch, inner, width) for c in channels)
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.place = nn.Parameter(torch.randn(len(channels), tokens, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, feedforward, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.evidence = nn.Linear(3 * width, 2)

    def forward(self, signals: Sequence[Tensor], valid: Tensor) -> Tensor:
        """Signals ``(B, T, C)`` each, frames ``(B, T)``, to logits ``(B, 2)``."""
        start = self.start.expand(len(valid), 1, -1)
        found = [tokens(signal, valid) for tokens, signal in zip(self.tokens, signals, strict=True)]
        placed = [x + place[-x.shape[1] :] for (x, _), place in zip(found, self.place, strict=True)]
        hidden = torch.cat([valid.new_zeros(len(valid), 1), *(~seen for _, seen in found)], 1)
        x = self.encoder(self.dropout(torch.cat([start, *placed], 1)), src_key_padding_mask=hidden)
        seen = ~hidden[..., None]
        count = seen.sum(1)  # the first token is always seen
        mean = (x * seen).sum(1) / count
        spread = ((x - mean[:, None]).square() * seen).sum(1) / count
        return self.evidence(torch.cat([x[:, 0], mean, (spread + 1e-6).sqrt()], -1))


class DeepfakeModel(nn.Module):
    """Three streams over phase-space tokens; their evidence is fused by Dempster and Shafer's rule.

    Args:
        streams: Some of `STREAMS`.
        phase: ``"delay"``, ``"plane"`` or ``"none"``, see `Tokens`.
        embedding: Dimension m of the delay embedding.
        lag: Its delay in seconds.
        window: Most frames of a window.
        patch: Frames of a token.
        width: Channels inside.
        layers: Transformer layers of a stream.
        heads: Attention heads.
        feedforward: Channels of the feed-forward part.
        inner: Channels after the first projection of a signal.
        dropout: Inside the Transformers.
        input_dropout: Of the standardized signals: single frames and channels prove nothing.
        rule: How streams are joined: ``"dempster"``, ``"cautious"``, ``"yager"`` or ``"mean"``.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        streams: Sequence[str] = STREAMS,
        phase: Phase = "delay",
        embedding: int = 3,
        lag: float = 0.2,
        window: int = WINDOW,
        patch: int = 8,
        width: int = 64,
        layers: int = 3,
        heads: int = 4,
        feedforward: int = 128,
        inner: int = 32,
        dropout: float = 0.1,
        input_dropout: float = 0.25,
        rule: Rule = "dempster",
    ) -> None:
        super().__init__()
        if not streams or set(streams) - set(STREAMS) or len(set(streams)) < len(streams):
            raise ValueError(f"streams must be some of {', '.join(STREAMS)}, each once; not {list(streams)}")
        if phase not in ("delay", "plane", "none"):
            raise ValueError(f"phase must be delay, plane or none, not {phase!r}")
        if rule not in ("dempster", "cautious", "yager", "mean"):
            raise ValueError(f"rule must be dempster, cautious, yager or mean, not {rule!r}")
        frames = round(lag * RATE)
        if frames < 1 or embedding < 1:
            raise ValueError(
                f"embedding must be at least 1 and lag at least one frame (1/30 s), not {embedding}, {lag}"
            )
        left = window - (embedding - 1) * frames if phase == "delay" else window
        if left < patch:
            raise ValueError(
                f"a window of {window} frames leaves {left} after embedding: fewer than a token of {patch}"
            )
        self.streams, self.rule = tuple(streams), rule
        self.window = window
        self.head, self.expression = Standardize(CHANNELS[0]), Standardize(CHANNELS[1])
        self.input_dropout = nn.Dropout(input_dropout)
        channels = {"head": CHANNELS[:1], "expression": CHANNELS[1:], "coherence": CHANNELS}
        self.readers = nn.ModuleDict(
            {
                name: Stream(
                    channels[name],
                    math.ceil(left / patch),
                    width,
                    layers,
                    heads,
                    feedforward,
                    dropout,
                    phase,
                    embedding,
                    frames,
                    patch,
                    inner,
                )
                for name in self.streams
            }
        )

    def fit_statistics(self, signals: Signals) -> None:
        """Takes the channels' means and deviations from training windows ``(B, T, ...)``."""
        head, face = with_dynamics(signals)
        self.head.fit(head, signals.valid)
        self.expression.fit(face, signals.valid)

    def forward(self, signals: Signals, quality: Tensor | None = None) -> DeepfakeOutput:
        """Reads windows.

        Args:
            signals: ``(B, T, ...)``, T at most ``window``.
            quality: Of each window in [0, 1], ``(B,)``: its masses are discounted by it; 1 if None.
        """
        head, face = with_dynamics(signals)
        head = self.input_dropout(self.head(head, signals.valid))
        face = self.input_dropout(self.expression(face, signals.valid))
        read = {"head": (head,), "expression": (face,), "coherence": (head, face)}
        logits = torch.stack([self.readers[name](read[name], signals.valid) for name in self.streams], 1)
        return weigh(logits, signals.valid, quality, self.rule)
