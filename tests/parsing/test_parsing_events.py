"""Segments to events and back; files that independent readers understand."""

import csv
import json
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mediakit.errors import MediaError
from mediakit.parsing.event_files import read_events, write_events
from mediakit.parsing.events import Event, events_to_segments, exclusive_events, segments_to_events

CLASSES = ("Dog", "Speech, or song", 'Cat "Tom" <b>&amp; --> x')


@st.composite
def matrices(draw):
    count = draw(st.integers(1, 12))
    bits = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=count, max_size=count)
    return torch.tensor(draw(bits)), torch.tensor(draw(bits))


@st.composite
def separate_events(draw):
    """Events of whole seconds in which no two of a class and modality touch."""
    events = []
    for label in CLASSES:
        for modality in ("audio", "visual"):
            borders = draw(st.lists(st.integers(0, 12), unique=True, max_size=6).map(sorted))
            pairs = zip(borders[::2], borders[1::2], strict=False)
            events += [Event(float(a), float(b), label, modality, 1.0) for a, b in pairs]
    return events


@given(matrices(), st.booleans(), st.sampled_from([(1.0, 0.0), (0.5, 0.0), (0.1, 7.3)]))
def test_events_give_back_the_segments(pair, joint, clock):
    events = segments_to_events(*pair, CLASSES, None, *clock, joint=joint)
    back = events_to_segments(events, CLASSES, len(pair[0]), *clock)
    assert torch.equal(back[0].bool(), pair[0])
    assert torch.equal(back[1].bool(), pair[1])


@given(separate_events())
def test_segments_give_back_the_events(events):
    matrices = events_to_segments(events, CLASSES, 12)
    assert sorted(segments_to_events(*matrices, CLASSES)) == sorted(events)


def test_a_worked_case():
    audio = torch.tensor([[1, 0], [1, 0], [0, 1], [1, 1]])
    visual = torch.tensor([[0, 0], [1, 0], [1, 0], [1, 0]])
    scores = torch.arange(16).reshape(4, 2, 2) / 16
    assert segments_to_events(audio, visual, ("a", "b"), scores, start=5.0, end=8.25, joint=True) == [
        Event(5.0, 7.0, "a", "audio", (0 + 4) / 2 / 16),
        Event(6.0, 7.0, "a", "audio-visual", (4 + 6) / 2 / 16),
        Event(6.0, 8.25, "a", "visual", (6 + 10 + 14) / 3 / 16),
        Event(7.0, 8.25, "b", "audio", (9 + 13) / 2 / 16),
        Event(8.0, 8.25, "a", "audio", 12 / 16),
        Event(8.0, 8.25, "a", "audio-visual", (12 + 14) / 2 / 16),
    ]


def test_the_end_of_the_file_cuts_the_last_event_and_nothing_is_lost():
    on = torch.ones(7, 1, dtype=torch.bool)
    events = segments_to_events(on, ~on, ["a"], end=6.01)
    assert events == [Event(0.0, 6.01, "a", "audio", 1.0)]
    assert torch.equal(events_to_segments(events, ["a"], 7)[0].bool(), on)


def test_times_inside_a_segment_mark_it():
    audio, visual = events_to_segments([Event(0.9, 2.1, "b", "audio-visual", 1.0)], ["a", "b"], 4)
    assert audio.tolist() == visual.tolist() == [[0, 1], [0, 1], [0, 1], [0, 0]]
    assert audio.dtype == torch.uint8


@pytest.mark.parametrize(
    "event",
    [
        Event(0, 1, "c", "audio", 1.0),
        Event(0, 1, "a", "smell", 1.0),
        Event(3, 5, "a", "audio", 1.0),
        Event(-1, 1, "a", "audio", 1.0),
        Event(2, 2, "a", "audio", 1.0),
    ],
)
def test_events_that_fit_no_segment_are_refused(event):
    with pytest.raises(ValueError, match=re.escape(str(event))):
        events_to_segments([event], ["a", "b"], 4)


def test_probabilities_are_no_decisions():
    with pytest.raises(ValueError, match="decide on probabilities first"):
        segments_to_events(torch.full((2, 1), 0.3), torch.ones(2, 1), ["a"])
    with pytest.raises(ValueError, match=r"must be \(T, 2\)"):
        segments_to_events(torch.ones(2, 1), torch.ones(2, 1), ["a", "b"])


@given(matrices())
def test_exclusive_events_tell_each_class_once(pair):
    told = exclusive_events(segments_to_events(*pair, CLASSES, joint=True))
    assert told == exclusive_events(segments_to_events(*pair, CLASSES))  # the derived ones add nothing
    heard, seen = events_to_segments(told, CLASSES, len(pair[0]))
    assert torch.equal(heard.bool(), pair[0])
    assert torch.equal(seen.bool(), pair[1])
    covered = sum(event.end - event.start for event in told)
    assert covered == int((pair[0] | pair[1]).sum())


def test_exclusive_events_by_hand():
    heard, seen = Event(0, 4, "dog", "audio", 0.9), Event(2, 6, "dog", "visual", 0.7)
    assert exclusive_events([seen, heard, Event(1, 2, "cat", "audio", 0.6)]) == [
        Event(0, 2, "dog", "audio", pytest.approx(0.9)),
        Event(1, 2, "cat", "audio", pytest.approx(0.6)),
        Event(2, 4, "dog", "audio-visual", pytest.approx(0.8)),
        Event(4, 6, "dog", "visual", pytest.approx(0.7)),
    ]


