"""Masses: the worked example, laws of the rules on random masses, and training through extremes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mediakit.deepfake.evidence import (
    RULES,
    average,
    belief_interval,
    calibrate,
    cautious_combine,
    combine,
    dempster_combine,
    discount,
    fit_calibration,
    masses_from_logits,
    masses_from_probability,
    pignistic,
    yager_combine,
)
from mediakit.errors import MediakitError

VACUOUS = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
unit = st.floats(0, 1, allow_subnormal=False)
laws = settings(max_examples=60, deadline=None)


def mass(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@st.composite
def masses(draw, least_unknown: float = 0.0) -> torch.Tensor:
    """Any mass whose unknown part is at least so large."""
    unknown = draw(st.floats(least_unknown, 1, allow_subnormal=False))
    fake = draw(unit) * (1 - unknown)
    return mass(fake, 1 - unknown - fake, unknown).clamp_min(0)


def close(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-9) -> bool:
    return bool(torch.allclose(a, b, rtol=1e-7, atol=atol))


def textbook_dempster(m1: list[float], m2: list[float]) -> tuple[list[float], float]:
    """Dempster's rule over all pairs of subsets of {fake, real}, as Shafer's book writes it."""
    subsets = [frozenset("F"), frozenset("R"), frozenset("FR")]
    joint: dict[frozenset, float] = {}
    for a, x in zip(subsets, m1, strict=True):
        for b, y in zip(subsets, m2, strict=True):
            joint[a & b] = joint.get(a & b, 0.0) + x * y
    conflict = joint.pop(frozenset(), 0.0)
    return [joint.get(a, 0.0) / (1 - conflict) for a in subsets], conflict


def textbook_cautious(m1: list[float], m2: list[float]) -> list[float]:
    """Denœux's rule by its definition: canonical weights, their minimum, conjunction of the simple functions."""

    def weights(m: list[float]) -> tuple[float, float]:
        fake, real, unknown = m
        return unknown / (fake + unknown), unknown / (real + unknown)  # w(A) = q(Θ) / q(A)

    w_fake, w_real = (min(pair) for pair in zip(weights(m1), weights(m2), strict=True))
    return textbook_dempster([1 - w_fake, 0, w_fake], [0, 1 - w_real, w_real])[0]


def test_the_worked_example():
    fused, conflict = dempster_combine(mass(0.6, 0.1, 0.3), mass(0.5, 0.2, 0.3))
    assert conflict.item() == pytest.approx(0.17)
    assert fused.tolist() == pytest.approx([0.7590, 0.1325, 0.1084], abs=5e-5)
    assert [round(float(x), 4) for x in belief_interval(fused)] == [0.7590, 0.8675]
    assert pignistic(fused).item() == pytest.approx(0.8133, abs=5e-5)


def test_agreeing_with_itself_makes_dempster_surer_and_leaves_the_cautious_rule_alone():
    three = mass(0.6, 0.1, 0.3).expand(3, 3)
    assert pignistic(three[0]).item() == pytest.approx(0.75)
    assert pignistic(combine(three)[0]).item() == pytest.approx(0.934, abs=5e-4)
    assert close(combine(three, "cautious")[0], three[0])
    assert close(combine(three, "mean")[0], three[0])


@given(masses(), masses())
@laws
def test_dempster_is_the_sum_over_pairs_of_subsets(m1, m2):
    fused, conflict = dempster_combine(m1, m2)
    if conflict < 1 - 1e-5:
        expected, k = textbook_dempster(m1.tolist(), m2.tolist())
        assert fused.tolist() == pytest.approx(expected, abs=1e-9)
        assert conflict.item() == pytest.approx(k, abs=1e-12)


@given(masses(1e-3), masses(1e-3))
@laws
def test_the_cautious_rule_is_the_least_of_the_canonical_weights(m1, m2):
    assert cautious_combine(m1, m2)[0].tolist() == pytest.approx(textbook_cautious(m1.tolist(), m2.tolist()), abs=1e-9)


@pytest.mark.parametrize("rule", [dempster_combine, yager_combine, cautious_combine])
@given(m1=masses(), m2=masses())
@laws
def test_results_are_masses_whatever_the_order_and_nothing_known_adds_nothing(rule, m1, m2):
    fused, conflict = rule(m1, m2)
    assert (fused >= 0).all()
    assert fused.sum().item() == pytest.approx(1)
    assert 0 <= conflict <= 1 + 1e-12
    assert close(fused, rule(m2, m1)[0])
    assert close(rule(m1, VACUOUS)[0], m1)


