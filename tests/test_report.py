"""The page and its sentences on made findings."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mediakit.analyze import Analysis
from mediakit.face_summary import FacesSummary, FaceSummary
from mediakit.io import AudioStream, MediaInfo, PacketScan, VideoStream
from mediakit.motion import EXPRESSION_NAMES
from mediakit.report import headline, render_page
from mediakit.summary import KeyFrame, PictureSummary, SoundSummary

VIDEO = VideoStream(0, "h264", "High", 64, 48, 0, "yuv420p", 8, 25.0, 250, 10.0, 0.0, 1000, "bt709", None)
AUDIO = AudioStream(1, "aac", 48_000, 2, "stereo", 10.0, 0.0, 128_000)


def track(start: float, end: float, x: float = 20.0) -> FaceSummary:
    count = max(1, round((end - start) * 25))
    time = torch.linspace(start, end, count, dtype=torch.float64)
    points = torch.full((478, 2), x)
    pose, expression = torch.zeros(count, 3), torch.zeros(count, len(EXPRESSION_NAMES))
    return FaceSummary(start, end, count, 0, 80.0, time, pose, expression, tuple(EXPRESSION_NAMES), {0.0: points})


def analysis(tracks: tuple[FaceSummary, ...] = (), **changes: object) -> Analysis:
    info = MediaInfo(Path("a.mp4"), "mov,mp4", 12_345, 10.0, 9876, (VIDEO,), (AUDIO,), (), {"title": "<b>bold</b>"})
    packets = PacketScan(250, 10.0, 25.0, False, (0.0, 5.0), 125.0, 125, {0: 1, 1: 2}, 1000.0)
    sound = SoundSummary(10.0, -20.0, -3.0, False, 0.0, torch.rand(128, 100), 0.1)
    shot = KeyFrame(0.0, torch.zeros(3, 48, 64, dtype=torch.uint8))
    pictures = PictureSummary(250, (64, 48), 0.0, 9.96, 0.5, 30.0, False, (), (shot,))
    seen = sum(t.detections for t in tracks)
    faces = FacesSummary({"name": "made", "version": "1"}, 250, min(seen, 250), 0, tracks)
    made = Analysis("a.mp4", "0" * 64, info, packets, sound, pictures, faces, {}, ())
    return replace(made, **changes)


def shown(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "A colour video of 10.0 seconds, 64 × 48 pixels at 25 frames per second, with sound. No face was found."),
        ({"sound": None}, "with sound that cannot be decoded. No face"),
        ({"warnings": ("a.mp4: damaged",)}, "with sound. The file is damaged; what follows may be wrong in places."),
        ({"pictures": None, "faces": None}, "Sound, 10.0 seconds, with pictures that cannot be decoded."),
        ({"faces": None}, "with sound."),
    ],
)
def test_headline(changes, sentence):
    assert sentence in headline(analysis(**changes))


def test_a_few_detections_are_told_with_doubt():
    few, many = analysis((track(0, 0.4),)), analysis((track(0, 5),))
    assert "Something like a face is seen in 10 of 250 frames." in headline(few)
    assert "A face is visible in 50% of the frames." in headline(many)
    for each in (few, many):
        assert headline(each).rpartition(". ")[2] in shown(render_page(each))


def test_stretches_are_numbered_in_time_and_the_longest_three_are_drawn():
    # Longest first, as the tracker gives them.
    tracks = (track(5, 9), track(0, 2), track(2.5, 4), track(9.2, 9.9), track(4.2, 4.8))
    text = shown(render_page(analysis(tracks)))
    assert re.findall(r"Stretch (\d) 0:0(\d\.\d) to", text) == [("1", "0.0"), ("2", "2.5"), ("4", "5.0")]
    assert "2 shorter stretches are in the timeline" in text
    pattern = r'class="bar" style="left:([\d.]+)%;width:([\d.]+)%;top:(\d+)px">(\d*)'
    bars = re.findall(pattern, render_page(analysis(tracks)))
    assert bars[0] == ("0.0", "20.0", "4", "1")
    assert [number for *_, number in bars] == ["1", "2", "3", "4", "5"]
    assert {top for _, _, top, _ in bars} == {"4"}  # none overlap: one lane


def test_faces_side_by_side_take_two_lanes():
    page = render_page(analysis((track(0, 5), track(1, 6, x=40.0))))
    assert re.findall(r"top:(\d+)px", page) == ["4", "30"]


def test_text_of_the_file_cannot_become_markup():
    page = render_page(analysis(name="<script>x</script>.mp4"))
    assert "<script" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page


def test_several_streams_are_told():
    info = replace(analysis().info, video=(VIDEO, VIDEO), audio=(AUDIO, AUDIO))
    assert shown(render_page(analysis(info=info))).count("The first of 2 streams was looked at.") == 2
