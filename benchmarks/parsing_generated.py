"""Audio-visual video parsing from raw media files: generate, extract, fit, test and analyze as a user would.

MP4 files of event clips are written and read back by the commands of the README, each of which is printed. Training
knows each second of 500 clips; the epoch is chosen on val; the test clips have timbres, noises, styles and backdrops of
other kinds than train and val. On the same test clips stand the ladder of oracles and logistic regressions (their
regularisation and the threshold of each class chosen on val): one on the mean log-mel spectrum and the mean colour of
each second, one on the very features that the network is given. Intervals are of a bootstrap over test clips; those of
differences are paired.

    python benchmarks/parsing_generated.py [--work FOLDER] [--clips 60 120 250] [--seeds 3]
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from reference_encoders import event_features
from synthetic_events import fitted
from torch import Tensor

from mediakit.features import FeatureFolder
from mediakit.intervals import bootstrap_interval
from mediakit.parsing.annotations.labels import read_labels
from mediakit.parsing.annotations.tables import Annotations
from mediakit.parsing.data import ParsingDataModule
from mediakit.parsing.metrics import SCORES, decide, mean_scores, oracle_predictions, video_scores
from mediakit.parsing.scoreboard import score_table
from mediakit.weights import load

SPLITS = ("train", "val", "test")
MEANS = ("mean log-mel", "mean colour")
MODEL = ("--model.classes", "events", *(f"--model.{name}_dim=320" for name in ("audio", "frames", "clips")))
Sides = dict[str, tuple[np.ndarray, np.ndarray]]
"""Of each split, what is heard and what is seen: (N, T, dim)."""


def mediakit(folder: Path, *words: str) -> str:
    """Runs a command in a folder, and tells which; returns what it wrote."""
    print(f"$ mediakit {shlex.join(words)}", flush=True)
    command = [sys.executable, "-m", "mediakit", *words]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, env={**os.environ, **_ONE_THREAD})
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


_ONE_THREAD = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def make(work: Path, counts: dict[str, int]) -> dict[str, Annotations]:
    """Films and features of all splits; what is there is kept. Returns the labels."""
    for split, count in counts.items():
        if not (work / "feats" / split / "manifest.json").exists():
            mediakit(
                work, "generate", "events", "--out", f"made/{split}", "--split", split, "--count", str(count), "-q"
            )
            features = ("--features", "audio,frames,clips")
            mediakit(work, "extract", f"made/{split}/videos", "--out", f"feats/{split}", *features, "-q")
    return {split: read_labels(work / "made", "folder", split) for split in SPLITS}


def first_clips(work: Path, count: int) -> str:
    """A folder of labels that names the first of the training clips only; returns its name."""
    name, ids = f"made-{count}", {*read_labels(work / "made", "folder", "train").ids[:count]}
    for split in SPLITS:
        (work / name / split).mkdir(parents=True, exist_ok=True)
        for table in ("weak.csv", "audio.csv", "visual.csv"):
            head, *rows = (work / "made" / split / table).read_text().splitlines()
            kept = [row for row in rows if split != "train" or row.partition("\t")[0] in ids]
            (work / name / split / table).write_text("\n".join([head, *kept]) + "\n")
    return name


def train(work: Path, labels: str, seed: int, options: list[str]) -> tuple[Path, float]:
    """Fits one model with the package's command; returns its folder and the CPU seconds."""
    folder = work / "fits" / f"{labels}-seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    quiet = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")
    mediakit(folder, "fit", *_data(labels), *options, "--seed_everything", str(seed), "--data.seed", str(seed), *quiet)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return folder, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _data(labels: str) -> tuple[str, ...]:
    place = ("--data.features", "../../feats", "--data.labels", f"../../{labels}")
    return ("--config", "parsing", *place, "--data.format", "folder", "--data.segment_labels", "dense")


def decisions(checkpoint: Path, work: Path) -> tuple[Tensor, Tensor]:
    """What a trained model decides on the test clips, in the order of the labels."""
    module = load(checkpoint)
    data = ParsingDataModule(str(work / "feats"), str(work / "made"), format="folder", segment_labels="dense")
    data.setup("test")
    with torch.inference_mode():
        batches = [
            decide(module(*(batch[name] for name in ("audio", "frames", "clips"))), module.protocol)
            for batch in data.test_dataloader()
        ]
    audio, visual = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return audio, visual


def means(work: Path, known: dict[str, Annotations]) -> Sides:
    """Mean log-mel spectrum and mean colour of each second of the films."""
    found: Sides = {}
    for split, labels in known.items():
        file = work / f"means-{split}.npz"
        if not file.exists():
            rows = [event_features(work / "made" / split / "videos" / f"{id}.mp4", {}) for id in labels.ids]
            np.savez(file, **{name: np.stack([row[name] for row in rows]) for name in MEANS})
        with np.load(file) as saved:
            found[split] = (saved[MEANS[0]][: len(labels.ids)], saved[MEANS[1]][: len(labels.ids)])
    return found