@pytest.mark.parametrize("rule", [dempster_combine, cautious_combine])
@given(m1=masses(1e-3), m2=masses(1e-3), m3=masses(1e-3))
@laws
def test_associative(rule, m1, m2, m3):
    left = rule(rule(m1, m2)[0], m3)[0]
    assert close(left, rule(m1, rule(m2, m3)[0])[0])
    name = "dempster" if rule is dempster_combine else "cautious"
    assert close(left, combine(torch.stack([m1, m2, m3]), name)[0])


@given(masses())
@laws
def test_the_cautious_rule_is_idempotent(m):
    assert close(cautious_combine(m, m)[0], m)


@given(unit, unit)
@laws
def test_two_probabilities_join_as_bayes_does(p1, p2):
    evidence = p1 * p2 + (1 - p1) * (1 - p2)
    fused, conflict = dempster_combine(mass(p1, 1 - p1, 0), mass(p2, 1 - p2, 0))
    if evidence >= 1e-5:
        assert fused.tolist() == pytest.approx([p1 * p2 / evidence, (1 - p1) * (1 - p2) / evidence, 0], abs=1e-9)
    assert conflict.item() == pytest.approx(1 - evidence, abs=1e-9)


@given(masses(1e-3), masses(1e-3), masses(1e-3))
@laws
def test_conflict_of_several_is_what_dempster_divides_away(m1, m2, m3):
    first, k1 = dempster_combine(m1, m2)
    _, k2 = dempster_combine(first, m3)
    for rule in RULES:
        assert combine(torch.stack([m1, m2, m3]), rule)[1].item() == pytest.approx(float(1 - (1 - k1) * (1 - k2)))


@given(masses(), masses(), masses())
@laws
def test_yager_takes_all_at_once_and_in_any_order(m1, m2, m3):
    fused, conflict = combine(torch.stack([m1, m2, m3]), "yager")
    assert close(fused, combine(torch.stack([m3, m1, m2]), "yager")[0])
    assert fused.sum().item() == pytest.approx(1)
    assert fused[2].item() == pytest.approx(float(m1[2] * m2[2] * m3[2] + conflict), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_contradiction_falls_back_to_unknown_and_says_so(dtype):
    sure_fake, sure_real = (torch.tensor(m, dtype=dtype) for m in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]))
    for rule in ("dempster", "yager"):
        fused, conflict = combine(torch.stack([sure_fake, sure_real]), rule)
        assert fused.tolist() == [0, 0, 1]
        assert conflict == 1
    # just short of it, what little they agree on still decides, and float32 does not lose it
    almost = [1 - 2e-4, 1e-4, 1e-4]
    other = [almost[k] for k in (1, 0, 2)]
    fused, _ = dempster_combine(torch.tensor(almost, dtype=dtype), torch.tensor(other, dtype=dtype))
    assert fused.tolist() == pytest.approx(textbook_dempster(almost, other)[0], rel=1e-6)


def test_dogmatic_sources_under_the_cautious_rule_are_the_limit_of_small_discounts():
    cases = ([(0.9, 0.1, 0.0), (0.2, 0.3, 0.5)], [(0.9, 0.1, 0.0), (0.4, 0.6, 0.0)])
    for m1, m2 in cases:
        exact, _ = cautious_combine(mass(*m1), mass(*m2))
        nearly, _ = cautious_combine(discount(mass(*m1), 1 - 1e-9), discount(mass(*m2), 1 - 1e-9))
        assert close(exact, nearly, atol=1e-7)
    assert cautious_combine(mass(0.9, 0.1, 0), mass(0.2, 0.3, 0.5))[0].tolist() == pytest.approx([0.9, 0.1, 0])
    assert cautious_combine(mass(0.9, 0.1, 0), mass(0.4, 0.6, 0))[0].tolist() == pytest.approx([0.6, 0.4, 0])


def test_masses_of_logits_and_the_evidence_that_the_cautious_rule_takes():
    logits = torch.tensor([[2.0, -1.0], [0.5, 1.5]], dtype=torch.float64)
    e = [[math.log1p(math.exp(x)) for x in row] for row in logits.tolist()]
    m = masses_from_logits(logits)
    assert m[0].tolist() == pytest.approx([e[0][0] / (sum(e[0]) + 2), e[0][1] / (sum(e[0]) + 2), 2 / (sum(e[0]) + 2)])
    assert close(cautious_combine(m[0], m[1])[0], masses_from_logits(logits.amax(0)))
    assert masses_from_logits(logits.half()).dtype == torch.float32


