"""Is LLP-sim neither saturated nor impossible, and are its labels like LLP's? Probes beside the ladder of oracles.

Probes see one modality. Linear: logistic regression on each second. MLP: one hidden layer on the second, its two
neighbours' mean and the video's mean. Trained on the dense truth (which no method has) or on the pseudo-labels (which
all have); thresholds are chosen on the val split, scores are of the test split. Videos' scores are averaged over the
seeds, which draw features and pseudo-labels anew for the same real labels; without --labels other labels too.

    python benchmarks/parsing_simulation.py [--labels ../shared/data/llp] [--train 10000] [--seeds 3]
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn

from mediakit.parsing.annotations.tables import read_llp
from mediakit.parsing.metrics import SCORES, oracle_predictions, video_scores
from mediakit.parsing.scoreboard import score_table
from mediakit.parsing.simulation.data import SimulatedDataModule
from mediakit.parsing.simulation.features import Difficulty

THRESHOLDS = torch.linspace(0.1, 0.7, 13)
PROBES = {
    "linear on dense truth": (0, "truth"),
    "MLP with context on dense truth": (128, "truth"),
    "MLP with context on pseudo-labels": (128, "pseudo"),
}


def inputs(tensors: dict[str, Tensor], modality: str, context: bool) -> Tensor:
    """What a probe sees of each second, (N, T, D)."""
    own = tensors["audio"] if modality == "audio" else torch.cat([tensors["frames"], tensors["clips"]], -1)
    if not context:
        return own
    padded = torch.cat([own[:, :1], own, own[:, -1:]], 1)
    return torch.cat([own, (padded[:, :-2] + padded[:, 2:]) / 2, own.mean(1, keepdim=True).expand_as(own)], -1)


def fit(x: Tensor, y: Tensor, hidden: int, steps: int = 1200) -> nn.Module:
    """A probe of the seconds (N, T, D) for labels (N, T, K), by AdamW with a cosine."""
    torch.manual_seed(0)
    x, y = x.flatten(0, 1), y.flatten(0, 1).float()
    layers = [nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Dropout(0.3)] if hidden else []
    probe = nn.Sequential(*layers, nn.Linear(hidden or x.shape[1], y.shape[1]))
    lr, decay = (2e-3, 1e-2) if hidden else (2e-2, 1e-4)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=lr, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (1024,))
        loss = nn.functional.binary_cross_entropy_with_logits(probe(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return probe.eval()


@torch.no_grad()
def predict(probe: nn.Module, x: Tensor) -> Tensor:
    return probe(x).sigmoid()


def decide(val: Tensor, truth: Tensor, test: Tensor, modality: str) -> Tensor:
    """Decisions on test, at the threshold that is best for the modality on val."""
    column, nothing = SCORES.index(f"segment_{modality}"), torch.zeros_like(truth)

    def score(threshold: Tensor) -> float:
        given, true = [val > threshold, nothing], [truth, nothing]
        order = 1 if modality == "audio" else -1
        return video_scores(*given[::order], *true[::order])[:, column].mean().item()

    return test > max(THRESHOLDS, key=score)


def scores_of(data: SimulatedDataModule) -> dict[str, Tensor]:
    """Scores of each test video (N, 10): the ladder, the pseudo-labels themselves, the probes."""
    train, val, test = (data.dataset(split).tensors for split in ("train", "val", "test"))
    known, truth = data.annotations("train"), (test["true_audio"], test["true_visual"])
    rows = dict(oracle_predictions(*truth, test["labels"]))
    rows["pseudo-labels of the test videos"] = (test["audio_segments"], test["visual_segments"])
    for name, (hidden, target) in PROBES.items():
        decisions = []
        for modality, dense in (("audio", known.audio), ("visual", known.visual)):
            wanted = dense if target == "truth" else train[f"{modality}_segments"]
            x = [inputs(part, modality, hidden > 0) for part in (train, val, test)]
            probe = fit(x[0], wanted, hidden)
            decisions.append(decide(predict(probe, x[1]), val[f"true_{modality}"], predict(probe, x[2]), modality))
        rows[name] = tuple(decisions)
    return {name: video_scores(*given, *truth) for name, given in rows.items()}


def ladder_of_labels(folder: str, seeds: int) -> str:
    """The oracles' scores on real and on drawn labels: alike if the labels are."""
    found = {}
    for split in ("val", "test"):
        real = read_llp(folder, split)
        rows = oracle_predictions(real.audio, real.visual, real.labels)
        found |= {f"{name}, real {split}": video_scores(*row, real.audio, real.visual) for name, row in rows.items()}
    drawn = [SimulatedDataModule(test=1200, seed=seed).annotations("test") for seed in range(seeds)]
    labels, audio, visual = (torch.cat([getattr(a, name) for a in drawn]) for name in ("labels", "audio", "visual"))
    rows = oracle_predictions(audio, visual, labels)
    found |= {f"{name}, drawn": video_scores(*row, audio, visual) for name, row in rows.items()}
    return "\n".join(
        score_table({name: scores}, "labels").splitlines()[-1].replace(name, f"{name:44} n={len(scores)}", 1)
        for name, scores in sorted(found.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", help="folder of LLP's annotation files")
    parser.add_argument("--train", type=int, help="training videos; LLP's number if not given")
    parser.add_argument("--seeds", type=int, default=3)
    for knob, value in vars(Difficulty()).items():
        parser.add_argument(f"--{knob.replace('_', '-')}", type=float, default=value)
    options = vars(parser.parse_args())
    seeds = options.pop("seeds")
    runs = []
    for seed in range(seeds):
        start = time.perf_counter()
        data = SimulatedDataModule(**options, seed=seed)
        data.setup("fit")
        built = time.perf_counter() - start
        runs.append(scores_of(data))
        print(f"seed {seed}: train and val built in {built:.1f} s; segment Type of the probes", end=" ")
        column = SCORES.index("segment_type")
        print(", ".join(f"{100 * runs[-1][name][:, column].mean():.1f}" for name in PROBES), flush=True)
    same = options["labels"] is not None
    rows = {k: torch.stack([r[k] for r in runs]).mean(0) if same else torch.cat([r[k] for r in runs]) for k in runs[0]}
    print(score_table(rows, f"{data.source.replace(f', seed {seeds - 1}', '')}; {seeds} seeds; test"))
    if same:
        print("\nOracles on real and on drawn labels (columns as above)")
        print(ladder_of_labels(options["labels"], seeds))


if __name__ == "__main__":
    main()
