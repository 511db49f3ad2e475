"""Pseudo-labels of a stated quality: the field's metric says whether they have it."""

import pytest
import torch

from mediakit.errors import MediakitError
from mediakit.parsing.metrics import avvp_scores
from mediakit.parsing.simulation.label_noise import KINDS, corrupt
from mediakit.parsing.simulation.label_statistics import LabelStatistics, sample_dense, sample_weak


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def truth() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    labels = sample_weak(LabelStatistics.llp(), 1500, generator())
    return labels, *sample_dense(labels, LabelStatistics.llp(), generator(1))


@pytest.mark.parametrize("target", [55.0, 78.0, 96.5])
def test_f_is_the_one_asked_for_and_classes_are_the_weak_label_s(truth, target):
    labels, audio, visual = truth
    noisy_audio = corrupt(audio, visual, labels, target, generator(2))
    noisy_visual = corrupt(visual, audio, labels, target, generator(3))
    scores = avvp_scores(noisy_audio, noisy_visual, audio, visual)
    assert scores["segment_audio"] == pytest.approx(target, abs=0.1)
    assert scores["segment_visual"] == pytest.approx(target, abs=0.1)
    for noisy, known in ((noisy_audio, audio), (noisy_visual, visual)):
        assert noisy.dtype == torch.uint8
        assert not torch.equal(noisy, known)
        assert not (noisy.amax(1) > labels).any()


def test_a_lower_f_adds_errors_to_those_of_a_higher_one(truth):
    labels, audio, visual = truth
    high, low = (corrupt(audio, visual, labels, f, generator(2)) for f in (85, 65))
    wrong = (high != audio).any(1)
    assert torch.equal(high.mT[wrong], low.mT[wrong])
    assert (low != audio).any(1).sum() > wrong.sum()
    assert torch.equal(low, corrupt(audio, visual, labels, 65, generator(2)))
    assert not torch.equal(low, corrupt(audio, visual, labels, 65, generator(4)))


def test_errors_are_of_the_kinds_and_shares_described():
    """One class that fills every video: what is cut at one end was moved, what is gone was filled or dropped."""
    whole = torch.ones(8000, 10, 1, dtype=torch.uint8)
    noisy = corrupt(whole, whole, whole[:, 0], 65.0, generator()).squeeze(2)
    wrong = noisy[(noisy == 0).any(1)]
    length, runs = wrong.sum(1), wrong[:, 0] + (wrong.diff(dim=1) == 1).sum(1)
    moved = (runs == 1) & (wrong[:, 0] != wrong[:, -1]) & (length >= 7)
    lost = length == 0
    assert len(wrong) > 5000
    assert lost.float().mean() == pytest.approx(KINDS["filled"] + KINDS["dropped"], abs=0.03)
    # A few flickering ones look as if moved: flips that happen to be one to three seconds at one end.
    assert -0.015 < moved.float().mean() - KINDS["moved"] < 0.03


def test_what_a_modality_lacks_is_found_where_the_other_has_it():
    heard = torch.zeros(400, 10, 2, dtype=torch.uint8)
    heard[:, 2:7, 0] = 1
    labels = torch.tensor([[1, 0]], dtype=torch.uint8).expand(400, 2)
    noisy = corrupt(torch.zeros_like(heard), heard, labels, 50.0, generator())
    found = noisy.amax((1, 2)) == 1
    assert found.sum() == 200  # a video with nothing scores 1 if left alone, 0 if anything is found
    assert torch.equal(noisy[found], heard[found])


def test_an_f_that_cannot_be_had_is_refused_with_the_limits(truth):
    labels, audio, visual = truth
    with pytest.raises(MediakitError, match=r"segment F 100 .* at least 4\d\.\d .* below 100\.0"):
        corrupt(audio, visual, labels, 100, generator())
    with pytest.raises(MediakitError, match="segment F 5 cannot"):
        corrupt(audio, visual, labels, 5, generator())