@given(unit, unit, unit)
@laws
def test_discount_scales_beliefs_and_a_reliable_probability_is_bet_on(p, r, q):
    m = masses_from_probability(torch.tensor(p, dtype=torch.float64), r)
    assert m.tolist() == pytest.approx([r * p, r * (1 - p), 1 - r])
    low, high = belief_interval(discount(m, q))
    assert float(high - low) == pytest.approx(1 - q * r)
    assert close(discount(discount(m, q), r), discount(m, q * r))
    assert pignistic(m).item() == pytest.approx(0.5 + r * (p - 0.5))


def test_quality_broadcasts_over_streams():
    m = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0)).softmax(-1)
    q = torch.tensor([0.0, 0.3, 0.8, 1.0])
    discounted = discount(m, q[:, None])
    assert close(discounted[0], VACUOUS.float().expand(3, 3))
    assert close(discounted[3], m[3])
    assert close(discounted[1, :, :2], 0.3 * m[1, :, :2])


def test_average_weighs_leaves_out_and_knows_nothing_without_weight():
    m = torch.stack([mass(0.6, 0.1, 0.3), mass(0.1, 0.8, 0.1), mass(math.nan, math.nan, math.nan)])
    w = torch.tensor([1.0, 3.0, 0.0], requires_grad=True)
    mean = average(m, w)
    assert mean.tolist() == pytest.approx([0.225, 0.625, 0.15])
    mean[0].backward()
    assert w.grad is not None
    assert w.grad[:2].tolist() == pytest.approx([(0.6 - 0.225) / 4, (0.1 - 0.225) / 4])
    assert average(m, torch.zeros(3)).tolist() == [0, 0, 1]
    assert average(m[:0]).tolist() == [0, 0, 1]
    stack = m[:2, None].expand(2, 5, 3)
    assert close(average(stack, w.detach()[:2], dim=0), mean.detach().expand(5, 3))
    assert close(average(stack.transpose(0, 1), w.detach()[:2].expand(5, 2)), mean.detach().expand(5, 3))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [0.0, 20.0, 1e4, 1e8, 1e30])
def test_training_survives_any_logits(rule, size):
    fake, real = [1.0, -1.0], [-1.0, 1.0]
    signs = torch.tensor([[fake, real, [1.0, 1.0]], [fake, fake, [-1.0, -1.0]], [fake, real, [0.0, 0.0]]])
    logits = (size * signs).requires_grad_()
    quality = torch.tensor([1.0, 0.5, 0.0], requires_grad=True)
    fused, conflict = combine(discount(masses_from_logits(logits), quality[:, None]), rule)
    bet = pignistic(calibrate(fused, 2.0, 0.1))
    assert fused.sum(-1).tolist() == pytest.approx([1, 1, 1])
    assert bet.isfinite().all()
    (F.binary_cross_entropy(bet, torch.tensor([1.0, 0.0, 1.0])) + conflict.sum()).backward()
    assert logits.grad.isfinite().all()
    assert quality.grad.isfinite().all()
    if size == 20:
        assert (logits.grad[0].abs().sum() > 0).all()


@pytest.mark.parametrize("rule", [dempster_combine, yager_combine, cautious_combine])
def test_gradients_are_those_of_finite_differences(rule):
    logits = torch.tensor([[1.0, -0.5], [0.3, 0.9]], dtype=torch.float64, requires_grad=True)

    def fused(x: torch.Tensor) -> torch.Tensor:
        return rule(*masses_from_logits(x))[0]

    assert torch.autograd.gradcheck(fused, logits)


@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-6, 1e-7, 1e-12, 0.0])
def test_gradients_near_contradiction_stay_finite_in_float32(gap):
    m = torch.tensor([[1 - gap, gap / 2, gap / 2], [gap / 2, 1 - gap, gap / 2]], requires_grad=True)
    for rule in RULES:
        fused, conflict = combine(m, rule)
        (grad,) = torch.autograd.grad(fused[0] + conflict, m)
        assert grad.isfinite().all()


