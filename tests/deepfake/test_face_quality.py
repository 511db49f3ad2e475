"""Quality: hand-worked scores, one discount after the other, and what is too little to say anything."""

import math
from pathlib import Path

import pytest
import torch
from test_motion import face_cloud, film

from mediakit import motion
from mediakit.deepfake.evidence import discount
from mediakit.deepfake.quality import LEAST, RAMPS, Conditions, Quality, Ramp, bits_per_pixel, conditions, measure
from mediakit.io import MediaInfo, PacketScan, VideoStream
from mediakit.tracks import FaceTrack


def seen(frames=75, rate=25.0, iod=100.0, yaw=0.0, lost=()) -> Conditions:
    valid = torch.ones(frames, dtype=torch.bool)
    valid[list(lost)] = False
    time = torch.arange(frames, dtype=torch.float64) / rate
    return Conditions(time, valid, torch.full((frames,), iod), torch.full((frames,), yaw))


def scan(bit_rate: float, fps: float | None = 25.0) -> PacketScan:
    return PacketScan(100, 4.0, fps, False, (0.0,), None, 100, {0: 1000}, bit_rate)


def info(codec="h264", width=640, height=480) -> MediaInfo:
    video = VideoStream(0, codec, None, width, height, 0, "yuv420p", 8, 25.0, 100, 4.0, 0.0, None, "bt709", 1.0)
    return MediaInfo(Path("a.mp4"), "mp4", 1, 4.0, 1, (video,), (), (), {})


@pytest.mark.parametrize(
    ("ramp", "value", "score"),
    [
        (Ramp(30, 80), 55, 0.5),
        (Ramp(30, 80), 10, 0.0),
        (Ramp(30, 80), 300, 1.0),
        (Ramp(50, 20), 35, 0.5),
        (Ramp(50, 20), 90, 0.0),
        (Ramp(0.01, 1, log=True), 0.1, 0.5),
        (Ramp(0.01, 1, log=True), 0.0, 0.0),
    ],
)
def test_ramps(ramp, value, score):
    assert ramp(value) == pytest.approx(score)


def test_a_face_seen_well_costs_nothing():
    found = measure(seen(), 0.0, 2.96)
    assert found.refusal is None
    assert found.score == 1
    assert found.doubt == ""
    assert found.values == pytest.approx(
        {"seconds": 3.0, "interocular_px": 100, "detected": 1, "frames_per_second": 25, "yaw_degrees": 0}
    )


def test_quality_is_one_discount_after_the_other():
    found = measure(seen(iod=55, yaw=-35.0), 0.0, 2.96, bits=math.sqrt(0.002 * 0.04), flow_failures=0.3)
    assert found.scores == pytest.approx(
        {
            "seconds": 1, "interocular_px": 0.5, "detected": 1, "frames_per_second": 1, "yaw_degrees": 0.5,
            "flow_failures": 0.5, "bits_per_pixel": 0.5,
        }
    )  # fmt: skip
    mass = torch.tensor([0.6, 0.1, 0.3], dtype=torch.float64)
    step = mass
    for score in found.scores.values():
        step = discount(step, score)
    torch.testing.assert_close(discount(mass, found.score), step)


def test_a_window_counts_its_own_frames_only():
    face = seen(frames=200, lost=range(75, 150, 2))
    face.interocular_px[100:] = 50
    early, late = measure(face, 0.0, 2.96), measure(face, 3.0, 5.96)
    assert early.values["detected"] == 1
    assert late.values["detected"] == pytest.approx(37 / 75)
    assert late.values["seconds"] == pytest.approx(37 / 25, rel=0.03)
    assert early.values["interocular_px"] == 100
    assert late.values["interocular_px"] == 50


@pytest.mark.parametrize(
    ("face", "name", "words"),
    [
        (seen(frames=20), "seconds", "seen for 0.8 s only"),
        (seen(iod=39), "interocular_px", "too small: 39 px"),
        (seen(lost=[n for n in range(75) if n % 5 > 1]), "detected", "40% of the frames only"),
        (seen(frames=30, rate=9.0), "frames_per_second", "9.0 frames per second are too few"),
    ],
)
def test_too_little_is_refused_with_its_reason(face, name, words):
    found = measure(face, 0.0, 10.0)
    assert words in found.refusal
    assert found.score == 0
    assert found.values[name] < LEAST[name]


def test_the_least_is_enough():
    least = seen(frames=10, rate=10.0, iod=40)
    assert measure(least, 0.0, 10.0).refusal is None


def test_nothing_inside_the_window():
    assert "0.0 s only" in measure(seen(), 5.0, 8.0).refusal
    assert "0.0 s only" in measure(seen(lost=range(75)), 0.0, 3.0).refusal


def test_the_worst_factor_is_named():
    found = Quality({"interocular_px": 70.0, "yaw_degrees": 45.0, "detected": 1.0})
    assert found.doubt == "the face is turned away (45°)"
    assert found.score == pytest.approx(0.8 / 6)


def test_small_and_compressed_is_undetermined_by_default():
    # 60 px at what CRF 40 leaves
    assert measure(seen(iod=60), 0.0, 2.96, bits=0.008).score < 0.3 < measure(seen(iod=90), 0.0, 2.96, bits=0.008).score


def test_conditions_of_a_known_face():
    angles = torch.zeros(60, 3)
    angles[:, 1] = torch.linspace(-40, 40, 60)
    points, _ = film(face_cloud(), angles, scale=70.0)
    time = torch.arange(60, dtype=torch.float64) / 30
    track = FaceTrack(points.float(), torch.ones(60, dtype=torch.bool), time)
    found = conditions(track)
    torch.testing.assert_close(found.interocular_px, torch.full((60,), 70.0), rtol=1e-3, atol=0)
    assert (found.yaw.double() - angles[:, 1]).abs().max() < 1.0
    assert torch.equal(found.interocular_px, motion.interocular_distance(track.points))


def test_bits_per_pixel():
    # 640 x 480 at 25 fps is 7.68 M pixels a second
    assert bits_per_pixel(scan(768_000), info()) == pytest.approx(0.1)
    assert bits_per_pixel(scan(768_000), info("hevc")) == pytest.approx(0.16)
    assert bits_per_pixel(scan(768_000), info("something new")) == pytest.approx(0.1)
    for packets, header in ((None, info()), (scan(1e6), None), (scan(1e6, None), info()), (scan(1e6), info(width=0))):
        assert bits_per_pixel(packets, header) is None


def test_every_factor_has_a_name_on_the_page():
    from mediakit.deepfake.section import _FACTORS

    assert {*_FACTORS} == {*RAMPS}
