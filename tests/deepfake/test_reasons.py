"""Numbers of motions whose truth is known in closed form, and where they lie beside genuine ones."""

import math

import pytest
import torch
from test_motion import film, talking

from mediakit import motion
from mediakit.deepfake.phase import loop_area, phase_plane
from mediakit.deepfake.reasons import MEASURES, Observation, compare, head_angles, measures, reference_range
from mediakit.deepfake.signals import EXPRESSION, HEAD, RATE, Signals, track_signals

TIME = torch.arange(96, dtype=torch.float64) / RATE
SCALAR = {name: 258 + n for n, name in enumerate(motion.EXPRESSION_NAMES)}


def windows(pitch=None, jitter=(), **scalars) -> Signals:
    """One window with known scalars, pitch in degrees and log jitter of the groups."""
    face, head = torch.zeros(1, 96, EXPRESSION), torch.zeros(1, 96, HEAD)
    for name, values in scalars.items():
        face[0, :, SCALAR[name]] = values.float()
    for group, value in enumerate(jitter):
        face[0, :, 266 + group] = math.log(value)
    angles = torch.zeros(96, 3, dtype=torch.float64)
    if pitch is not None:
        angles[:, 0] = pitch
    head[0, :, :6] = motion.rotation_6d(motion.rotation_from_euler(angles)).float()
    return Signals(head, face, torch.ones(1, 96, dtype=torch.bool))


def test_mouth_of_a_sine():
    amplitude, hertz = 0.1, 1.25
    mouth = amplitude * torch.sin(2 * math.pi * hertz * TIME)
    found = measures(windows(mouth_opening=mouth))
    assert found["mouth_tempo"].item() == pytest.approx(hertz, rel=0.02)
    # an ellipse with half axes a and 0.2 a w, once a period
    omega = 2 * math.pi * hertz
    assert found["mouth_loop_area"].item() == pytest.approx(
        math.pi * amplitude * 0.2 * amplitude * omega * hertz, rel=0.02
    )
    plane = phase_plane(mouth, RATE)[:24] * torch.tensor([1.0, 0.2, 1.0])
    assert found["mouth_loop_area"].item() == pytest.approx(abs(loop_area(plane[:, :2])) * hertz, rel=0.03)
    step = torch.hypot(
        omega * amplitude * torch.cos(omega * TIME), 0.2 * omega**2 * amplitude * torch.sin(omega * TIME)
    )
    assert found["mouth_loop_length"].item() == pytest.approx(step.mean().item(), rel=0.03)


@pytest.mark.parametrize("frames", [-6, 0, 6])
def test_lag_of_the_lips(frames):
    generator = torch.Generator().manual_seed(0)
    walk = torch.randn(140, generator=generator, dtype=torch.float64).cumsum(0)
    jaw, mouth = walk[20:116], walk[20 - frames : 116 - frames]  # the mouth does later what the jaw did
    found = measures(windows(jaw_drop=jaw, mouth_opening=mouth))
    assert found["jaw_lip_lag"].item() == pytest.approx(frames / RATE)


def test_coupling_of_head_and_mouth():
    generator = torch.Generator().manual_seed(0)
    mouth = torch.sin(2 * math.pi * 1.5 * TIME)
    tied = measures(windows(pitch=3 * torch.sin(2 * math.pi * 1.5 * (TIME - 0.1)), mouth_opening=mouth))
    apart = measures(windows(pitch=torch.randn(96, generator=generator), mouth_opening=mouth))
    assert tied["head_mouth_coupling"] > 0.99
    assert apart["head_mouth_coupling"] < 0.5


def test_agreement_of_the_eyes():
    left = torch.sin(TIME)
    assert measures(windows(left_eye_aperture=left, right_eye_aperture=2 * left))["eye_agreement"] == pytest.approx(1)
    assert measures(windows(left_eye_aperture=left, right_eye_aperture=-left))["eye_agreement"] == pytest.approx(-1)


def test_jitter_of_the_inner_face():
    # brows, eyes, nose, lips, jaw, irises, rigid: geometric means of the inner and of the outer parts
    found = measures(windows(jitter=(9.0, 0.002, 0.004, 0.008, 0.001, 9.0, 0.004)))
    assert found["inner_face_jitter"].item() == pytest.approx(0.004 / 0.002, rel=1e-5)


