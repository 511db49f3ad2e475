"""Is the generated media learnable? Linear probes on the reference encoders beside those on simple features.

Event clips and scenes are written as media files and read back. Logistic regression, with regularisation (and, for
events, the threshold of each class) chosen on the val split, is trained on the train split and scored on the test
split, whose timbres, noises, styles and backdrops are of other kinds. The same networks with random weights show what
training adds. 95 % intervals are of a bootstrap over test clips.

    python benchmarks/reference_encoders.py [--work FOLDER] [--train 200] [--val 80] [--test 80]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from synthetic_events import fitted, macro_f1
from synthetic_scenes import describe

from mediakit.encoders import AudioEncoder, ClipEncoder, FrameEncoder, log_mel
from mediakit.encoders.identity import Encoder
from mediakit.io import load_video, read_audio
from mediakit.synthetic.corpus import generate_clips, open_generator

SPLITS = ("train", "val", "test")
Features = dict[str, np.ndarray]


def encoders(weights: str | None) -> dict[str, Encoder]:
    """The three reference networks."""
    return {
        "audio": AudioEncoder("reference", weights=weights),
        "frames": FrameEncoder("reference", weights=weights),
        "clips": ClipEncoder("reference", weights=weights),
    }


def event_features(path: Path, nets: dict[str, dict[str, Encoder]]) -> Features:
    """What each model sees of each second of a clip: (10, dim) by name."""
    wave = read_audio(path, rate=16_000, channels=1).waveform[:, :160_000]
    frames = load_video(path, fps=8).images[:80]
    found = {
        "mean log-mel": log_mel(wave[0, : 10 * 16_000].reshape(10, -1), n_mels=64).mean(-1),
        "mean colour": frames.double().mean((2, 3)).reshape(10, 8, 3).mean(1),
    }
    for name, group in nets.items():
        with torch.no_grad():
            found[f"audio encoder, {name}"] = group["audio"](wave)[0]
            found[f"frame encoder, {name}"] = group["frames"](frames[None, 4::8])[0]
            found[f"clip encoder, {name}"] = group["clips"](frames[None])[0]
    return {name: values.numpy() for name, values in found.items()}


def scene_features(path: Path, nets: dict[str, dict[str, Encoder]]) -> Features:
    """What each model sees and hears of a whole scene in gray: (dim,) by name."""
    wave = read_audio(path, rate=16_000, channels=1).waveform[:, :160_000]
    frame = load_video(path, fps=1).images[5]
    lightness = _lightness(frame)
    found = {
        "gray: pixels, histogram, HOG": torch.from_numpy(describe(lightness.numpy())),
        "sound: mean log-mel": log_mel(wave[0], n_mels=64).mean(-1),
    }
    gray = (lightness / 100).float().expand(3, -1, -1)
    for name, group in nets.items():
        with torch.no_grad():
            seen = group["frames"](gray[None, None])[0, 0]
            heard = group["audio"](wave)[0]
        found[f"gray: frame encoder, {name}"] = seen
        found[f"gray and sound: both encoders, {name}"] = torch.cat([seen, heard.mean(0), heard.amax(0)])
    return {name: values.numpy() for name, values in found.items()}


def _lightness(frame: torch.Tensor) -> torch.Tensor:
    from skimage.color import rgb2lab

    return torch.from_numpy(rgb2lab(frame.permute(1, 2, 0).numpy())[..., 0])


def interval(score, clips: int) -> tuple[float, float]:
    """95 % interval of a score of rows of clips, by a bootstrap over clips."""
    draw = np.random.default_rng(0)
    scores = [score(draw.integers(0, clips, clips)) for _ in range(300)]
    return float(np.percentile(scores, 2.5)), float(np.percentile(scores, 97.5))


def events(work: Path, counts: dict[str, int], nets: dict[str, dict[str, Encoder]]) -> None:
    """Prints the table of event clips."""
    data: dict[str, list[Features]] = {}
    labels: dict[str, dict[str, np.ndarray]] = {}
    for split in SPLITS:
        videos = generate_clips("events", work / f"events-{split}", counts[split], split=split, workers=2)
        clips = [open_generator("events", split=split).clip(index) for index in range(counts[split])]
        data[split] = [event_features(videos / f"{clip.id}.mp4", nets) for clip in clips]
        truth = [clip.labels() for clip in clips]
        labels[split] = {name: np.stack([getattr(t, name).numpy() for t in truth]) for name in ("audio", "visual")}
    print("| events | features | test F1 | 95 % interval |\n|---|---|---|---|")
    for name in data["test"][0]:
        modality = "audio" if "audio" in name or "log-mel" in name else "visual"
        x = {split: np.stack([row[name] for row in data[split]]) for split in SPLITS}
        y = {split: labels[split][modality] for split in SPLITS}
        flat = {
            split: (x[split].reshape(-1, x[split].shape[-1]), y[split].reshape(-1, y[split].shape[-1])) for split in x
        }
        model, thresholds = fitted(flat["train"], flat["val"])
        guess = (model.predict_proba(flat["test"][0]) >= thresholds).reshape(y["test"].shape)

        def score(rows, guess=guess, truth=y["test"]) -> float:
            return macro_f1(truth[rows].reshape(-1, truth.shape[-1]), guess[rows].reshape(-1, truth.shape[-1]))

        low, high = interval(score, counts["test"])
        kind = "heard" if modality == "audio" else "seen"
        print(f"| {kind} | {name} | {score(np.arange(counts['test'])):.1f} | {low:.1f} to {high:.1f} |", flush=True)


def scenes(work: Path, counts: dict[str, int], nets: dict[str, dict[str, Encoder]]) -> None:
    """Prints the table of scenes."""
    data, classes = {}, {}
    for split in SPLITS:
        videos = generate_clips("scenes", work / f"scenes-{split}", counts[split], split=split, workers=2)
        clips = [open_generator("scenes", split=split).clip(index) for index in range(counts[split])]
        data[split] = [scene_features(videos / f"{clip.id}.mp4", nets) for clip in clips]
        classes[split] = np.array([clip.label for clip in clips])
    print("\n| scenes: class from | test accuracy | 95 % interval |\n|---|---|---|")
    for name in data["test"][0]:
        x = {split: np.stack([row[name] for row in data[split]]) for split in SPLITS}
        best = None
        for strength in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=3000))
            model.fit(x["train"], classes["train"])
            score = model.score(x["val"], classes["val"])
            if best is None or score > best[0]:
                best = score, model
        right = best[1].predict(x["test"]) == classes["test"]
        low, high = interval(lambda rows, right=right: 100 * right[rows].mean(), counts["test"])
        print(f"| {name} | {100 * right.mean():.1f} | {low:.1f} to {high:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for the clips, to be used again")
    parser.add_argument("--only", choices=("events", "scenes"))
    for split, clips in (("train", 200), ("val", 80), ("test", 80)):
        parser.add_argument(f"--{split}", type=int, default=clips, help=f"clips of the {split} split (%(default)s)")
    options = parser.parse_args()
    counts = {split: getattr(options, split) for split in SPLITS}
    print(", ".join(f"{count} {split}" for split, count in counts.items()), "clips\n")
    nets = {"random": encoders(None), "trained": encoders("pretrained")}
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        if options.only != "scenes":
            events(work, counts, nets)
        if options.only != "events":
            scenes(work, counts, nets)


if __name__ == "__main__":
    main()