LABELS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12).filter(
    lambda text: text == text.strip() and len(text.splitlines()) == 1
)


@st.composite
def rounded_events(draw):
    events = []
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, 400_000_000))
        length, score = draw(st.integers(1, 100_000)), draw(st.integers(0, 10_000))
        modality = draw(st.sampled_from(["audio", "visual", "audio-visual"]))
        events.append(Event(start / 1000, (start + length) / 1000, draw(LABELS), modality, score / 10_000))
    return events


@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_files_give_back_the_events(tmp_path, ending):
    path = tmp_path / f"events{ending}"

    @settings(max_examples=40)
    @given(rounded_events())
    def check(events):
        write_events(events, path)
        assert read_events(path) == events

    check()


def test_webvtt_gives_back_what_people_read(tmp_path):
    path = tmp_path / "events.vtt"

    @settings(max_examples=40)
    @given(rounded_events())
    def check(events):
        write_events(events, path)
        assert read_events(path) == [_to_the_millisecond(event) for event in exclusive_events(events)]

    check()


def _to_the_millisecond(event):
    return event._replace(start=round(event.start, 3), end=round(event.end, 3), score=round(event.score, 4))


EVENTS = [
    Event(0.0, 2.0, CLASSES[2], "audio", 0.9),
    Event(1.5, 3.25, "Dog", "visual", 0.51239),
    Event(3599.9996, 7200.5, "Speech, or song", "audio", 1.0),
    Event(3600.0, 7200.5, "Speech, or song", "visual", 0.5),
]


def test_players_read_the_cues(tmp_path):
    """FFmpeg's WebVTT demuxer is the independent reader."""
    av = pytest.importorskip("av")
    path = tmp_path / "events.vtt"
    write_events(EVENTS, path)
    with av.open(str(path), format="webvtt") as container:
        packets = [packet for packet in container.demux(subtitles=0) if packet.size]
    base = packets[0].time_base
    cues = [(float(p.pts * base), float(p.duration * base), bytes(p).decode()) for p in packets]
    assert cues == [
        (0.0, 2.0, 'Cat "Tom" &lt;b&gt;&amp;amp; --&gt; x (heard)'),
        (1.5, 1.75, "Dog (seen)"),
        (3600.0, 3600.5, "Speech, or song (heard and seen)"),
    ]


def test_json_and_csv_as_other_programs_read_them(tmp_path):
    for ending in (".json", ".csv"):
        write_events(EVENTS, tmp_path / f"events{ending}", {"file": "film.mp4"})
    content = json.loads((tmp_path / "events.json").read_text())
    assert (content["schema"], content["file"]) == ("mediakit.events/1", "film.mp4")
    expected = {"start": 1.5, "end": 3.25, "label": "Dog", "modality": "visual", "score": 0.5124}
    assert content["events"][1] == expected
    with (tmp_path / "events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1] == {name: str(value) for name, value in expected.items()}
    assert rows[0]["label"] == CLASSES[2]


def test_no_events_are_a_file_too(tmp_path):
    for ending in (".json", ".csv", ".vtt"):
        write_events([], tmp_path / f"none{ending}")
        assert read_events(tmp_path / f"none{ending}") == []


@pytest.mark.parametrize(
    ("event", "match"),
    [
        (Event(0.0, 0.0002, "a", "audio", 1.0), "0 <= start < end"),
        (Event(0.0, float("nan"), "a", "audio", 1.0), "0 <= start < end"),
        (Event(0.0, 1.0, "a", "audio", 1.2), "0 <= score <= 1"),
        (Event(0.0, 1.0, "a\n\n00:00:00.000 --> 00:00:09.000", "audio", 1.0), "one line"),
        (Event(0.0, 1.0, "a", "smell", 1.0), "modality must be"),
    ],
)
def test_events_that_no_reader_would_take_are_not_written(tmp_path, event, match):
    path = tmp_path / "events.vtt"
    path.write_text("yesterday's")
    with pytest.raises(ValueError, match=match):
        write_events([event], path)
    assert path.read_text() == "yesterday's"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", "{", "is no JSON of the schema"),
        ("a.json", '{"schema": "other", "events": []}', "is no JSON of the schema"),
        ("a.json", '{"schema": "mediakit.events/1", "events": [{"start": 0}]}', "event 1 is no event"),
        ("a.csv", "start,end,label\n0,1,a\n", "lacks the header line start,end,label,modality,score"),
        ("a.csv", "start,end,label,modality,score\n0,1,a,audio,1\n1,0,a,audio,1\n", "line 3 is no event"),
        ("a.vtt", "1\n00:00:00.000 --> 00:00:01.000\nDog\n", "does not begin with WEBVTT"),
        ("a.vtt", "WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.000\nDog\n", "cue 1 does not read like an event"),
        ("a.txt", "Dog", "ends in .txt, which is no format of events"),
    ],
)
def test_files_that_are_no_events_are_named(tmp_path, name, content, problem):
    (tmp_path / name).write_text(content)
    with pytest.raises(MediaError, match=re.escape(problem)) as caught:
        read_events(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
