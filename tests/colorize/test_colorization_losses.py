"""Losses of colorization against hand-worked cases."""

import math

import torch

from mediakit.colorize.losses import alignment_loss, color_loss, pick, relevance_loss


def test_color_loss_is_a_square_near_zero_and_a_line_beyond():
    target = torch.zeros(2, 2, 1, 1)
    near, far = torch.full((1, 2, 1, 1), 2.2), torch.full((1, 2, 1, 1), 22.0)  # 0.02 and 0.2 of the range
    found = color_loss(torch.cat([near, far]), target)
    torch.testing.assert_close(found, torch.tensor([0.02**2 / 2 / 0.05, 0.2 - 0.05 / 2]))


def test_alignment_of_two_pairs_by_hand():
    heard = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    seen = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    distance, contrast = alignment_loss(heard, seen, temperature=0.5)
    assert distance.item() == 0.5
    # Cosines over tau: [[2, 2], [0, 0]]: rows are even; columns prefer the first sound by 2.
    rows = math.log(2)
    columns = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2
    torch.testing.assert_close(contrast, torch.tensor((rows + columns) / 2))


def test_alignment_is_least_for_equal_vectors():
    vectors = torch.eye(4)
    assert alignment_loss(vectors, vectors)[0] == 0
    assert alignment_loss(vectors, vectors)[1] < 1e-4
    assert alignment_loss(vectors, vectors.flip(0))[1] > 10


def test_relevance_loss_counts_both_sides_alike():
    right, wrong = torch.tensor([0.0]), torch.tensor([math.log(3), 100.0, math.log(3)])
    found = relevance_loss(right, wrong, torch.tensor([True, False, True]))
    torch.testing.assert_close(found, torch.tensor((math.log(2) + math.log(4)) / 2))
    assert relevance_loss(torch.zeros(0), wrong, torch.zeros(3, dtype=torch.bool)) == 0


def test_pick_takes_a_candidate_of_each_or_none():
    kinds = torch.tensor([0, 0, 1, 2])
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(200):
        chosen = pick(kinds[:, None] != kinds, torch.rand(4, 4, generator=generator))
        assert (kinds[chosen] != kinds).all()
        seen.add(int(chosen[0]))
    assert seen == {2, 3}  # each of the candidates has its turn
    assert pick(torch.zeros(2, 3, dtype=torch.bool), torch.rand(2, 3)).tolist() == [-1, -1]
