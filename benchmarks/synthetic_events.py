"""Are the synthetic event clips too easy? What a linear model gets from the mean spectrum and from the mean colour.

Logistic regression on the mean log-mel spectrum of each second (heard events) and on the mean colour of each second
(seen events), trained on the train split; regularisation and the threshold of each class are chosen on the val split.
The test split has timbres, noises, styles and backdrops that neither of them has. Prints segment-level macro F1 in
percent.

    python benchmarks/synthetic_events.py [--train 150] [--val 60] [--test 60]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mediakit.errors import require
from mediakit.synthetic.events import CLASSES, EventClips

MELS = 64
MODALITIES = ("audio", "visual")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for split, clips in (("train", 150), ("val", 60), ("test", 60)):
        parser.add_argument(f"--{split}", type=int, default=clips, help=f"clips of the {split} split (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    begin = time.perf_counter()
    data = {split: segments(EventClips(args.seed, split), getattr(args, split)) for split in ("train", "val", "test")}
    took = time.perf_counter() - begin
    print(
        f"{args.train} train, {args.val} val, {args.test} test clips; {took / sum(vars(args).values()):.2f} s a clip\n"
    )
    print("| modality | nothing | everything | linear model, train | val | test | perfect |")
    print("|---|---|---|---|---|---|---|")
    for modality in MODALITIES:
        model, thresholds = fitted(*(data[split][modality] for split in ("train", "val")))
        scores = []
        for split in ("train", "val", "test"):
            features, labels = data[split][modality]
            scores.append(macro_f1(labels, model.predict_proba(features) >= thresholds))
        truth = data["test"][modality][1]
        everything = macro_f1(truth, np.ones_like(truth))
        print(f"| {modality} | 0.0 | {everything:.1f} | " + " | ".join(f"{s:.1f}" for s in scores) + " | 100.0 |")


def segments(family: EventClips, clips: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each modality, features and labels of all seconds of the clips."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {modality: [] for modality in MODALITIES}
    bank = require("librosa.filters", "The baseline").mel(sr=family.rate, n_fft=512, n_mels=MELS)
    for index in range(clips):
        clip = family.clip(index)
        wave = clip.sound().waveform[0].reshape(family.seconds, family.rate)
        power = torch.stft(wave, 512, 160, window=torch.hann_window(512), return_complex=True).abs() ** 2
        spectrum = torch.log(torch.from_numpy(bank) @ power + 1e-6).mean(-1)
        colours = torch.stack([frame.double().mean((1, 2)) for frame in clip.frames()])
        colours = colours.reshape(family.seconds, family.fps, 3).mean(1)
        labels = clip.labels()
        found["audio"].append((spectrum.numpy(), labels.audio.numpy()))
        found["visual"].append((colours.numpy(), labels.visual.numpy()))
    return {m: tuple(np.concatenate(parts) for parts in zip(*pairs, strict=True)) for m, pairs in found.items()}


def fitted(train: tuple[np.ndarray, np.ndarray], val: tuple[np.ndarray, np.ndarray]) -> tuple[object, np.ndarray]:
    """The model, and for each class the threshold, that are best on the val split."""
    best, chosen = -1.0, (None, None)
    for strength in (0.001, 0.01, 0.1, 1.0, 10.0):
        one = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
        model = make_pipeline(StandardScaler(), OneVsRestClassifier(one)).fit(*train)
        likely = model.predict_proba(val[0])
        tried = np.linspace(0.05, 0.95, 19)
        scores = [
            [f1_score(y, p >= t, zero_division=0) for t in tried] for y, p in zip(val[1].T, likely.T, strict=True)
        ]
        thresholds = tried[np.argmax(scores, 1)]
        score = macro_f1(val[1], likely >= thresholds)
        if score > best:
            best, chosen = score, (model, thresholds)
    return chosen


def macro_f1(truth: np.ndarray, guess: np.ndarray) -> float:
    """Mean over the classes of F1 over all segments, in percent."""
    assert truth.shape[1] == len(CLASSES)
    return 100 * f1_score(truth, guess, average="macro", zero_division=0)


if __name__ == "__main__":
    main()
