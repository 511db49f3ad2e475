"""Drawn features against cases worked by hand and closed forms."""

import pytest
import torch

from mediakit.parsing.simulation.features import Difficulty, draw_features, draw_prototypes, mix, strengths

QUIET = {"noise": 0.0, "instance_spread": 0.0, "background": 0.0, "gain": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_prototypes_have_length_one_and_the_stated_cosines():
    groups = torch.tensor([0, 0, 1, 2, 2, 2])
    prototypes = draw_prototypes(groups, 40, 0.3, generator())
    expected = 0.3 * (groups[:, None] == groups).float()
    torch.testing.assert_close(prototypes @ prototypes.T, expected.fill_diagonal_(1), atol=1e-6, rtol=0)


def test_strengths_worked_by_hand():
    """A class heard in seconds 1 and 2 of 4, seen in 2 and 3: its trace in second 3, a fifth from the neighbours."""
    heard = torch.tensor([0, 1, 1, 0]).view(1, 4, 1)
    seen = torch.tensor([0, 0, 1, 1]).view(1, 4, 1)
    assert strengths(heard, seen, 0.4, 0.0).flatten().tolist() == pytest.approx([0, 1, 1, 0.4])
    smeared = [0.1, 0.8 + 0.1, 0.8 + 0.1 + 0.04, 0.8 * 0.4 + 0.1 + 0.04]
    assert strengths(heard, seen, 0.4, 0.2).flatten().tolist() == pytest.approx(smeared)


def test_mixing_worked_by_hand():
    """Two classes that overlap in the second of three seconds."""
    level = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 0.5]]])
    instances = torch.tensor([[[2.0, 0.0], [1.0, 3.0]]])
    background = torch.tensor([[10.0, 20.0]])
    noise = torch.tensor([[[0.0, 0.0], [0.0, 0.25], [-1.0, 0.0]]])
    assert mix(level, instances, background, noise).tolist() == [[[12.0, 20.0], [13.0, 23.25], [9.5, 21.5]]]


def test_quiet_features_are_the_prototypes_of_what_is_on():
    prototypes = draw_prototypes(torch.tensor([0, 0, 1]), 8, 0.5, generator())
    level = torch.rand(300, 4, 3, generator=generator(1))
    drawn = draw_features(level, prototypes, Difficulty(**QUIET), generator(2))
    torch.testing.assert_close(drawn, level @ prototypes)


@pytest.mark.parametrize("knob", ["noise", "background", "instance_spread", "gain"])
def test_each_knob_is_the_deviation_it_is_described_as(knob):
    """One class in all ten seconds of 2,000 videos: deviations within and between videos, per direction."""
    difficulty = Difficulty(**{**QUIET, knob: 0.2})
    prototype = torch.nn.functional.normalize(torch.ones(1, 16))
    drawn = draw_features(torch.ones(2000, 10, 1), prototype, difficulty, generator())
    within, between = drawn.std(1).square().mean().sqrt(), drawn.mean(1).std(0).square().mean().sqrt()
    if knob == "gain":
        along = (drawn[:, 0] @ prototype[0]).log()
        assert along.std() == pytest.approx(0.2, rel=0.05)
        assert along.mean() == pytest.approx(0, abs=0.02)
        assert within < 1e-6
    elif knob == "noise":
        assert within == pytest.approx(0.2, rel=0.02)
        assert between == pytest.approx(0.2 / 10**0.5, rel=0.05)
    else:
        assert between == pytest.approx(0.2, rel=0.02)
        assert within < 1e-6
