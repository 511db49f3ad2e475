"""A recurrent baseline behind the detector's interface, after LRNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mediakit.deepfake.model import CHANNELS, DeepfakeOutput, Standardize, weigh, with_dynamics
from mediakit.deepfake.signals import WINDOW, Signals


class LRNet(nn.Module):
    """Two bidirectional GRUs, one over positions and one over velocities, whose outputs are averaged.

    The idea and the sizes are LRNet's (Sun et al., "Improving the Efficiency and Robustness of Deepfakes Detection
    through Precise Geometric Features", CVPR 2021). It reads the same signals as `.DeepfakeModel` instead of aligned 2D
    landmarks, so that the two differ in how they read and not in what.

    Args:
        hidden: Channels of a GRU, each direction.
        dropout: Of the inputs and before the output.
        window: Most frames of a window.
    """

    def __init__(self, hidden: int = 64, dropout: float = 0.25, window: int = WINDOW) -> None:
        super().__init__()
        self.streams = ("position", "velocity")
        self.window = window
        self.head, self.expression = (Standardize(channels) for channels in CHANNELS)
        self.change = Standardize(sum(CHANNELS))
        self.dropout = nn.Dropout(dropout)
        self.readers = nn.ModuleDict(
            {name: nn.GRU(sum(CHANNELS), hidden, batch_first=True, bidirectional=True) for name in self.streams}
        )
        self.evidence = nn.ModuleDict({name: nn.Linear(2 * hidden, 2) for name in self.streams})

    def fit_statistics(self, signals: Signals) -> None:
        """Takes the channels' means and deviations from training windows ``(B, T, ...)``."""
        head, face = with_dynamics(signals)
        self.head.fit(head, signals.valid)
        self.expression.fit(face, signals.valid)
        x = self._join(signals)
        self.change.fit(*_differences(x, signals.valid))

    def _join(self, signals: Signals) -> Tensor:
        head, face = with_dynamics(signals)
        return torch.cat([self.head(head, signals.valid), self.expression(face, signals.valid)], -1)

    def forward(self, signals: Signals, quality: Tensor | None = None) -> DeepfakeOutput:
        """Reads windows as `.DeepfakeModel` does; the average of the two streams is its fusion."""
        x = self._join(signals)
        velocity, moving = _differences(x, signals.valid)
        inputs = {"position": (x, signals.valid), "velocity": (self.change(velocity, moving), moving)}
        logits = []
        for name, (values, valid) in inputs.items():
            steps, _ = self.readers[name](self.dropout(values))
            share = valid[..., None] / valid.sum(1).clamp_min(1)[:, None, None]
            logits.append(self.evidence[name](self.dropout((steps * share).sum(1))))
        return weigh(torch.stack(logits, 1), signals.valid, quality, "mean")


def _differences(x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Change from each frame to the next ``(B, T - 1, C)``, and where both frames are valid."""
    both = valid[:, 1:] & valid[:, :-1]
    return x.diff(dim=1) * both[..., None], both
