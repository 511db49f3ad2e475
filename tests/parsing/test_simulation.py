"""LLP-sim keeps what it promises: the same tensors, real labels, stated quality, and knobs that make it harder."""

import pytest
import torch

from mediakit.errors import MediakitError
from mediakit.features import same_encoder
from mediakit.parsing.annotations.tables import read_llp
from mediakit.parsing.metrics import avvp_scores
from mediakit.parsing.simulation.data import SimulatedDataModule
from mediakit.parsing.simulation.features import ALIKE, Difficulty
from mediakit.parsing.simulation.label_statistics import LabelStatistics

QUIET = {"noise": 0.0, "instance_spread": 0.0, "background": 0.0, "gain": 0.0}
SMALL = {"train": 300, "val": 40, "test": 600}


def tensors(split: str = "test", **options) -> dict[str, torch.Tensor]:
    return SimulatedDataModule(**{**SMALL, **options}).dataset(split).tensors


def test_every_class_of_llp_is_in_one_group():
    assert sorted(name for names in ALIKE for name in names) == sorted(SimulatedDataModule.classes)


def test_what_is_only_heard_leaves_its_trace_in_the_pictures():
    data = SimulatedDataModule(**SMALL, **{**QUIET, "confusion": 0.0, "smear": 0.0, "leak": 0.4})
    test = data.dataset("test").tensors
    only_heard = test["true_audio"].bool() & ~test["true_visual"].bool()
    assert only_heard.sum() > 1000
    for name in ("frames", "clips"):
        found = (test[name] @ data.prototypes[name].T)[only_heard]
        torch.testing.assert_close(found, torch.full_like(found, 0.4), atol=1e-5, rtol=0)


def test_same_arguments_same_tensors_in_any_order():
    first, second = SimulatedDataModule(**SMALL), SimulatedDataModule(**SMALL)
    ahead = {split: first.dataset(split).tensors for split in ("train", "val", "test")}
    after = {split: second.dataset(split).tensors for split in ("test", "val", "train")}
    for split, expected in ahead.items():
        assert all(torch.equal(after[split][name], values) for name, values in expected.items())
    other = tensors(seed=1)
    assert not torch.equal(other["labels"], ahead["test"]["labels"])
    assert not torch.allclose(other["audio"], ahead["test"]["audio"])
    assert not torch.equal(ahead["train"]["labels"][:40], ahead["val"]["labels"])


def test_a_smaller_split_is_the_beginning_of_a_larger_one():
    few, many = tensors(test=270), tensors()
    for name in ("audio", "frames", "clips", "labels", "true_audio", "true_visual"):
        assert torch.equal(few[name], many[name][:270]), name


def test_batches_are_those_of_parsing():
    data = SimulatedDataModule(**SMALL, batch_size=8)
    data.setup("fit")
    data.setup("predict")
    batch = next(iter(data.val_dataloader()))
    shapes = {"audio": (8, 10, 128), "frames": (8, 10, 128), "clips": (8, 10, 64), "labels": (8, 25), "valid": (8, 10)}
    shapes |= {f"{m}_segments": (8, 10, 25) for m in ("audio", "visual")}
    truth = {f"true_{m}": (8, 10, 25) for m in ("audio", "visual")}
    assert {k: tuple(v.shape) for k, v in batch.items() if k != "id"} == shapes | truth
    kinds = {"valid": torch.bool, "true_audio": torch.uint8, "true_visual": torch.uint8}
    assert all(v.dtype == kinds.get(k, torch.float32) for k, v in batch.items() if k != "id")
    assert batch["id"] == [f"llp-sim-val-0-{n:05d}" for n in range(8)]
    assert batch["valid"].all()
    assert next(iter(data.train_dataloader())).keys() == {"id", *shapes}
    assert len(next(iter(data.predict_dataloader()))["id"]) == 8


