"""The section of the page: a belief interval where it belongs, masses where the windows are, and no number too many."""

import re
from dataclasses import replace

import pytest
import torch

from mediakit.deepfake.provenance import LIMITS
from mediakit.deepfake.quality import Quality
from mediakit.deepfake.reasons import Observation
from mediakit.deepfake.result import DeepfakeResult, Portrait, TrackResult, WindowResult
from mediakit.deepfake.section import belief_bar, deepfake_section, mass_timeline, portraits, spoken
from mediakit.deepfake.verdict import Judgement, Thresholds, judge, judge_tracks, judge_windows, refuse

BOUNDS = Thresholds(0.6, 0.4, 0.3)
SEEN = Quality({"interocular_px": 80.0, "yaw_degrees": 35.0, "detected": 1.0})  # q = 0.5
FAKE, REAL = (0.7, 0.1, 0.2), (0.2, 0.6, 0.2)


def window(start: float, mass, quality=SEEN) -> WindowResult:
    if mass is None:
        return WindowResult(
            start, start + 3.2, refuse("the face is too small"), Quality({}, "the face is too small"), {}, {}
        )
    found = judge(mass, quality.score, BOUNDS, 0.2)
    streams = {"head": mass, "expression": (0.1, 0.1, 0.8)}
    return WindowResult(start, start + 3.2, found, quality, streams, {"mouth_tempo": 1.0})


def track(number=1, masses=(FAKE, FAKE, REAL), start=0.0) -> TrackResult:
    windows = tuple(window(start + 1.6 * n, mass) for n, mass in enumerate(masses))
    scored = [(w.judgement.mass, 0.2, w.quality.score) for w in windows if w.judgement.mass]
    judgement = judge_windows(scored, BOUNDS, refusals=["the face is too small"])
    time = torch.arange(96) / 30
    values = torch.stack([0.1 * torch.sin(6 * time), 5 * torch.cos(2 * time), 0 * time], 1)
    portrait = Portrait(start, start + 3.2, ("mouth opening", "pitch", "yaw"), ("IOD", "°", "°"), values)
    observations = (Observation("mouth_tempo", 1.0, 1.4, 2.2), Observation("inner_face_jitter", 1.0, 0.9, 1.1))
    shown = portrait if scored else None
    return TrackResult(number, start, windows[-1].end, 150, judgement, windows, observations if scored else (), shown)


def result(*tracks: TrackResult) -> DeepfakeResult:
    judgement, speaker = judge_tracks([t.judgement for t in tracks], [t.end - t.start for t in tracks], BOUNDS)
    return DeepfakeResult(
        judgement=judgement,
        tracks=tracks,
        speaker=None if speaker is None else tracks[speaker].number,
        streams=("head", "expression"),
        thresholds=BOUNDS,
        calibration=(1.0, 0.0),
        model={"network": "DeepfakeModel", "weights_sha256": "0", "checkpoint": "best.ckpt"},
        limits=LIMITS,
        provenance={"parameters": {"window": 3.2}},
    )


def test_the_belief_interval():
    bar = belief_bar(Judgement("fake", "", FAKE, 0.2, 0.5), BOUNDS)
    assert (bar["low"], bar["high"], bar["probability"]) == (70, 90, 80)
    assert (bar["real_below"], bar["fake_above"]) == (40, 60)
    assert bar["label"] == "Probability of fake 80%, between 70% and 90%"
    assert belief_bar(refuse("no face was found"), BOUNDS) is None


def areas(path: str) -> list[tuple[float, float, float]]:
    """Left, width and height of each column."""
    found = []
    for x, base, width, top in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)V([\d.]+)h-[\d.]+z", path):
        found.append((float(x), float(width), abs(float(top) - float(base))))
    return found


def test_masses_lie_where_the_windows_are():
    drawn = mass_timeline(track(masses=(FAKE, None, REAL)), ("head", "expression"))
    together, head, expression, quality = drawn["rows"]
    assert [row["name"] for row in drawn["rows"]] == ["all together", "head", "expression", "quality"]
    # three windows from 0 to 6.4 s meet halfway between their middles at 1.6, 3.2 and 4.8 s
    columns = [(0, 375, 70), (625, 375, 20)]
    assert areas(together["fake"]) == areas(head["fake"]) == [pytest.approx(c) for c in columns]
    assert [height for *_, height in areas(together["real"])] == [10, 60]
    assert [height for *_, height in areas(expression["fake"])] == [10, 10]
    assert [height for *_, height in areas(quality["level"])] == [50, 0, 50]


