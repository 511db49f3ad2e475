"""Plots: positions by hand."""

import re

import pytest
import torch

from mediakit.charts import clock, curves, round_ticks, time_ticks, timeline


@pytest.mark.parametrize(
    ("seconds", "step", "text"),
    [(0, 1, "0:00"), (59.96, 0.1, "1:00.0"), (61.25, 0.01, "1:01.25"), (3661, 1, "1:01:01"), (3599.7, 1, "1:00:00")],
)
def test_clock(seconds, step, text):
    assert clock(seconds, step) == text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-0.13, 0.21, [-0.1, 0, 0.1, 0.2]),
        (2.2, 9.1, [4, 6, 8]),
        (-30, 55, [-20, 0, 20, 40]),
    ],
)
def test_round_ticks(low, high, expected):
    assert round_ticks(low, high, 4) == pytest.approx(expected)


@pytest.mark.parametrize("end", [0.03, 0.9, 6.2, 61, 600, 5000, 86400])
def test_time_ticks_are_few_and_inside(end):
    ticks = time_ticks(0, end)
    assert 2 <= len(ticks) <= 8
    assert all(0 <= at <= 100 for at, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)


def test_a_curve_lies_where_its_values_say():
    time = torch.tensor([10.0, 11.0, 12.0])
    drawn = curves(time, torch.tensor([[0.0], [5.0], [10.0]]), ["pitch"], unit="°", least_span=20)
    # The axis spans 20 around the middle of 0..10: -5 to 15, so 0 lies a quarter up and 5 half way.
    assert drawn["series"][0]["path"] == "M0.0 75.00L500.0 50.00L1000.0 25.00"
    assert (25.0, "0°") in drawn["y_ticks"]
    assert drawn["x_ticks"][0] == (0.0, "0:10.0")
    assert "pitch 0.00 to 10.00" in drawn["label"]


def test_missing_values_break_the_curve():
    values = torch.tensor([[1.0], [float("nan")], [2.0], [2.0]])
    path = curves(torch.arange(4.0), values, ["x"], least_span=1)["series"][0]["path"]
    assert re.findall("[ML]", path) == ["M", "M", "L"]
    assert "nan" not in path


def test_bars_of_a_timeline_by_hand():
    drawn = timeline("t", [("dog", [(1, 5.0, 20.0, "text")])], [("a", "heard"), ("b", "seen")], 40.0)
    assert drawn["rows"] == [("dog", [(12.5, 37.5, 1, "b", "text")])]
    assert [text for _, text in drawn["x_ticks"]] == ["0:00", "0:10", "0:20", "0:30", "0:40"]
    assert drawn["step"] == 25.0
