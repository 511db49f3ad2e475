"""Are the scenes too easy? `python benchmarks/synthetic_scenes.py [--train 300] [--test 120]`.

Logistic regressions on one frame's gray alone, and on the mean log-mel spectrum alone, for the class and for the group.
Gray should tell the group and, of the class, no more than which group it is in: at the most groups / classes. It is
measured as it is drawn, from 8-bit frames and from the compressed file; video luma is shown for comparison.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from skimage.color import rgb2lab
from skimage.feature import hog
from skimage.transform import resize
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from mediakit.encoders import log_mel
from mediakit.io import read_video, write_video
from mediakit.synthetic.scenes import Scene, Scenes


def describe(gray: np.ndarray) -> np.ndarray:
    """Gray pixels (16 x 16), a histogram of 32 bins and HOG of an image (H, W) in 0 to 100."""
    small = resize(gray, (16, 16), anti_aliasing=True).ravel()
    histogram = np.histogram(gray, 32, (0, 100))[0] / gray.size * 100
    return np.concatenate(
        [small / 10, histogram, 5 * hog(gray / 100, pixels_per_cell=(16, 16), cells_per_block=(1, 1))]
    )


def features(scene: Scene) -> dict[str, np.ndarray]:
    """What a model could see or hear of a scene."""
    frames = list(islice(scene.frames(), scene.fps))  # a second
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.mp4"
        write_video(path, frames, scene.fps)
        decoded = list(read_video(path))[-1].image
    rgb = {"8 bit": frames[-1], "mp4": decoded}
    out = {"gray, as drawn": describe(scene.gray_and_ab(scene.fps - 1)[0].numpy())}
    for name, image in rgb.items():
        image = image.permute(1, 2, 0).numpy()
        out[f"gray, {name}"] = describe(rgb2lab(image)[..., 0])
    out["luma, 8 bit"] = describe(rgb["8 bit"].permute(1, 2, 0).numpy() @ np.array([0.299, 0.587, 0.114]) / 2.55)
    out["sound"] = log_mel(scene.sound().waveform[0]).mean(-1).numpy()
    return out


def accuracy(data: dict[str, list], name: str, target: Callable[[Scene], str]) -> tuple[float, float]:
    """Accuracy on test with C chosen on val, and half the 95 % interval."""
    x = {split: np.stack([row[name] for row, _ in rows]) for split, rows in data.items()}
    y = {split: np.array([target(scene) for _, scene in rows]) for split, rows in data.items()}

    def fitted(c: float):
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(x["train"], y["train"])

    best = max((fitted(10.0**power) for power in (-4, -3, -2, -1)), key=lambda model: model.score(x["val"], y["val"]))
    score = best.score(x["test"], y["test"])
    return score, 1.96 * (score * (1 - score) / len(y["test"])) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=300)
    parser.add_argument("--test", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recordings", help="pattern with {folds}, for example '../shared/data/esc10/*/{folds}-*.ogg'")
    parser.add_argument("--groups", type=int, default=4)
    options = parser.parse_args()
    data = {}
    for split, count, folds in (
        ("train", options.train, "[1-3]"),
        ("val", options.test, "4"),
        ("test", options.test, "5"),
    ):
        recordings = options.recordings and options.recordings.replace("{folds}", folds)
        scenes = Scenes(seed=options.seed, split=split, groups=options.groups, recordings=recordings)
        clips = [scenes.clip(i) for i in range(count)]
        data[split] = [(features(clip), clip) for clip in tqdm(clips, desc=split)]
    print(
        f"{len(scenes.groups)} groups, {len(scenes.classes)} classes; {options.train} train, {options.test} test clips"
    )
    print(f"ceiling of gray for the class: {len(scenes.groups) / len(scenes.classes):.1%}")
    print(f"{'sees':16} {'class':>16} {'group':>16}")
    for name in data["test"][0][0]:
        scores = [accuracy(data, name, target) for target in (lambda s: s.label, lambda s: s.group)]
        print(f"{name:16}", *(f"{100 * score:8.1f} ± {100 * half:3.1f} %" for score, half in scores))


if __name__ == "__main__":
    main()