def features(work: Path, known: dict[str, Annotations]) -> Sides:
    """The features that the network is given; what is seen are frames and clips side by side."""
    found: Sides = {}
    for split, labels in known.items():
        folder = FeatureFolder(work / "feats" / split)
        audio, frames, clips = (
            np.stack([folder.load(id, name).numpy() for id in labels.ids]) for name in ("audio", "frames", "clips")
        )
        found[split] = (audio, np.concatenate([frames, clips], -1))
    return found


def regression(x: Sides, known: dict[str, Annotations]) -> tuple[Tensor, Tensor]:
    """What logistic regressions, one for each modality, decide on the test clips."""
    decided = []
    for side, modality in enumerate(("audio", "visual")):
        y = {split: getattr(known[split], modality).numpy() for split in SPLITS}
        flat = {s: tuple(z.reshape(-1, z.shape[-1]) for z in (x[s][side], y[s])) for s in SPLITS}
        model, thresholds = fitted(flat["train"], flat["val"])
        guess = model.predict_proba(flat["test"][0]) >= thresholds
        decided.append(torch.from_numpy(guess.reshape(y["test"].shape)))
    return decided[0], decided[1]


def difference(model: Tensor, other: Tensor) -> str:
    """By how many points of segment Type@AV one is above the other, of per-video scores."""
    gap = 100 * (model - other)[:, SCORES.index("segment_type")]
    low, high = bootstrap_interval(gap)
    return f"{gap.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for the films and features, to be used again")
    for split, clips in (("train", 500), ("val", 100), ("test", 150)):
        parser.add_argument(f"--{split}", type=int, default=clips, help=f"clips of the {split} split (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="models that are trained (%(default)s)")
    parser.add_argument("--clips", type=int, nargs="*", default=[], help="also train on so many of the training clips")
    for name, value in (("hidden", 64), ("layers", 2), ("heads", 4), ("lr", 1e-3), ("dropout", 0.1)):
        parser.add_argument(f"--{name}", type=type(value), default=value, help="of the model (%(default)s)")
    parser.add_argument("--weight-decay", type=float, default=1e-2, help="of the optimizer (%(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="clips a batch (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        report((options.work or Path(temporary)).resolve(), options)


def report(work: Path, options: argparse.Namespace) -> None:
    """Trains, and prints the tables."""
    known = make(work, {split: getattr(options, split) for split in SPLITS})
    truth = known["test"].audio, known["test"].visual
    names = ("hidden", "layers", "heads", "lr", "dropout", "weight_decay")
    sizes = [f"--model.{name}={getattr(options, name)}" for name in names]
    sizes += ["--model.schedule=cosine", f"--data.batch_size={options.batch}", f"--trainer.max_epochs={options.epochs}"]
    rows: dict[str, Tensor] = {}

    def score(name: str, pair: tuple[Tensor, Tensor]) -> None:
        rows[name] = video_scores(*pair, *truth)
        print(f"{name}: segment Type@AV {mean_scores(rows[name])['segment_type']:.1f}", flush=True)

    for name, pair in oracle_predictions(*truth, known["test"].labels).items():
        score(f"oracle: {name}", pair)
    score("logistic regression on means", regression(means(work, known), known))
    score("logistic regression on features", regression(features(work, known), known))
    cpu, models = [], []
    runs = [(count, first_clips(work, count)) for count in options.clips] + [(len(known["train"].ids), "made")]
    for count, labels in runs:
        for seed in range(options.seeds):
            folder, seconds = train(work, labels, seed, [*MODEL, *sizes])
            models.append(f"MM-CSE, {count} clips, seed {seed}")
            score(models[-1], decisions(folder / "runs/parsing/best.ckpt", work))
            cpu.append(f"{models[-1]}: {seconds:.0f} s")
    checkpoint = ("--ckpt_path", "runs/parsing/best.ckpt")
    print(mediakit(folder, "test", *_data("made"), *MODEL, *sizes, *checkpoint, "--trainer.enable_progress_bar=false"))
    film = f"../../made/test/videos/{known['test'].ids[0]}.mp4"
    outputs = ("-o", "unseen.html", "--events", "unseen.csv")
    mediakit(folder, "analyze", film, "--parsing", "runs/parsing/best.ckpt", *outputs, "-q")
    print((folder / "unseen.csv").read_text())
    print(score_table(rows, known["test"].source))
    print(f"\nCPU seconds of `mediakit fit`: {'; '.join(cpu)}")
    print("\nsegment Type@AV of the models above (points, paired 95% intervals)")
    for name in models:
        others = ("oracle: weak labels everywhere", "logistic regression on means", "logistic regression on features")
        print(f"{name}: " + "; ".join(f"{other} {difference(rows[name], rows[other])}" for other in others))


if __name__ == "__main__":
    main()
