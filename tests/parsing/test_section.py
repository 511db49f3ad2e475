"""The section of the page: bars where the events are, and sentences that say what was and was not looked at."""

import re
from dataclasses import replace

import pytest
import torch

from mediakit.parsing.events import Event
from mediakit.parsing.result import ParsingResult
from mediakit.parsing.section import events_section, readable

CLASSES = ("Speech", "Fire_alarm", "Dog")
EVENTS = (
    Event(0.0, 4.0, "Dog", "audio", 0.9),
    Event(2.0, 6.0, "Fire_alarm", "visual", 0.6),
    Event(3.0, 4.0, "Fire_alarm", "audio", 0.7),
    Event(3.0, 4.0, "Fire_alarm", "audio-visual", 0.65),
    Event(7.0, 7.5, "Dog", "audio", 0.51),
)
CARD = {"name": "AudioEncoder(resnet18)", "weights": "a1_in1k", "seed": None, "sha256": "0"}


def result(events=EVENTS, **changes) -> ParsingResult:
    made = ParsingResult(
        classes=CLASSES,
        duration=7.5,
        frame_prob=torch.zeros(8, 2, 3),
        video_prob=torch.zeros(3),
        audio_prob=torch.zeros(3),
        visual_prob=torch.zeros(3),
        events=tuple(events),
        absent={},
        protocol="mmcse",
        windows=((0, 8),),
        model={"network": "ParsingModel", "weights_sha256": "0", "checkpoint": "best.ckpt"},
        encoders={"audio": CARD},
    )
    return replace(made, **changes)


def test_bars_lie_where_the_events_are():
    drawn = events_section(result(), "Events")["timeline"]
    assert [name for name, _ in drawn["rows"]] == ["Dog", "Fire alarm"]  # by their first event
    places = {
        (name, lane, style): (left, width)
        for name, bars in drawn["rows"]
        for left, width, lane, style, text in bars
        if "0:07" not in text
    }
    assert places == {
        ("Dog", 0, "heard"): (0.0, pytest.approx(100 * 4 / 7.5, abs=1e-3)),
        ("Fire alarm", 0, "heard"): (40.0, pytest.approx(100 / 7.5, abs=1e-3)),
        ("Fire alarm", 1, "seen"): (pytest.approx(100 * 2 / 7.5, abs=1e-3), pytest.approx(100 * 4 / 7.5, abs=1e-3)),
        ("Fire alarm", 2, "both"): (40.0, pytest.approx(100 / 7.5, abs=1e-3)),
    }
    assert drawn["rows"][0][1][1][-1] == "Dog, heard: 0:07–0:07.5, 51%"


def test_the_table_and_the_sentences():
    section = events_section(result(), "Events")
    assert section["columns"] == ["Heard", "Seen", "Heard and seen at once"]
    assert section["rows"] == [
        ("Dog", [[("0:00–0:04", "90%"), ("0:07–0:07.5", "51%")], [], []]),
        ("Fire alarm", [[("0:03–0:04", "70%")], [("0:02–0:06", "60%")], [("0:03–0:04", "65%")]]),
    ]
    assert section["lead"] == "Found 2 of the 3 classes that the model knows: Dog (only heard), Fire alarm."
    assert section["notes"] == []
    assert section["method"][0].startswith(
        "Model: best.ckpt (ParsingModel); features of each second by AudioEncoder(resnet18), weights a1_in1k. An event"
    )
    assert section["method"][1] == "Classes that it knows: Speech, Fire alarm, Dog."


def test_nothing_found():
    section = events_section(result(()), "Events")
    assert section["timeline"] is None
    assert section["rows"] == []
    assert section["lead"] == "None of the 3 classes that the model knows was found."


def test_a_lane_that_cannot_be_is_not_drawn_and_told():
    seen = [event for event in EVENTS if event.modality == "visual"]
    section = events_section(result(seen, absent={"audio": "The file has no sound."}, protocol="jomold"), "Events")
    assert section["columns"] == ["Seen"]
    assert section["timeline"]["lanes"] == [("seen", "seen")]
    assert section["notes"] == ["The file has no sound."]
    assert "only seen" not in section["lead"]


def test_reference_encoders_are_no_evidence():
    notes = events_section(result(encoders={"audio": {**CARD, "weights": "synthetic"}}), "Events")["notes"]
    assert re.search("trained on generated media alone: .* not evidence", notes[0])


def test_windows_and_long_lists():
    many = [Event(float(n), n + 1.0, "Dog", "audio", 0.9) for n in range(0, 200, 2)]
    section = events_section(result(many, duration=200.0, windows=((0, 10), (5, 15), (10, 20))), "Events")
    assert section["open"] is False
    assert "It looked through 3 windows of 10 s, one each 5 s" in section["method"][0]


def test_a_photograph_has_no_times():
    section = events_section(result(EVENTS[1:2], duration=0.04), "Events", still=True)
    assert section["timeline"] is None
    assert section["rows"] == [("Fire alarm", [[], [("", "60%")], []])]


def test_names_for_people():
    assert readable("Baby_cry_infant_cry") == "Baby cry infant cry"