def overconfident(n: int = 4000, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities whose true odds are σ(0.5 logit + 0.4), and labels drawn from them."""
    generator = torch.Generator().manual_seed(seed)
    score = 3 * torch.randn(n, generator=generator, dtype=torch.float64)
    labels = torch.rand(n, generator=generator, dtype=torch.float64) < torch.sigmoid(0.5 * score + 0.4)
    return score.sigmoid(), labels.long()


def calibration_error(p: torch.Tensor, y: torch.Tensor) -> float:
    """Expected calibration error over ten bins of equal width."""
    index = (p * 10).long().clamp(max=9)
    bins = [index == k for k in range(10)]
    return sum(float(b.double().mean() * (p[b].mean() - y[b].double().mean()).abs()) for b in bins if b.any())


def test_calibration_finds_the_truth_and_mends_what_is_reported():
    p, y = overconfident()
    slope, intercept = fit_calibration(p, y)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert intercept == pytest.approx(0.4, abs=0.1)
    held_p, held_y = overconfident(seed=1)
    calibrated = pignistic(calibrate(masses_from_probability(held_p), slope, intercept))
    assert calibration_error(held_p, held_y) > 0.1
    assert calibration_error(calibrated, held_y) < 0.03


def test_newton_finds_what_lbfgs_finds():
    p, y = overconfident(n=60, seed=3)
    n_fake, n_real = int(y.sum()), int((1 - y).sum())
    target = torch.where(y == 1, p.new_tensor((n_fake + 1) / (n_fake + 2)), 1 / (n_real + 2))
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(weights[0] * p.logit() + weights[1], target)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert fit_calibration(p, y) == pytest.approx(weights.tolist(), abs=1e-6)


def test_calibration_where_the_classes_are_apart_or_the_scores_say_nothing():
    y = torch.tensor([0, 0, 0, 1, 1])
    slope, intercept = fit_calibration(torch.tensor([0.0, 0.1, 0.2, 0.8, 1.0]), y)
    assert 0 < slope < 10
    assert math.isfinite(intercept)
    # two points: the closed form, each target met exactly
    slope, intercept = fit_calibration(torch.tensor([0.2, 0.9], dtype=torch.float64), torch.tensor([0, 1]))
    a, b, t = math.log(0.2 / 0.8), math.log(0.9 / 0.1), math.log(2)
    assert slope == pytest.approx(2 * t / (b - a))
    assert intercept == pytest.approx(t - slope * b)
    mean = (2 * (3 / 4) + 3 * (1 / 5)) / 5  # of Platt's targets
    share = math.log(mean / (1 - mean))
    assert fit_calibration(torch.full((5,), 0.5), y) == pytest.approx((0, share))
    wrong_way = fit_calibration(torch.tensor([0.9, 0.8, 0.7, 0.2, 0.1]), y)
    assert wrong_way == pytest.approx((0, share))
    constant = calibrate(mass(0.7, 0.1, 0.2), *fit_calibration(torch.full((5,), 0.7, dtype=torch.float64), y))
    assert pignistic(constant).item() == pytest.approx(1 / (1 + math.exp(-share)))


@given(masses(), st.floats(0, 5), st.floats(-5, 5))
@laws
def test_calibrated_masses_keep_their_unknown_part_where_they_can(m, slope, intercept):
    moved = calibrate(m, slope, intercept)
    p = float(pignistic(m).clamp(1e-6, 1 - 1e-6))
    expected = 1 / (1 + math.exp(-(slope * math.log(p / (1 - p)) + intercept)))
    assert (moved >= 0).all()
    assert moved.sum().item() == pytest.approx(1)
    assert pignistic(moved).item() == pytest.approx(expected, abs=1e-5)
    assert moved[2].item() == pytest.approx(min(m[2].item(), 2 * expected, 2 - 2 * expected), abs=1e-5)
    assert close(calibrate(m, 1.0, 0.0), m, atol=1.1e-6)


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="must end in 2"):
        masses_from_logits(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="must end in 3"):
        dempster_combine(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="no rule 'vote'"):
        combine(torch.ones(2, 3) / 3, "vote")
    with pytest.raises(ValueError, match="not an axis of sources"):
        combine(torch.ones(2, 3) / 3, dim=-1)
    with pytest.raises(ValueError, match="no source"):
        combine(torch.ones(0, 3) / 3)
    with pytest.raises(ValueError, match="do not fit"):
        average(torch.ones(4, 2, 3) / 3, torch.ones(3))
    with pytest.raises(MediakitError, match="both classes, got 2 fake and 0 real"):
        fit_calibration(torch.tensor([0.2, 0.4]), torch.tensor([1, 1]))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        fit_calibration(torch.tensor([0.2, math.nan]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="labels must be 1"):
        fit_calibration(torch.tensor([0.2, 0.4]), torch.tensor([0, 2]))
