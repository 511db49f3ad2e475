"""Scores against scikit-learn, torchmetrics, scipy and cases worked by hand."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from mediakit import base  # noqa: F401 imports torchmetrics where packages that it loads unasked are broken
from mediakit.deepfake.metrics import (
    accuracy,
    auc,
    average_precision,
    brier_score,
    equal_error_rate,
    expected_calibration_error,
    operating_point,
    risk_coverage,
    roc,
    score_interval,
    true_positive_rate,
)

# isort: split
from torchmetrics.functional.classification import binary_calibration_error, binary_sensitivity_at_specificity

RANKINGS = (auc, equal_error_rate, average_precision, true_positive_rate)
# Eighths: many ties, and exact in floating point.
ROWS = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


def tensors(rows):
    scores, labels = zip(*rows, strict=True)
    return torch.tensor(scores) / 8.0, torch.tensor(labels).long()


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_rankings_equal_other_libraries(rows):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn, which librosa brings")
    p, y = tensors(rows)
    assert auc(p, y) == pytest.approx(sklearn.roc_auc_score(y, p), abs=1e-12)
    u = mannwhitneyu(p[y == 1], p[y == 0]).statistic
    assert auc(p, y) == pytest.approx(u / int((y == 1).sum() * (y == 0).sum()), abs=1e-12)
    assert average_precision(p, y) == pytest.approx(sklearn.average_precision_score(y, p), abs=1e-12)
    for limit in (0.0, 0.05, 0.25, 0.5):
        other, _ = binary_sensitivity_at_specificity(p, y, 1 - limit)
        assert true_positive_rate(p, y, limit) == pytest.approx(float(other), abs=1e-6)
    # The equal error rate lies where a walk along the curve first finds both errors alike.
    false, true, _ = sklearn.roc_curve(y, p, drop_intermediate=False)
    step, walk = np.arange(len(false)), np.linspace(0, len(false) - 1, 20_001)
    meeting = np.argmax(np.interp(walk, step, false - (1 - true)) >= 0)
    assert equal_error_rate(p, y) == pytest.approx(np.interp(walk[meeting], step, false), abs=5e-3)
    assert brier_score(p, y) == pytest.approx(sklearn.brier_score_loss(y, p, pos_label=1), abs=1e-12)
    assert accuracy(p, y) == pytest.approx(sklearn.accuracy_score(y, p >= 0.5))
    assert accuracy(p, y, balanced=True) == pytest.approx(sklearn.balanced_accuracy_score(y, p >= 0.5))


def test_calibration_error_equals_torchmetrics():
    draw = torch.Generator().manual_seed(0)
    p = torch.rand(500, generator=draw)
    y = (torch.rand(500, generator=draw) < p**2).long()
    assert expected_calibration_error(p, y) == pytest.approx(float(binary_calibration_error(p, y, n_bins=15)), abs=1e-5)
    assert expected_calibration_error(torch.tensor([0.0, 0.3, 0.3, 1.0]), torch.tensor([0, 0, 1, 1]), 10) == (
        pytest.approx(0.5 * abs(0.3 - 0.5))
    )


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms())
def test_scores_depend_neither_on_order_nor_on_scale(rows, random):
    p, y = tensors(rows)
    random.shuffle(rows)
    q, z = tensors(rows)
    for metric in (*RANKINGS, accuracy, lambda p, y: risk_coverage(p, y).area):
        assert metric(p, y) == pytest.approx(metric(q, z), abs=1e-12)
    for metric in RANKINGS:
        assert metric(p, y) == metric(3 * p - 7, y)
    assert auc(p, y) == pytest.approx(1 - auc(-p, y), abs=1e-12)
    assert equal_error_rate(p, y) == pytest.approx(equal_error_rate(-p, 1 - y), abs=1e-12)


def test_scores_worked_by_hand():
    p, y = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.3]), torch.tensor([1, 0, 1, 1, 0])
    assert auc(p, y) == pytest.approx(4 / 6)  # of 6 pairs the fakes at .7 and .6 lose against the real at .8
    assert average_precision(p, y) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert true_positive_rate(p, y, 0.01) == pytest.approx(1 / 3)
    assert operating_point(p, y, 0.5) == pytest.approx((0.6, 1.0, 0.5))
    # From (FPR, misses) = (1/2, 1/3) back to (1/2, 2/3): equal at 1/2.
    assert equal_error_rate(p, y) == pytest.approx(0.5)
    assert roc(p, y).false_positives.tolist() == [0, 0, 1, 1, 1, 2]
    half = torch.full((5,), 0.5)
    assert [metric(half, y) for metric in RANKINGS] == pytest.approx([0.5, 0.5, 0.6, 0.0])
    assert [metric(y.double(), y) for metric in RANKINGS] == [1, 0, 1, 1]


def test_a_rate_that_rounds_down_in_floats_is_allowed():
    p = torch.cat([torch.arange(100) / 100, torch.tensor([0.705])])  # 29 reals lie above the fake
    y = torch.cat([torch.zeros(100), torch.ones(1)])
    assert 0.29 * 100 < 29
    assert [true_positive_rate(p, y, limit) for limit in (0.29, 0.28)] == [1, 0]


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_gives_nan_for_what_needs_two(label):
    p, y = torch.rand(4), torch.full((4,), label)
    assert all(math.isnan(metric(p, y)) for metric in RANKINGS)
    assert math.isnan(accuracy(p, y, balanced=True))
    assert all(math.isnan(end) for end in score_interval(auc, p, y))
    assert not math.isnan(accuracy(p, y))
    assert not math.isnan(brier_score(p, y))


def test_risk_coverage_worked_by_hand():
    #                 sure, right | sure, wrong | unsure, right | unsure, wrong | tie of the last two
    p, y = torch.tensor([0.99, 0.05, 0.7, 0.3]), torch.tensor([1, 1, 1, 1])
    curve = risk_coverage(p, y, decided=torch.tensor([True, True, False, False]))
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    # The two at equal distance count half an error each.
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 1.5 / 3, 2 / 4])
    assert curve.area == pytest.approx((0 + 0.5 + 0.5 + 0.5) / 4)
    assert (curve.decided_coverage, curve.decided_risk) == (0.5, 0.5)
    nobody = risk_coverage(p, y, torch.zeros(4, dtype=torch.bool))
    assert nobody.decided_coverage == 0
    assert math.isnan(nobody.decided_risk)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_risk_at_full_coverage_is_the_error_and_sorting_by_truth_is_best(rows):
    p, y = tensors(rows)
    curve = risk_coverage(p, y)
    assert float(curve.risk[-1]) == pytest.approx(1 - accuracy(p, y))
    wrong = ((p >= 0.5) != y.bool()).double().sort().values
    best = (wrong.cumsum(0) / torch.arange(1, len(p) + 1)).mean()
    assert curve.area >= float(best) - 1e-9


def test_interval_covers_the_true_value_over_persons():
    """Eight videos a person: 90 % intervals over persons hold the true AUC that often, over videos they do not."""
    true = NormalDist().cdf(1 / (2 * 1.0**2 + 2 * 0.1**2) ** 0.5)
    held = {"persons": 0, "videos": 0}
    draw = torch.Generator().manual_seed(1)
    trials, persons = 60, 30
    y = torch.arange(persons).ge(persons // 2).repeat_interleave(8).long()
    groups = torch.arange(persons).repeat_interleave(8)
    for trial in range(trials):
        person = torch.randn(persons, generator=draw).repeat_interleave(8)
        p = person + 0.1 * torch.randn(len(y), generator=draw) + y
        for name, of in (("persons", groups), ("videos", None)):
            low, high = score_interval(auc, p, y, of, 0.9, 100, trial)
            held[name] += low <= true <= high
    assert held["persons"] >= 0.8 * trials
    assert held["videos"] < 0.65 * trials


def test_interval_keeps_both_classes_and_pairs_models():
    p, y = torch.tensor([0.2, 0.4, 0.3, 0.9, 0.8]), torch.tensor([0, 0, 1, 1, 1])
    low, high = score_interval(auc, p, y, ["a", "b", "c", "d", "e"], samples=300)
    assert 0 <= low < auc(p, y) <= high <= 1
    both = torch.stack([p, p], 1)
    same = score_interval(lambda s, y: auc(s[:, 0], y) - auc(s[:, 1], y), both, y, samples=50)
    assert same == (0, 0)
    assert score_interval(auc, p, y, seed=3) == score_interval(auc, p, y, seed=3)
    assert all(math.isnan(end) for end in score_interval(auc, p, y, ["a"] * 5))


@pytest.mark.parametrize(
    ("p", "y", "words"),
    [
        ([0.5], [0, 1], "both be"),
        ([], [], "N >= 1"),
        ([0.5, math.nan], [0, 1], "1 of 2 scores"),
        ([0.5, 0.6], [0, 2], "labels must be"),
    ],
)
def test_bad_rows_are_refused(p, y, words):
    for metric in (*RANKINGS, accuracy, brier_score, expected_calibration_error, risk_coverage):
        with pytest.raises(ValueError, match=words):
            metric(torch.tensor(p), torch.tensor(y))


def test_bad_arguments_are_refused():
    p, y = torch.tensor([0.5, 0.6]), torch.tensor([0, 1])
    for call, words in (
        (lambda: brier_score(p + 1, y), r"\[0, 1\]"),
        (lambda: true_positive_rate(p, y, 1.5), "false_positive_rate"),
        (lambda: expected_calibration_error(p, y, 0), "bins"),
        (lambda: risk_coverage(p, y, threshold=1.0), "threshold"),
        (lambda: risk_coverage(p, y, torch.ones(3, dtype=torch.bool)), "decided"),
        (lambda: score_interval(auc, p, y, ["a"]), "1 groups"),
        (lambda: score_interval(auc, p, y, level=1.0), "level"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
