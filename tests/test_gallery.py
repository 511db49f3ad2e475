"""Truth against what is measured: closed forms, and a face whose landmarks are the true ones."""

import math

import pytest
import torch

from mediakit.analyze import analyze_file
from mediakit.face_summary import summarize_track
from mediakit.gallery import (
    class_region,
    clip_score,
    compare,
    compare_head,
    mean_hue,
    read_exhibit,
    render_gallery,
    tell,
)
from mediakit.parsing.events import Event, segments_to_events
from mediakit.parsing.result import ParsingResult
from mediakit.synthetic.corpus import write_clip
from mediakit.synthetic.event_clip import CLASSES, Occurrence
from mediakit.synthetic.events import EventClips
from mediakit.synthetic.heads import TalkingHeads
from mediakit.synthetic.scenes import Scenes
from mediakit.tracks import FaceTrack

TIME = torch.arange(100, dtype=torch.float64) / 25


def test_an_offset_is_no_error():
    truth = torch.sin(TIME)
    same = compare("yaw", TIME, truth, truth + 3)
    assert same.offset == pytest.approx(3)
    assert same.correlation == pytest.approx(1)
    assert same.rmse == pytest.approx(0, abs=1e-12)
    assert torch.allclose(same.seen, truth)


def test_correlation_and_rmse_by_hand():
    truth, seen = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 4.0])
    found = compare("yaw", torch.arange(3.0), truth, seen)
    assert found.offset == pytest.approx(1)
    assert found.correlation == pytest.approx(3 / math.sqrt(2 * 6))
    assert found.rmse == pytest.approx(math.sqrt((0 + 1 + 1) / 3))
    assert compare("yaw", TIME, torch.sin(TIME), -torch.sin(TIME)).correlation == pytest.approx(-1)


@pytest.fixture(scope="module")
def truth() -> dict[str, torch.Tensor]:
    return TalkingHeads(kinds=("real",), seconds=4, size=(240, 240)).clip(0).tensors()


def test_true_landmarks_give_true_curves(truth):
    seconds = truth["time"]
    for rows in (slice(0, 100), slice(20, 90)):  # a face may be found late and lost early
        count = len(seconds[rows])
        track = FaceTrack(truth["points"][rows], torch.ones(count, dtype=torch.bool), seconds[rows])
        found = compare_head(summarize_track(track), truth)
        assert [c.name for c in found] == ["pitch", "yaw", "roll", "mouth opening"]
        for c in found:
            assert len(c.time) == len(c.truth) == count
            assert c.correlation > 0.995, c.name
            assert c.rmse < (0.5 if c.unit else 0.01), c.name


def test_a_track_of_something_else_does_not_agree(truth):
    backwards = FaceTrack(truth["points"].flip(0), torch.ones(100, dtype=torch.bool), truth["time"])
    found = compare_head(summarize_track(backwards), truth)
    assert min(c.correlation for c in found) < 0.5


def test_mean_hue_goes_round_the_circle():
    angles = torch.deg2rad(torch.tensor([[350.0, 20.0], [90.0, 200.0]]))
    lab = torch.stack([torch.full((2, 2), 50.0), 30 * angles.cos(), 30 * angles.sin()])
    where = torch.tensor([[True, True], [False, False]])
    assert mean_hue(lab, where) == pytest.approx(5, abs=1e-3)
    assert mean_hue(lab, torch.tensor([[False, False], [False, True]])) == pytest.approx(200, abs=1e-3)


def test_the_region_of_the_class_is_where_its_colour_is():
    scenes = Scenes(size=(64, 64), seconds=1)
    scene = scenes.clip(7)
    others = [scenes.clip(7, label) for label in scenes.groups[scene.group] if label != scene.label]
    region = class_region(scene, others, 3)
    assert 0.2 < region.double().mean() < 0.95
    gray, ab = scene.gray_and_ab(3)
    hue = mean_hue(torch.cat([gray[None], ab]), region)
    assert abs((hue - scene.hue + 180) % 360 - 180) < 12
    for other in others:
        assert (other.gray_and_ab(3)[1] - ab)[:, ~region].norm(dim=0).max() <= 5


@pytest.mark.parametrize(
    ("heard", "seen", "text"),
    [
        ((0, 4), (0, 4), "bell: heard and seen, 0–4 s"),
        ((3, 9), (3, 6), "bell: heard 3–9 s, seen 3–6 s"),
        ((7, 10), None, "bell: only heard, 7–10 s"),
        (None, (0, 2), "bell: only seen, 0–2 s"),
    ],
)
def test_events_in_words(heard, seen, text):
    assert tell(Occurrence("bell", heard, seen, "sine", 0.0, "filled", 10, 10, 20)) == text


def test_the_score_of_one_clip():
    clip = EventClips(split="test").clip(1003)

    def score(events: list[Event], seconds: int = 10) -> float:
        none = torch.zeros(len(CLASSES))
        prob = torch.zeros(seconds, 2, len(CLASSES))
        return clip_score(
            clip, ParsingResult(CLASSES, 10.0, prob, none, none, none, tuple(events), {}, "mmcse", (), {}, {})
        )

    truth = segments_to_events(*clip.labels(), CLASSES, joint=True)
    assert score(truth) == pytest.approx(100)
    # The clock is only seen, so it counts in one of the three means, as one of three classes there.
    assert score([event for event in truth if event.label != "clock"]) == pytest.approx(100 * (1 - 1 / 9))
    late = Event(10.0, 10.05, "clock", "audio", 0.9)  # AAC made the file longer
    assert score([*truth, late], 11) == pytest.approx(100)


def test_a_page_without_a_face_detector(tmp_path):
    scenes = Scenes(size=(48, 64), seconds=1, groups=["sky"])
    scene = scenes.clip(0)
    others = [scenes.clip(0, label) for label in scenes.classes if label != scene.label]
    events = EventClips(size=(48, 64), seconds=2, shake=0).clip(0)
    head = TalkingHeads(kinds=("real",), seconds=1, size=(96, 96)).clip(0)
    exhibits = []
    for number, clip in enumerate((events, head, scene)):
        write_clip(clip, tmp_path / f"{number}.mp4")
        found = analyze_file(tmp_path / f"{number}.mp4", faces=False)
        exhibits.append(read_exhibit(clip, tmp_path / f"{number}.mp4", found))
    page = render_gallery(*exhibits, others)
    assert "Faces were not looked for (--no-faces)." in page
    assert "The curves below are the truth alone." in page
    assert page.count('<path class="curve s1"') == 4
    assert "RMSE" not in page
    assert page.count("had it been") == len(others) == len(scenes.classes) - 1
