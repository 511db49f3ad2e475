"""Face tracking: the real bundled FaceMesh, and the Tasks adapter fed by a recorded detector."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mediakit.errors import MediaError, WeightsError
from mediakit.faces import FaceLandmarkerDetector, open_detector, track_faces
from mediakit.io import Frame, write_video
from mediakit.mesh import N_POINTS

mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
legacy = pytest.mark.skipif(not hasattr(mediapipe, "solutions"), reason="this MediaPipe bundles no FaceMesh")


def portrait(angle: float = 0.0, zoom: float = 1.6) -> torch.Tensor:
    """The astronaut of scikit-image, turned in the plane by `angle` degrees counter-clockwise as seen."""
    cv2 = pytest.importorskip("cv2")
    data = pytest.importorskip("skimage.data")
    view = cv2.getRotationMatrix2D((222.0, 110.0), angle, zoom)
    view[:, 2] += (320 - 222, 240 - 110)
    image = cv2.warpAffine(data.astronaut(), view, (640, 480), borderMode=cv2.BORDER_REPLICATE)
    return torch.from_numpy(image).permute(2, 0, 1)


def film(count: int = 20) -> list[Frame]:
    return [Frame(n, n / 25, portrait(8 * math.sin(n / 3))) for n in range(count)]


class Recorded:
    """Replays landmarks as fractions of the image: what any detector must give."""

    def __init__(self, faces: list[np.ndarray]) -> None:
        self.card = {"name": "recorded", "version": "1"}
        self.faces, self.calls, self.resets, self.closed = faces, 0, 0, False

    def detect(self, image, time):
        assert image.dtype == np.uint8
        assert image.flags["C_CONTIGUOUS"]
        self.calls += 1
        return self.faces[self.calls - 1]

    def reset(self):
        self.resets += 1

    def close(self):
        self.closed = True


def recording(count: int = 12) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shape = rng.uniform(-0.1, 0.1, (N_POINTS, 3)).astype(np.float32)
    return [(shape + np.array([0.5 + 0.002 * n, 0.5, 0.0], np.float32))[None] for n in range(count)]


def test_points_are_pixels_with_depth_in_units_of_width():
    faces = recording()
    blank = torch.zeros(3, 200, 400, dtype=torch.uint8)
    detector = Recorded(faces)
    found = track_faces([Frame(n, n / 25, blank) for n in range(12)], detector=detector)
    (track,) = found.tracks
    expected = torch.from_numpy(np.concatenate(faces)) * torch.tensor([400.0, 200.0, 400.0])
    assert torch.allclose(track.points, expected)
    assert found.size == (400, 200)
    assert (found.frames, found.frames_with_face) == (12, 12)
    assert not detector.closed  # a detector of one's own stays one's own


def test_no_face_is_no_error():
    blank = torch.zeros(3, 60, 80, dtype=torch.uint8)
    empty = [np.zeros((0, N_POINTS, 3), np.float32)] * 5
    found = track_faces([Frame(n, n / 25, blank) for n in range(5)], detector=Recorded(empty))
    assert found.tracks == ()
    assert (found.frames, found.frames_with_face) == (5, 0)


def test_a_cut_ends_tracks_and_resets_the_detector():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randint(0, 256, (3, 200, 400), dtype=torch.uint8, generator=generator) for _ in range(2))
    detector = Recorded(recording())
    found = track_faces(
        [Frame(n, n / 25, first if n < 7 else second) for n in range(12)], detector=detector, min_duration=0
    )
    assert [len(t) for t in found.tracks] == [7, 5]
    assert found.cuts == (7 / 25,)
    assert detector.resets == 1


@legacy
def test_facemesh_sees_no_face_in_what_follows_a_cut():
    data = pytest.importorskip("skimage.data")
    coffee = torch.from_numpy(data.coffee()).permute(2, 0, 1)[:, :400, :600]
    frames = film(12)
    frames = [Frame(n, n / 25, frames[n].image[:, :400, :600] if n < 12 else coffee) for n in range(30)]
    (track,) = track_faces(frames).tracks
    assert len(track) == 12


@legacy
def test_facemesh_follows_a_real_face_and_its_roll():
    found = track_faces(film())
    (track,) = found.tracks
    assert track.points.shape == (20, N_POINTS, 3)
    assert track.valid.all()
    eyes = track.points[:, 263, :2] - track.points[:, 33, :2]  # from the subject's right eye to the left one
    roll = torch.rad2deg(torch.atan2(-eyes[:, 1], eyes[:, 0]))
    truth = torch.tensor([8 * math.sin(n / 3) for n in range(20)])
    assert torch.corrcoef(torch.stack([roll, truth]))[0, 1] > 0.99
    assert (roll - truth - (roll - truth).mean()).abs().max() < 1.0
    assert found.detector["name"] == "mediapipe.solutions.face_mesh"
    assert found.detector["version"] == mediapipe.__version__


@legacy
def test_two_runs_give_identical_bytes(tmp_path):
    clip = tmp_path / "clip.mp4"
    write_video(clip, (f.image for f in film(15)), 25)
    track_faces(clip).save(tmp_path / "one")
    track_faces(clip).save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@legacy
def test_denoised_points_come_beside_the_raw_ones():
    found = track_faces(film(8), denoise=True)
    (track,) = found.tracks
    plain = track_faces(film(8)).tracks[0]
    assert torch.equal(track.points, plain.points)
    assert torch.equal(track.denoised[0], track.points[0])
    assert not torch.equal(track.denoised, track.points)
    assert (track.denoised - track.points).abs().max() < 10


@legacy
def test_one_decoding_pass_feeds_others():
    seen = []
    track_faces(film(5), on_frame=lambda frame: seen.append(frame.index))
    assert seen == list(range(5))


def tasks_with(monkeypatch, tmp_path, faces: list[np.ndarray]):
    """A FaceLandmarker that answers with recorded landmarks in MediaPipe's own containers."""
    from mediapipe.tasks.python import vision
    from mediapipe.tasks.python.components.containers.landmark import NormalizedLandmark

    class Replay:
        stamps: list[int] = []  # noqa: RUF012
        closed = False

        def detect_for_video(self, image, timestamp_ms):
            assert image.numpy_view().shape == (200, 400, 3)
            self.stamps.append(timestamp_ms)
            found = faces[len(self.stamps) - 1]
            return SimpleNamespace(
                face_landmarks=[
                    [NormalizedLandmark(x=float(x), y=float(y), z=float(z)) for x, y, z in f] for f in found
                ]
            )

        def close(self):
            self.closed = True

    replay = Replay()
    Replay.stamps = []
    monkeypatch.setattr(vision.FaceLandmarker, "create_from_options", classmethod(lambda cls, options: replay))
    model = tmp_path / "face_landmarker.task"
    model.write_bytes(b"stands for the real file")
    return model, replay