def test_pseudo_labels_have_the_stated_f_and_are_never_the_truth():
    data = SimulatedDataModule(train=1000, pseudo_f_audio=70.0, pseudo_f_visual=88.0)
    train, known = data.dataset("train").tensors, data.annotations("train")
    given = [train[f"{modality}_segments"] for modality in ("audio", "visual")]
    scores = avvp_scores(*given, known.audio, known.visual)
    assert scores["segment_audio"] == pytest.approx(70, abs=0.2)
    assert scores["segment_visual"] == pytest.approx(88, abs=0.2)
    for labelled, true in zip(given, (known.audio, known.visual), strict=True):
        assert not torch.equal(labelled, true.float())


@pytest.mark.parametrize(
    ("knob", "values"),
    [
        ("noise", (0.05, 0.2, 0.5)),
        ("leak", (0.0, 0.4, 0.8)),
        ("confusion", (0.0, 0.5, 0.9)),
        ("smear", (0.0, 0.4, 0.8)),
    ],
)
def test_a_probe_falls_as_a_knob_rises(knob, values):
    """Least squares from pictures to what is seen, in closed form; area under the ROC curve of its scores."""
    found = []
    for value in values:
        test = tensors(**{knob: value})
        x, y = torch.cat([test["frames"], test["clips"]], -1).flatten(0, 1), test["true_visual"].flatten(0, 1).float()
        x = torch.cat([x, torch.ones(len(x), 1)], 1)
        fit, check = slice(0, 4500), slice(4500, None)
        weights = torch.linalg.solve(x[fit].T @ x[fit] + torch.eye(x.shape[1]), x[fit].T @ y[fit])
        guess, truth = (x[check] @ weights).flatten(), y[check].flatten().bool()
        rank = guess.argsort().argsort().double()
        positive, negative = truth.sum().item(), (~truth).sum().item()
        found.append((rank[truth].sum().item() - positive * (positive - 1) / 2) / (positive * negative))
    assert found[0] > found[1] > found[2], found


def test_real_labels_are_used_as_they_are(shared_data):
    folder = str(shared_data / "llp")
    data = SimulatedDataModule(labels=folder, train=300, val=50, audio_dim=32, frame_dim=33, clip_dim=40)
    for split, count in (("train", 300), ("val", 50), ("test", 1200)):
        real, used, made = read_llp(folder, split), data.annotations(split), data.dataset(split)
        assert len(made) == count
        assert used.ids == real.ids[:count]
        assert torch.equal(made.tensors["labels"], real.labels[:count].float())
        if split == "train":
            assert torch.equal((used.audio | used.visual).amax(1), used.labels)
        else:
            assert torch.equal(made.tensors["true_audio"], real.audio[:count])
            assert torch.equal(made.tensors["true_visual"], real.visual[:count])
    assert "labels of LLP, events of 2020" in data.source
    assert "pseudo-labels of segment F 78 audio, 75 visual" in data.annotations("test").source
    with pytest.raises(MediakitError, match="val has 649 videos, not the 650 asked for"):
        SimulatedDataModule(labels=folder, val=650).annotations("val")


def test_a_model_trained_here_is_refused_other_features():
    cards, same, other = (SimulatedDataModule(seed=seed).encoders for seed in (0, 0, 1))
    for name, card in cards.items():
        same_encoder(card, same[name], name)
        with pytest.raises(MediakitError, match="LLP-sim"):
            same_encoder(card, other[name], name)
        with pytest.raises(MediakitError, match="LLP-sim"):
            same_encoder(card, {"name": "VGGish", "dim": 128}, name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": 0}, "val must be 1 video or more, got 0"),
        ({"noise": -0.1}, "noise must be 0 or more, got -0.1"),
        ({"confusion": 1.0}, "confusion must be 0 or more and below 1, got 1.0"),
        ({"clip_dim": 30}, "25 classes in 6 groups need at least 31 dimensions, got 30"),
        ({"pseudo_f_audio": 100.0, **SMALL}, "segment F 100 cannot be made"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(MediakitError, match=message):
        SimulatedDataModule(**options).dataset("val")


def test_defaults_of_the_constructor_are_those_of_the_knobs():
    assert SimulatedDataModule().difficulty == Difficulty()
    assert LabelStatistics.llp().classes == SimulatedDataModule.classes