def test_what_cannot_be_measured_is_nan():
    found = measures(windows())
    assert {name for name, value in found.items() if math.isnan(value)} == {
        "mouth_tempo", "jaw_lip_lag", "head_mouth_coupling", "eye_agreement",
    }  # fmt: skip
    short = windows(mouth_opening=torch.sin(TIME))
    short.valid[:, 29:] = False
    assert all(math.isnan(value) for value in measures(short).values())


def test_invalid_frames_do_not_count():
    mouth = 0.1 * torch.sin(2 * math.pi * 1.25 * TIME)
    spoiled = windows(mouth_opening=mouth)
    spoiled.valid[:, 70:] = False
    spoiled.expression[:, 70:] = 5.0
    clean = windows(mouth_opening=mouth[:70].new_zeros(96).index_copy(0, torch.arange(70), mouth[:70]))
    clean.valid[:, 70:] = False
    expected, found = measures(clean), measures(spoiled)
    assert found["mouth_tempo"].item() == pytest.approx(expected["mouth_tempo"].item())
    assert found["mouth_tempo"].item() == pytest.approx(1.25, rel=0.05)


def test_angles_of_a_known_head():
    shape, angles, _ = talking(90)
    points, _ = film(shape, angles)
    found = head_angles(track_signals(points).head)
    moving = found - found.mean(0)
    assert (moving - (angles - angles.mean(0)))[5:-5].abs().mean() < 1.0


def test_batches_are_windows_side_by_side():
    one, other = windows(mouth_opening=torch.sin(3 * TIME)), windows(mouth_opening=torch.sin(9 * TIME))
    both = measures(Signals(*(torch.cat(pair) for pair in zip(one, other, strict=True))))
    for name in MEASURES:
        alone = torch.cat([measures(one)[name], measures(other)[name]])
        torch.testing.assert_close(both[name], alone, equal_nan=True)


def test_reference_range():
    values = {"mouth_tempo": torch.cat([torch.arange(101.0), torch.tensor([float("nan")])])}
    assert reference_range(values) == {"mouth_tempo": pytest.approx((5.0, 95.0))}
    assert reference_range({"mouth_tempo": torch.tensor([float("nan")])}) == {}


def test_findings_in_words():
    reference = {"inner_face_jitter": (1.4, 1.9), "jaw_lip_lag": (-0.03, 0.03), "mouth_tempo": (1.0, 2.0)}
    values = {"inner_face_jitter": [1.2, 1.25, float("nan"), 9.0], "jaw_lip_lag": [-0.1], "mouth_tempo": [float("nan")]}
    lag, jitter = compare(values, reference)  # what leaves its range furthest comes first
    assert (jitter.value, jitter.outside) == (1.25, True)
    assert jitter.text == (
        "Tremble of eyes, nose and lips, relative to that of jaw and skull: 1.25, 90% of genuine training windows lie "
        "between 1.40 and 1.90 (the inside of the face is smoother than the head that it belongs to)"
    )
    assert lag.text.startswith("Lag of the lips behind the jaw: −0.10 s, 90% of")
    inside = Observation("mouth_tempo", 1.5, 1.0, 2.0)
    assert not inside.outside
    assert inside.text.endswith("between 1.00 and 2.00")


@pytest.mark.parametrize(
    ("value", "low", "high", "told"),
    [
        (0.034, 0.0, 0.0312, ("0.034", "0.000", "0.031")),  # with two digits it would look like the end
        (0.12999, 0.13, 0.5, ("0.12999", "0.13000", "0.50000")),
        (-0.0349, -0.0351, 0.0, ("−0.03", "−0.04", "0.00")),
        (0.0351, 0.0, 0.0351, ("0.04", "0.00", "0.04")),  # the end itself is inside
        (0.5 + 1e-12, 0.0, 0.5, ("0.500000000", "0.000000000", "0.500000000")),  # there is an end to it
    ],
)
def test_what_is_called_out_of_range_looks_it(value, low, high, told):
    observation = Observation("jaw_lip_lag", value, low, high)
    assert observation.numbers == told
    assert all(number in observation.text for number in told)