def test_tasks_adapter_gives_the_same_contract(monkeypatch, tmp_path):
    faces = recording()
    model, replay = tasks_with(monkeypatch, tmp_path, faces)
    blank = torch.zeros(3, 200, 400, dtype=torch.uint8)
    # Times that round to equal milliseconds: the task wants strictly growing ones.
    frames = [Frame(n, n * 0.0004, blank) for n in range(12)]
    found = track_faces(frames, model=model, min_duration=0.0)
    reference = track_faces(frames, detector=Recorded(faces), min_duration=0.0)
    assert torch.allclose(found.tracks[0].points, reference.tracks[0].points)
    assert all(a < b for a, b in zip(replay.stamps, replay.stamps[1:], strict=False))
    assert replay.closed
    assert found.detector["name"] == "mediapipe.tasks.vision.FaceLandmarker"
    assert found.detector["model"].startswith("sha256:")


def test_without_a_bundled_model_the_error_says_what_to_get(monkeypatch):
    monkeypatch.delattr(mediapipe, "solutions", raising=False)
    with pytest.raises(WeightsError, match=r"ships no face model.*face_landmarker\.task.*--face-model FILE"):
        open_detector()


def test_a_missing_or_wrong_model_file_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"gone\.task: does not exist"):
        open_detector(tmp_path / "gone.task")
    wrong = tmp_path / "wrong.task"
    wrong.write_text("not a model")
    with pytest.raises(WeightsError, match=r"wrong\.task: .*cannot use this face model"):
        FaceLandmarkerDetector(wrong, 1, 0.5)
