"""Windows and their blend: by hand, and by what must come back unchanged."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mediakit.parsing.windows import blend, most, windows


@pytest.mark.parametrize(
    ("count", "size", "step", "expected"),
    [
        (1, 10, 5, [(0, 1)]),
        (10, 10, 5, [(0, 10)]),
        (11, 10, 5, [(0, 10), (1, 11)]),
        (20, 10, 5, [(0, 10), (5, 15), (10, 20)]),
        (23, 10, 5, [(0, 10), (5, 15), (10, 20), (13, 23)]),
        (7, 3, 3, [(0, 3), (3, 6), (4, 7)]),
    ],
)
def test_windows_by_hand(count, size, step, expected):
    assert windows(count, size, step) == expected


lengths = st.integers(1, 12).flatmap(lambda size: st.tuples(st.integers(1, 60), st.just(size), st.integers(1, size)))


@given(lengths)
def test_windows_cover_every_second_and_are_whole(numbers):
    count, size, step = numbers
    spans = windows(*numbers)
    assert set().union(*(range(*span) for span in spans)) == set(range(count))
    assert {stop - start for start, stop in spans} == {min(size, count)}
    assert all(0 < b[0] - a[0] <= step for a, b in pairwise(spans))


@pytest.mark.parametrize("numbers", [(0, 10, 5), (20, 10, 0), (20, 10, 11)])
def test_windows_that_cannot_be(numbers):
    with pytest.raises(ValueError, match="got count"):
        windows(*numbers)


@given(lengths)
def test_windows_that_agree_are_not_changed(numbers):
    count = numbers[0]
    truth = torch.rand(count, 2, 3, generator=torch.Generator().manual_seed(count))
    spans = windows(*numbers)
    seen = torch.stack([truth[start:stop] for start, stop in spans])
    torch.testing.assert_close(blend(seen, spans, count), truth)


def test_one_window_is_exactly_itself():
    values = torch.rand(1, 7, 5)
    assert torch.equal(blend(values, [(0, 7)], 7), values[0])


def test_blend_by_hand():
    # Two windows of 4 share 2 seconds, weights 1 2 2 1: (2 * 0 + 1 * 1) / 3, then (1 * 0 + 2 * 1) / 3.
    values = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1]])
    mixed = blend(values, [(0, 4), (2, 6)], 6)
    torch.testing.assert_close(mixed, torch.tensor([0, 0, 1 / 3, 2 / 3, 1, 1]))


def test_values_of_other_windows_are_refused():
    with pytest.raises(ValueError, match="do not fit the windows"):
        blend(torch.zeros(2, 4), [(0, 4)], 4)
    with pytest.raises(ValueError, match="do not fit the windows"):
        blend(torch.zeros(1, 4), [(0, 5)], 5)


def test_the_most_of_the_windows_around_each_second():
    values = torch.tensor([[0.1, 0.9], [0.5, 0.2], [0.3, 0.3]])
    first, second = most(values, [(0, 3), (2, 5), (3, 6)], 6).T
    assert torch.equal(first, torch.tensor([0.1, 0.1, 0.5, 0.5, 0.5, 0.3]))
    assert torch.equal(second, torch.tensor([0.9, 0.9, 0.9, 0.3, 0.3, 0.3]))
