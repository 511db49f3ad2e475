"""The chosen thresholds are the best there are, by trying all."""

import numpy as np
import pytest
import torch

from mediakit.errors import MediaError, MediakitError
from mediakit.parsing.annotations.tables import Annotations
from mediakit.parsing.pseudo_labels.recipe import pseudo_labels
from mediakit.parsing.pseudo_labels.thresholds import choose_threshold, tune_thresholds


def f_score(found, truth) -> float:
    tp = fp = fn = 0
    for guess, true in zip(found.flatten().tolist(), truth.flatten().tolist(), strict=True):
        tp, fp, fn = tp + (guess and true), fp + (guess and not true), fn + (true and not guess)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else float("nan")


def example(seed: int, videos: int = 12, seconds: int = 6, classes: int = 4):
    """Similarities that lie higher where a class is present, some of them equal; truth also outside the weak label."""
    draw = torch.Generator().manual_seed(seed)
    weak = (torch.rand(videos, classes, generator=draw) < 0.6).to(torch.uint8)
    truth = (torch.rand(videos, seconds, classes, generator=draw) < 0.4) & (weak[:, None] > 0)
    truth[0, 0] = True
    values = torch.randn(videos, seconds, classes, generator=draw) + 2 * truth
    return (values * 4).round() / 4, weak, truth.to(torch.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better(seed):
    values, weak, truth = example(seed)
    found = choose_threshold(values, weak, truth, min_videos=1)
    tried = [values.min() - 1, *(values.flatten().unique() + 0.125)]
    for k in range(4):
        scores = [f_score(pseudo_labels(values, weak, float(t))[..., k], truth[..., k]) for t in tried]
        assert found.f_score[k].item() == pytest.approx(max(scores), abs=1e-12)
    labels = pseudo_labels(values, weak, found.threshold)
    assert [f_score(labels[..., k], truth[..., k]) for k in range(4)] == pytest.approx(found.f_score.tolist())
    scores = [f_score(pseudo_labels(values, weak, float(t)), truth) for t in tried]
    assert found.shared_f_score == pytest.approx(max(scores), abs=1e-12)
    assert f_score(pseudo_labels(values, weak, found.shared), truth) == pytest.approx(max(scores))


def test_by_hand():
    # One class, six seconds of one video, best cut between 4 and 2: TP 2, FP 1, FN 0, F = 4/5.
    values = torch.tensor([5.0, 4.5, 4.0, 2.0, 1.0, 0.0])[None, :, None]
    truth = torch.tensor([1, 0, 1, 0, 0, 0])[None, :, None]
    found = choose_threshold(values, torch.ones(1, 1), truth, min_videos=1)
    assert (found.threshold.item(), found.f_score.item()) == (3.0, pytest.approx(0.8))
    all_kept = choose_threshold(values, torch.ones(1, 1), torch.ones_like(truth), min_videos=1)
    assert (all_kept.threshold.item(), all_kept.f_score.item()) == (-1.0, 1.0)  # 1 below the lowest


def test_classes_of_few_videos_share_a_threshold():
    values, weak, truth = example(0)
    weak[:, 2] = 0
    weak[:4, 2] = 1
    truth[:, :, 2] *= weak[:, None, 2]
    found = choose_threshold(values, weak, truth, min_videos=5)
    assert found.threshold[2] == found.shared
    assert choose_threshold(values, weak, truth, min_videos=4).threshold[2] != found.shared


def test_what_cannot_be_chosen_is_an_error():
    values, weak, truth = example(1)
    with pytest.raises(ValueError, match="nothing to choose"):
        choose_threshold(values, weak, torch.zeros_like(truth))
    with pytest.raises(ValueError, match="must have one shape"):
        choose_threshold(values, weak, truth[:, :3])


def test_from_a_folder(tmp_path):
    values, weak, truth = example(2, videos=10, seconds=6, classes=3)
    lengths = [6, 5, 4, 6, 6, 6, 6, 6, 6, 6]
    ids = [f"video-{n:05d}_0_6" for n in range(10)]
    for n, (id, length) in enumerate(zip(ids, lengths, strict=True)):
        for modality, factor in (("audio", 1), ("visual", -1)):
            path = tmp_path / "similarities" / modality / f"{id[:11] if n == 3 else id}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, factor * values[n, :length].numpy())
    (tmp_path / "similarities" / "audio" / "stranger.npy").write_bytes(b"not looked at")
    known = Annotations("toy val", ("a", "b", "c"), tuple(ids), weak, truth, truth[:, :5], ())
    found = tune_thresholds(tmp_path, known, min_videos=1)

    padded = values.clone()
    for n, length in enumerate(lengths):
        padded[n, length:] = -torch.inf
    shown = truth * torch.isfinite(padded)
    expected = choose_threshold(padded, weak, shown, min_videos=1)
    assert torch.equal(found["audio"].threshold, expected.threshold)
    shown[:, 5:] = 0  # nothing is seen beyond the truth's end
    expected = choose_threshold(torch.where(padded.isinf(), padded, -padded), weak, shown, min_videos=1)
    assert torch.equal(found["visual"].threshold, expected.threshold)
    assert found["visual"].shared_f_score == expected.shared_f_score

    with pytest.raises(MediakitError, match="toy train: has no dense truth"):
        tune_thresholds(tmp_path, Annotations("toy train", ("a", "b", "c"), tuple(ids), weak, None, None, ()))
    with pytest.raises(MediakitError, match="holds no similarities of toy val"):
        tune_thresholds(tmp_path / "audio", known)
    with pytest.raises(MediaError, match="is of 3 classes, not 2"):
        tune_thresholds(tmp_path, Annotations("toy", ("a", "b"), tuple(ids), weak[:, :2], truth, truth, ()))
