"""From face tracks to a verdict: windows, pieces of long tracks, and what is never scored."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from test_motion import film, talking
from toy_detector import Prejudice
from toy_parser import Reader, save

from mediakit.deepfake.evidence import average, dempster_combine, discount, masses_from_logits
from mediakit.deepfake.model import DeepfakeModel
from mediakit.deepfake.predict import PIECE, detect_file, detect_tracks, load_detector, pieces
from mediakit.deepfake.provenance import LIMITS
from mediakit.deepfake.quality import LEAST, RAMPS
from mediakit.deepfake.signals import cut_windows, resample_track, track_signals
from mediakit.errors import MediaError, WeightsError
from mediakit.tracks import FaceTrack, FaceTracks


def track(seconds=8.0, rate=30.0, scale=90.0, start=0.0, seed=0) -> FaceTrack:
    frames = round(seconds * rate)
    shape, angles, _ = talking(frames, seed)
    points, _ = film(shape, angles * 0.3, scale=scale)
    time = start + torch.arange(frames, dtype=torch.float64) / rate
    return FaceTrack(points.float(), torch.ones(frames, dtype=torch.bool), time)


def tracks(*found: FaceTrack) -> FaceTracks:
    return FaceTracks(tuple(found), (640, 480), 1000, 900, 0, (), {"name": "test", "version": "1"})


@pytest.fixture
def module() -> Prejudice:
    return Prejudice()


def test_windows_and_masses(module):
    found = detect_tracks(module, tracks(track()))
    (one,) = found.tracks
    assert [(round(w.start, 3), round(w.end, 3)) for w in one.windows] == [
        (0.0, 3.167), (1.6, 4.767), (3.2, 6.367), (4.8, 7.967),
    ]  # fmt: skip
    stream = masses_from_logits(torch.tensor([8.0, -8.0], dtype=torch.float64))
    fused, conflict = dempster_combine(stream, stream)
    for window in one.windows:
        assert window.quality.score == 1
        assert window.streams["head"] == pytest.approx(tuple(stream.tolist()), abs=1e-6)
        assert window.judgement.mass == pytest.approx(tuple(fused.tolist()), abs=1e-6)
        assert window.judgement.conflict == pytest.approx(float(conflict), abs=1e-6)
    assert found.judgement.mass == pytest.approx(tuple(fused.tolist()), abs=1e-6)
    assert (found.judgement.verdict, found.speaker, found.streams) == ("fake", 1, ("head", "expression"))


def test_a_network_is_given_what_the_signals_are():
    torch.manual_seed(0)
    module = Prejudice()
    module.network = DeepfakeModel()
    face = track(4.0)
    found = detect_tracks(module, tracks(face)).tracks[0]
    signals = cut_windows(track_signals(resample_track(face)[0]), [0, 24])
    with torch.inference_mode():
        expected = module.network.eval()(signals)
    torch.testing.assert_close(
        torch.tensor([w.judgement.mass for w in found.windows]), expected.mass, rtol=1e-4, atol=1e-5
    )
    whole = average(expected.mass.double())
    assert found.judgement.mass == pytest.approx(tuple(whole.tolist()), abs=1e-5)


def test_quality_reaches_the_network_and_the_settings_are_put_back(module):
    threads = torch.get_num_threads()
    module.network.train()
    detect_tracks(module, tracks(track(scale=55.0)))
    assert module.network.training
    assert torch.get_num_threads() == threads
    ((count, quality),) = module.network.seen
    assert count == 4
    assert quality == pytest.approx([0.5] * 4, abs=0.01)  # halfway between 30 and 80 px


@pytest.mark.parametrize(
    ("face", "words"),
    [
        (track(0.8), "seen for 0.8 s only"),
        (track(scale=35.0), "too small: 35 px"),
        (track(rate=9.0), "9.0 frames per second"),
        (replace(track(), valid=torch.arange(240) % 2 == 0), "50% of the frames"),
        (track(5 / 30), "0.2 s only"),
        (track(1 / 30), "0.0 s only"),
    ],
)
def test_even_a_prejudiced_network_makes_no_score_from_nothing(module, face, words):
    found = detect_tracks(module, tracks(face))
    assert found.judgement.verdict == "undetermined"
    assert words in found.judgement.reason
    assert found.judgement.mass is None
    assert module.network.seen == []  # it was not even asked
    told = json.dumps(found.to_dict()["tracks"][0])
    assert '"probability": null' in told
    assert "NaN" not in told


def test_no_face_and_no_pictures(module):
    assert detect_tracks(module, tracks()).judgement.reason == "no face was found"
    assert "no pictures" in detect_tracks(module, None).judgement.reason
    json.dumps(detect_tracks(module, None).to_dict(), allow_nan=False)


def test_tracks_are_numbered_by_their_start(module):
    late, early = track(6.0, start=10.0), track(2.0, start=1.0, seed=1)
    found = detect_tracks(module, tracks(late, early))
    assert [(t.number, t.start, t.detections) for t in found.tracks] == [(1, 1.0, 60), (2, 10.0, 180)]
    assert "2 stretches of faces, 2 of them" in found.judgement.reason


def test_a_window_of_a_good_and_a_bad_part(module):
    face = track(8.0)
    face.valid[120::2] = False  # half of the frames from 4 s on
    windows = detect_tracks(module, tracks(face)).tracks[0].windows
    assert [w.quality.refusal is None for w in windows] == [True, True, True, False]
    assert windows[-1].streams == {}
    assert windows[-1].judgement.mass is None
    assert windows[0].quality.score == 1
    assert windows[2].quality.score < 0.5


def test_a_long_track_is_read_in_equal_pieces():
    face = track(130.0)
    parts = list(pieces(face))
    assert [len(part) for part in parts] == [1300, 1300, 1300]
    assert torch.equal(torch.cat([part.time for part in parts]), face.time)
    assert all(part.points._base is face.points for part in parts)  # no copies
    assert all(part.duration <= PIECE for part in parts)
    assert [len(part) for part in pieces(track(59.0))] == [1770]
    assert [len(part) for part in pieces(track(1 / 30))] == [1]


def test_windows_of_pieces_cover_the_track(module):
    windows = detect_tracks(module, tracks(track(70.0, rate=15.0))).tracks[0].windows
    assert windows[0].start == 0
    assert windows[-1].end == pytest.approx(70.0 - 1 / 15)
    assert all(b.start > a.start and b.start <= a.end + 0.1 for a, b in pairwise(windows))


def test_calibration_moves_windows_and_video(module):
    module.calibration = (1.0, -20.0)
    found = detect_tracks(module, tracks(track()))
    assert found.judgement.verdict == "real"
    assert all(w.judgement.verdict == "real" for w in found.tracks[0].windows)
    # the streams are told as the network said it
    assert found.tracks[0].windows[0].streams["head"][0] > 0.7


def test_the_seconds_that_weigh_most(module):
    face = track(12.0)
    face.points[:180] *= 0.6  # small in the first half: 54 px
    found = detect_tracks(module, tracks(face)).tracks[0]
    heavy = found.heaviest(2)
    assert heavy[0].start > 4
    assert all(a.end <= b.start or b.end <= a.start for a in heavy for b in heavy if a is not b)
    assert found.portrait.start == pytest.approx(heavy[0].start)
    assert found.portrait.values.shape == (96, 3)
    # nothing speaks for the opposite of what every window says
    opposite = replace(found, judgement=replace(found.judgement, verdict="real"))
    assert opposite.heaviest() == ()


def test_findings_stand_beside_the_reference(module):
    observations = {f.name: f for f in detect_tracks(module, tracks(track())).tracks[0].observations}
    assert {*observations} == {"mouth_tempo", "inner_face_jitter"}
    assert (observations["mouth_tempo"].low, observations["mouth_tempo"].high) == module.reference["mouth_tempo"]


def test_equal_tracks_give_equal_words(module):
    first, second = (json.dumps(detect_tracks(Prejudice(), tracks(track())).to_dict()) for _ in range(2))
    assert first == second


def test_provenance_says_what_was_used(module, tmp_path):
    path = save(module, tmp_path / "detector.ckpt")
    told = detect_tracks(module, tracks(track(2.0)), digest="abc", checkpoint=path).to_dict()["provenance"]
    assert told["schema"] == "mediakit.provenance/1"
    assert told["file"] == {"sha256": "abc"}
    assert told["landmarks"]["name"] == "test"
    assert told["model"]["checkpoint"] == "detector.ckpt"
    assert len(told["model"]["checkpoint_sha256"]) == len(told["model"]["weights_sha256"]) == 64
    assert told["versions"]["torch"]
    assert told["parameters"]["window"] == pytest.approx(3.2)
    assert told["parameters"]["thresholds"] == module.thresholds
    assert {*told["quality"]["ramps"]} == {*RAMPS}
    assert told["quality"]["least"] == LEAST
    assert "limits" not in told


def test_the_limits_are_told_once(module):
    told = detect_tracks(module, tracks(track(2.0))).to_dict()
    assert told["limits"] == list(LIMITS)
    assert json.dumps(told).count(json.dumps(LIMITS[0])) == 1


def test_a_verdict_in_one_line(module):
    found = detect_tracks(module, tracks(track()))
    assert str(found).startswith("fake, belief in fake 96% to 100%, ")
    assert str(found).endswith("quality 1.00: " + found.judgement.reason)
    assert str(detect_tracks(module, tracks())) == "undetermined: no face was found"


def test_load_detector(module, tmp_path):
    loaded = load_detector(save(module, tmp_path / "detector.ckpt"))
    assert type(loaded) is Prejudice
    with pytest.raises(WeightsError, match="holds Reader, which does not detect deepfakes"):
        load_detector(save(Reader(), tmp_path / "parser.ckpt"))
    with pytest.raises(MediaError, match="does not exist"):
        load_detector(tmp_path / "gone.ckpt")
    with pytest.raises(MediaError, match="does not exist"):
        detect_file(module, tmp_path / "gone.mp4")


def test_discounted_masses_are_what_the_model_says(module):
    found = detect_tracks(module, tracks(track(scale=55.0))).tracks[0].windows[0]
    plain = masses_from_logits(torch.tensor([8.0, -8.0], dtype=torch.float64))
    expected = discount(plain, found.quality.score)
    assert found.streams["expression"] == pytest.approx(tuple(expected.tolist()), abs=1e-6)
