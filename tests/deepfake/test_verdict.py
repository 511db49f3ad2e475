"""Verdicts: thresholds, means over windows, the loudest track, and reasons that name their values."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mediakit.deepfake.evidence import calibrate
from mediakit.deepfake.verdict import Judgement, Thresholds, judge, judge_tracks, judge_windows, refuse

BOUNDS = Thresholds(fake_above=0.6, real_below=0.4, least_quality=0.3)
FAKE, REAL, OPEN = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.4, 0.4, 0.2)


@pytest.mark.parametrize(
    ("mass", "quality", "verdict", "words"),
    [
        (FAKE, 1.0, "fake", "85.0%; from 60% on it is called fake"),
        (REAL, 1.0, "real", "15.0%; up to 40% it is called real"),
        (OPEN, 1.0, "undetermined", "does not suffice: the probability of fake is 50.0%"),
        ((0.6, 0.4, 0.0), 1.0, "fake", "60.0%"),
        ((0.4, 0.6, 0.0), 1.0, "real", "40.0%"),
        (FAKE, 0.29, "undetermined", "quality is too low: 0.29 of 1, at least 0.30"),
        ((1.0, 0.0, 0.0), 1.0, "fake", "99.9%"),
    ],
)
def test_one_mass(mass, quality, verdict, words):
    found = judge(mass, quality, BOUNDS, 0.1, "the face is small (50 px)")
    assert found.verdict == verdict
    assert words in found.reason
    assert ("the face is small" in found.reason) == (quality < 0.3)
    assert found.belief == pytest.approx((mass[0], 1 - mass[1]))
    assert found.probability == pytest.approx(mass[0] + mass[2] / 2)


def test_a_refusal_has_no_number():
    found = refuse("no face was found")
    assert (found.verdict, found.mass, found.belief, found.probability) == ("undetermined", None, None, None)


def test_windows_are_averaged_by_quality():
    found = judge_windows([(FAKE, 0.2, 0.9), (REAL, 0.4, 0.3)], BOUNDS)
    assert found.mass == pytest.approx((0.625, 0.275, 0.1))  # 3 to 1
    assert found.conflict == pytest.approx(0.25)
    assert found.quality == pytest.approx((0.81 + 0.09) / 1.2)
    assert found.verdict == "fake"


def test_the_same_window_again_changes_nothing():
    once, often = (judge_windows([(FAKE, 0.2, 0.7)] * n, BOUNDS) for n in (1, 50))
    assert often.mass == pytest.approx(once.mass)  # Dempster's rule would come near to certainty
    assert often.quality == pytest.approx(once.quality)


def test_calibration_comes_after_the_mean():
    windows = [(FAKE, 0.0, 1.0), (OPEN, 0.0, 0.5)]
    plain, moved = judge_windows(windows, BOUNDS), judge_windows(windows, BOUNDS, (2.0, -1.0))
    expected = calibrate(torch.tensor(plain.mass, dtype=torch.float64), 2.0, -1.0)
    assert moved.mass == pytest.approx(tuple(expected.tolist()))


def test_windows_without_quality_know_nothing():
    found = judge_windows([(FAKE, 0.0, 0.0)], BOUNDS)
    assert found.mass == pytest.approx((0, 0, 1))
    assert found.verdict == "undetermined"


def test_no_window_gives_the_commonest_reason():
    found = judge_windows([], BOUNDS, refusals=["too small", "too short", "too small"])
    assert found == refuse("too small")
    assert judge_windows([], BOUNDS).reason


def track(mass, quality=1.0) -> Judgement:
    return judge_windows([(mass, 0.0, quality)], BOUNDS)


def test_the_track_most_like_a_fake_speaks():
    found, speaker = judge_tracks([track(REAL), track(FAKE), track(OPEN)], [9.0, 1.0, 5.0], BOUNDS)
    assert (found.verdict, speaker) == ("fake", 1)
    assert "3 stretches of faces, 3 of them good enough" in found.reason
    assert "likelier is a false alarm" in found.reason


def test_real_needs_every_judged_track_to_be_real():
    assert judge_tracks([track(REAL), track(REAL)], [1.0, 1.0], BOUNDS)[0].verdict == "real"
    assert judge_tracks([track(REAL), track(OPEN)], [1.0, 1.0], BOUNDS)[0].verdict == "undetermined"


def test_a_track_of_low_quality_raises_no_alarm():
    found, speaker = judge_tracks([track(REAL), track(FAKE, 0.1)], [5.0, 1.0], BOUNDS)
    assert (found.verdict, speaker) == ("real", 0)
    assert "2 stretches of faces, 1 of them good enough" in found.reason


def test_a_glimpse_does_not_clear_a_film():
    found, _ = judge_tracks([track(REAL), refuse("the face is too small")], [2.0, 8.0], BOUNDS)
    assert found.verdict == "undetermined"
    assert "only 20% of the time with a face could be judged" in found.reason
    # what was found in it stands all the same
    assert judge_tracks([track(FAKE), refuse("the face is too small")], [2.0, 8.0], BOUNDS)[0].verdict == "fake"


def test_nothing_to_judge():
    assert judge_tracks([], [], BOUNDS) == (refuse("no face was found"), None)
    found, speaker = judge_tracks([refuse("short"), refuse("small")], [1.0, 2.0], BOUNDS)
    assert (found.mass, speaker) == (None, 1)
    assert found.reason.startswith("small (2 stretches of faces, 0 of them")
    assert judge_tracks([refuse("short"), track(FAKE, 0.2)], [9.0, 2.0], BOUNDS)[0].reason.startswith("the quality")


masses = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 1)).map(
    lambda m: tuple(part / sum(m) for part in m)
)


@given(st.lists(st.tuples(masses, st.floats(0.3, 1)), min_size=1, max_size=5), masses)
def test_another_track_never_lowers_the_probability(windows, more):
    tracks = [judge_windows([(m, 0.0, q)], BOUNDS) for m, q in windows]
    before, _ = judge_tracks(tracks, [1.0] * len(tracks), BOUNDS)
    after, _ = judge_tracks([*tracks, track(more)], [1.0] * (len(tracks) + 1), BOUNDS)
    assert after.probability >= before.probability
