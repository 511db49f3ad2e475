"""Tracks against hand-worked cases: what joins, what splits, what is interpolated."""

import numpy as np
import pytest
import torch

from mediakit.errors import MediaError
from mediakit.mesh import N_POINTS
from mediakit.tracks import FaceTracks, TrackBuilder


def face(x: float, y: float = 100.0, size: float = 40.0) -> np.ndarray:
    """A square of landmarks centred at (x, y): its box is `size` wide, so its size in the gate's sense is `size`."""
    edge = np.linspace(-0.5, 0.5, N_POINTS, dtype=np.float32)
    square = np.stack([np.sign(edge) * 0.5, edge, edge * 0.1], axis=1).astype(np.float32)
    square[0], square[-1] = (-0.5, -0.5, 0), (0.5, 0.5, 0)
    return square * size + np.array([x, y, 0], np.float32)


def build(frames: list[list[np.ndarray]], fps: float = 25.0, **options: object) -> tuple:
    builder = TrackBuilder(**{"min_duration": 0.0, **options})
    for number, faces in enumerate(frames):
        for track, points in builder.match(number / fps, np.array(faces, np.float32).reshape(-1, N_POINTS, 3)):
            track.add(number / fps, points, points if builder.denoise else None)
    return builder.finish(), builder


def test_small_moves_continue_a_track_and_keep_every_detection():
    (track,), _ = build([[face(100 + 15 * n)] for n in range(10)])
    assert track.valid.all()
    assert torch.allclose(track.points[:, :, 0].mean(1), 100 + 15 * torch.arange(10.0), atol=0.2)
    assert torch.allclose(track.time, torch.arange(10, dtype=torch.float64) / 25)


@pytest.mark.parametrize(
    ("second", "joined"),
    [
        (face(119.0), True),  # 0.475 sizes
        (face(121.0), False),  # 0.525 sizes
        (face(100.0, size=51.0), True),  # ratio 1.275
        (face(100.0, size=53.0), False),  # ratio 1.325
        (face(100.0, size=29.0), True),  # ratio 0.725
        (face(100.0, size=27.0), False),  # ratio 0.675
    ],
)
def test_the_gate(second, joined):
    tracks, _ = build([[face(100)], [second]])
    assert len(tracks) == (1 if joined else 2)


def test_short_gaps_are_invalid_and_linear_in_time():
    # Four frames missing at 25 fps: 0.2 s between detections is too long, three (0.16 s) is not.
    (track,), _ = build([[face(100)], [], [], [], [face(112)]])
    assert track.valid.tolist() == [True, False, False, False, True]
    assert torch.allclose(track.points[:, :, 0].mean(1), torch.tensor([100.0, 103.0, 106.0, 109.0, 112.0]), atol=0.2)
    tracks, _ = build([[face(100)], [], [], [], [], [face(112)]])
    assert len(tracks) == 2


def test_gaps_follow_irregular_times():
    builder = TrackBuilder(min_duration=0.0)
    for time, faces in [(0.0, [face(100)]), (0.02, []), (0.12, []), (0.16, [face(108)])]:
        for track, points in builder.match(time, np.array(faces, np.float32).reshape(-1, N_POINTS, 3)):
            track.add(time, points, None)
    (track,) = builder.finish()
    assert torch.allclose(track.points[:, :, 0].mean(1), torch.tensor([100.0, 101.0, 106.0, 108.0]), atol=0.2)


def test_a_cut_to_another_person_begins_a_new_track_at_once():
    tracks, _ = build([[face(100)]] * 5 + [[face(400)]] * 6)
    assert [len(t) for t in tracks] == [6, 5]
    assert float(tracks[0].time[0]) == pytest.approx(5 / 25)
    assert all(t.valid.all() for t in tracks)


def test_a_glitch_never_enters_the_track_it_interrupts():
    tracks, builder = build([[face(100)], [face(100)], [face(300)], [face(100)], [face(100)]], min_duration=0.01)
    assert [t.valid.tolist() for t in tracks] == [[True, True, False, True, True]]
    assert float(tracks[0].points[2, :, 0].mean()) == pytest.approx(100, abs=0.2)
    assert builder.dropped == 1


def test_two_faces_stay_apart_whatever_their_order():
    frames = [[face(100 + n), face(300 - n)][:: 1 if n % 2 else -1] for n in range(8)]
    tracks, _ = build(frames)
    starts = sorted(float(t.points[0, :, 0].mean()) for t in tracks)
    ends = sorted(float(t.points[-1, :, 0].mean()) for t in tracks)
    assert starts == pytest.approx([100, 300], abs=0.2)
    assert ends == pytest.approx([107, 293], abs=0.2)


def test_a_second_mesh_on_one_face_is_a_duplicate():
    tracks, _ = build([[face(100), face(102)] for _ in range(4)])
    assert [len(t) for t in tracks] == [4]


def test_longest_track_comes_first():
    tracks, _ = build([[face(100)]] * 3 + [[face(100), face(300)]] + [[face(300)]] * 9)
    assert [len(t) for t in tracks] == [10, 4]


def test_round_trip_and_equal_bytes(tmp_path):
    tracks, _ = build([[face(100 + n), face(300)] for n in range(70)], denoise=True)
    whole = FaceTracks(tracks, (640, 480), 70, 70, 3, {"name": "made", "version": "1", "max_faces": 4})
    whole.save(tmp_path / "a.safetensors")
    whole.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    read = FaceTracks.load(tmp_path / "a.safetensors")
    assert (read.size, read.frames, read.frames_with_face, read.dropped) == ((640, 480), 70, 70, 3)
    assert read.detector == whole.detector
    for before, after in zip(whole.tracks, read.tracks, strict=True):
        assert torch.equal(before.points, after.points)
        assert torch.equal(before.denoised, after.denoised)
        assert torch.equal(before.valid, after.valid)
        assert torch.equal(before.time, after.time)


def test_other_files_are_refused_by_name(tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("no tracks here")
    with pytest.raises(MediaError, match=r"notes\.txt: is no file of face tracks"):
        FaceTracks.load(other)
    with pytest.raises(MediaError, match="does not exist"):
        FaceTracks.load(tmp_path / "nothing")