def test_a_long_timeline_is_thinned():
    drawn = mass_timeline(track(masses=[FAKE, REAL] * 1000), ("head", "expression"))
    columns = areas(drawn["rows"][0]["fake"])
    assert 250 <= len(columns) <= 300
    assert sum(width for _, width, _ in columns) == pytest.approx(1000, abs=20)
    assert columns[5][2] == pytest.approx(45, abs=6)
    assert sum(len(row.get("fake", "")) for row in drawn["rows"]) < 40_000


def test_one_face():
    section = deepfake_section(result(track()), "Genuine?")
    assert (section["verdict"], section["called"], section["table"]) == ("fake", "Fake", None)
    assert dict(section["numbers"]) == {
        "Probability of fake": "63%",
        "Belief": "fake 53%, real 27%, open 20%",
        "Conflict between the streams": "20%",
        "Measured quality": "0.50 of 1",
    }
    (shown,) = section["tracks"]
    assert shown["judged"] == "3 of 3 windows of 3.2 s could be judged."
    assert ("Turned sideways by", "35°", 50) in shown["factors"]
    assert shown["reasons"][0] == (
        "Belief by stream, the most decided first: head (fake 53%, real 27%), expression (fake 10%, real 10%)."
    )
    assert shown["reasons"][1].startswith("Tempo of the mouth (its speed over its movement): 1.00 Hz, 90% of genuine")
    assert shown["reasons"][2].startswith("1 of 2 numbers that a person can check lies outside")
    assert shown["observations"][0] == (
        "Tempo of the mouth (its speed over its movement)",
        "1.00 Hz",
        "1.40 to 2.20",
        True,
    )
    assert [span for span, _ in shown["heaviest"]] == ["0:00.0–0:03.2"]  # the next overlaps, the last speaks against it
    assert len(shown["portraits"]) == 3
    assert "best.ckpt (DeepfakeModel)" in section["method"][0]
    assert section["limits"] == LIMITS


def test_several_faces():
    faces = [track(n, start=10.0 * n, masses=m) for n, m in ((1, [REAL]), (2, [FAKE]), (3, [None]), (4, [REAL]))]
    found = result(*faces)
    section = deepfake_section(found, "Genuine?")
    assert section["called"] == "Fake"
    assert [row[0] for row in section["table"]] == ["Stretch 1", "Stretch 2", "Stretch 3", "Stretch 4"]
    assert section["table"][1][1:] == ("0:20.0 to 0:23.2", "Fake", "80%", "0.50")
    assert section["table"][2][1:] == ("0:30.0 to 0:33.2", "Undetermined", "", "")
    assert [shown["name"] for shown in section["tracks"]] == ["Stretch 2", "Stretch 1", "Stretch 4"]
    assert [shown["open"] for shown in section["tracks"]] == [True, False, False]
    assert section["hidden"] == 1
    assert "probability of fake 80%" in spoken(found)


def test_no_number_where_nothing_can_be_said():
    for found in (result(), result(track(masses=[None, None]))):
        section = deepfake_section(found, "Genuine?")
        assert (section["called"], section["bar"], section["numbers"]) == ("Undetermined", None, [])
        assert "%" not in section["lead"]
        for shown in section["tracks"]:
            assert (shown["timeline"], shown["heaviest"], shown["reasons"], shown["portraits"]) == (None, [], [], [])
        assert "cannot say" in spoken(found)


def test_portraits_are_value_against_speed():
    drawn = portraits(track().portrait)
    assert [p["text"] for p in drawn] == [
        "Mouth opening in IOD, upwards its speed in IOD per second",
        "Pitch, upwards its speed per second",
        "Yaw, upwards its speed per second",
    ]
    # a sine of 0.1 at 6 rad/s: from -0.1 to 0.1, and from -0.6 to 0.6
    points = [tuple(map(float, p)) for p in re.findall(r"[ML]([\d.]+) ([\d.]+)", drawn[0]["plot"]["series"][0]["path"])]
    x, y = torch.tensor(points).T
    assert (x.min(), x.max()) == pytest.approx((1000 * 0.06 / 1.12, 1000 * 1.06 / 1.12), abs=8)
    assert (y.min(), y.max()) == pytest.approx((100 * 0.06 / 1.12, 100 * 1.06 / 1.12), abs=3)
    marks = [text for _, text in drawn[0]["plot"]["x_ticks"]]
    assert "0.00" in marks
    still = re.findall(r"[ML]([\d.]+) ([\d.]+)", drawn[2]["plot"]["series"][0]["path"])
    assert {*still} == {("500.0", "50.00")}  # noise would not fill the plot


def test_numbers_never_look_certain():
    certain = replace(result(track(masses=[(1.0, 0.0, 0.0)])))
    assert "99.9%" in deepfake_section(certain, "Genuine?")["lead"]
