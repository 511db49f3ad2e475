"""From a file to its events: windows, what a file lacks, and the encoders that a checkpoint names."""

import numpy as np
import pytest
import torch
from torch import nn
from toy_parser import CLASSES, Reader, save

from mediakit.encoders import AudioEncoder, ClipEncoder, FrameEncoder
from mediakit.encoders.rebuild import rebuild_encoder
from mediakit.errors import MediakitError, WeightsError
from mediakit.extract import extract_folder
from mediakit.features import FeatureFolder
from mediakit.io import Audio, write_audio, write_video
from mediakit.onepass import Encoders, FileFeatures
from mediakit.parsing.events import Event, events_to_segments
from mediakit.parsing.metrics import decide
from mediakit.parsing.predict import (
    load_parser,
    open_encoders,
    parse_features,
    predict_file,
)
from mediakit.synthetic.corpus import write_clip
from mediakit.synthetic.events import EventClips

RATE = 16_000


class Other(Reader):
    """A model of another task."""

    def __init__(self) -> None:
        super().__init__()
        del self.network
        self.weight = nn.Linear(1, 1)


class Fixed(nn.Module):
    """An encoder whose features are all alike."""

    def __init__(self, value: float, segment_length: int = RATE, frames_per_clip: int = 8) -> None:
        super().__init__()
        self.value, self.segment_length, self.frames_per_clip = value, segment_length, frames_per_clip

    def forward(self, x):
        return torch.full((1, 1, 4), self.value)

    def card(self):
        return {"name": f"Fixed({self.value})", "weights": "none", "sha256": "0"}


SILENT, BLACK = -9.0, -7.0
FAKES = Encoders(Fixed(SILENT), Fixed(BLACK), Fixed(BLACK))


def features(audio, visual, seconds=None, **changes) -> FileFeatures:
    """A file whose seconds have the given classes (K columns of 0 and 1) in sound and picture."""
    arrays = {}
    for names, matrix in ((("audio",), audio), (("frames", "clips"), visual)):
        if matrix is not None:
            seconds = len(matrix)
            array = (np.asarray(matrix, np.float32) * 2 - 1) * 4
            arrays |= dict.fromkeys(names, np.pad(array, ((0, 0), (0, 1))))
    return FileFeatures(seconds, arrays, None, **{"duration": float(seconds), **changes})


def matrix(seconds, *events):
    on = np.zeros((seconds, 3))
    for label, start, stop in events:
        on[start:stop, CLASSES.index(label)] = 1
    return on


def spans(result, modality):
    return [(e.label, e.start, e.end) for e in result.events if e.modality == modality]


def test_two_halves_give_the_events_of_each_at_their_times():
    heard = matrix(20, ("dog", 0, 8), ("bell", 13, 20))
    seen = matrix(20, ("dog", 4, 10), ("cat", 10, 20))
    result = parse_features(Reader(), features(heard, seen), FAKES)
    assert spans(result, "audio") == [("dog", 0, 8), ("bell", 13, 20)]
    assert spans(result, "visual") == [("dog", 4, 10), ("cat", 10, 20)]
    assert spans(result, "audio-visual") == [("dog", 4, 8)]
    assert result.windows == ((0, 10), (5, 15), (10, 20))
    probability = torch.tensor(4.0).sigmoid()
    assert result.events[0].score == pytest.approx(probability.item(), abs=1e-6)


def test_what_fills_ten_seconds_of_ten_minutes_is_not_filtered_by_the_rest():
    seen = matrix(600, ("cat", 300, 310))
    module = Reader()
    result = parse_features(module, features(matrix(600), seen), FAKES)
    assert spans(result, "visual") == [("cat", 300, 310)]
    assert result.visual_prob[1] > 0.9 > 0.1 > result.visual_prob[0]
    assert len(result.windows) == 119
    assert sum(shape[0] for shape in module.network.seen) == 119
    assert max(shape[0] for shape in module.network.seen) <= 16


@pytest.mark.parametrize("protocol", ["mmcse", "han", "jomold", "raw"])
def test_one_window_is_decided_as_the_protocol_says(protocol):
    generator = torch.Generator().manual_seed(3)
    audio, visual = (torch.randn(10, 4, generator=generator).numpy() for _ in range(2))
    found = FileFeatures(10, {"audio": audio, "frames": visual, "clips": visual}, None, duration=10.0)
    module = Reader(protocol=protocol, scale=3.0)
    result = parse_features(module, found, FAKES)
    output = module.network.eval()(*(torch.from_numpy(a)[None] for a in (audio, visual, visual)))
    expected = decide(output, protocol)
    actual = events_to_segments(result.events, CLASSES, 10)
    assert torch.equal(actual[0].bool(), expected[0][0])
    assert torch.equal(actual[1].bool(), expected[1][0])
    torch.testing.assert_close(result.frame_prob, output.frame_logits[0].sigmoid())
    torch.testing.assert_close(result.video_prob, output.video_prob[0])
    assert result.protocol == protocol


def test_a_short_file_is_filled_up_with_its_last_second_and_cut():
    module = Reader()
    # Filled up, the cat is seen for 8 of 10 seconds, the dog for 2: the filter by the mean keeps the cat alone.
    result = parse_features(module, features(matrix(3), matrix(3, ("dog", 0, 2), ("cat", 2, 3)), duration=2.6), FAKES)
    assert spans(result, "visual") == [("cat", 2.0, 2.6)]
    assert module.network.seen == [(1, 10, 4)]
    assert result.frame_prob.shape == (3, 2, 3)


def test_without_sound_silence_stands_in_and_the_pictures_alone_decide():
    seen = matrix(10, ("cat", 2, 9))
    # By its protocol this one filters what is seen by the larger of both modalities; alone, by what is seen.
    module = Reader(protocol="han")
    found = features(None, seen, absent={"audio": "has no sound"})
    result = parse_features(module, found, FAKES)
    assert spans(result, "visual") == [("cat", 2, 9)]
    assert {event.modality for event in result.events} == {"visual"}
    assert result.absent == {"audio": "The file has no sound: nothing can be heard, so only what is seen was parsed."}
    assert result.protocol == "jomold"
    torch.testing.assert_close(result.frame_prob[:, 0], torch.full((10, 3), SILENT).sigmoid())


def test_without_pictures_black_ones_stand_in():
    found = features(matrix(12, ("bell", 2, 12)), None, absent=dict.fromkeys(("frames", "clips"), "has no pictures"))
    result = parse_features(Reader(), found, FAKES)
    assert spans(result, "audio") == [("bell", 2, 12)]
    assert result.absent.keys() == {"visual"}
    torch.testing.assert_close(result.frame_prob[:, 1], torch.full((12, 3), BLACK).sigmoid())


def test_a_silent_track_is_told_and_gives_no_heard_events():
    found = features(matrix(10, ("dog", 0, 10)), matrix(10, ("dog", 0, 10)), silent=True)
    result = parse_features(Reader(), found, FAKES)
    assert [event.modality for event in result.events] == ["visual"]
    assert "The sound track is silent" in result.absent["audio"]


def test_neither_heard_nor_seen():
    nothing = features(None, None, 4, absent=dict.fromkeys(("audio", "frames", "clips"), "has none"), silent=True)
    result = parse_features(Reader(protocol="raw"), nothing, FAKES)
    assert result.events == ()
    assert result.absent.keys() == {"audio", "visual"}


def test_prediction_leaves_the_network_as_it_was():
    module = Reader().train()
    parse_features(module, features(matrix(4), matrix(4)), FAKES)
    assert module.network.training


def test_plain_values(tmp_path):
    import json

    (tmp_path / "model.ckpt").write_bytes(b"weights")
    result = parse_features(Reader(), features(matrix(4), matrix(4, ("cat", 0, 4))), FAKES, tmp_path / "model.ckpt")
    told = json.loads(json.dumps(result.to_dict()))
    assert told["events"] == [dict(Event(0.0, 4.0, "cat", "visual", pytest.approx(0.982, abs=1e-3))._asdict())]
    assert told["classes"] == [*CLASSES]
    assert told["model"]["checkpoint"] == "model.ckpt"
    assert len(told["model"]["checkpoint_sha256"]) == len(told["model"]["weights_sha256"]) == 64
    assert told["encoders"]["audio"]["name"] == f"Fixed({SILENT})"


def tone(seconds):
    time = torch.arange(round(seconds * RATE)) / RATE
    return Audio(0.3 * torch.sin(2 * torch.pi * 440 * time)[None], RATE, 0.0)


@pytest.fixture(scope="module")
def references() -> Encoders:
    return Encoders(*(kind("reference", weights="pretrained") for kind in (AudioEncoder, FrameEncoder, ClipEncoder)))


def reading(encoders: Encoders, **options) -> Reader:
    module = Reader(**options)
    module.encoders = {name: getattr(encoders, name).card() for name in ("audio", "frames", "clips")}
    return module


def test_a_raw_clip_gives_what_its_extracted_features_give(tmp_path, references):
    (tmp_path / "clips").mkdir()
    write_clip(EventClips(seconds=3, size=(48, 64)).clip(0), tmp_path / "clips" / "a.mp4")
    extract_folder(tmp_path / "clips", tmp_path / "features", features=("audio", "frames", "clips"))
    folder = FeatureFolder(tmp_path / "features")
    module = reading(references, segments=3, protocol="raw", scale=2.0)
    module.check_encoders(folder.encoders)
    result = predict_file(module, tmp_path / "clips" / "a.mp4")
    output = module.network.eval()(*(folder.load("a", name)[None] for name in ("audio", "frames", "clips")))
    torch.testing.assert_close(result.frame_prob, output.frame_logits[0].sigmoid(), rtol=1e-4, atol=1e-5)
    assert result.duration == pytest.approx(3.0, abs=0.1)
    assert result.absent == {}
    assert result.synthetic
    assert result.encoders == module.encoders


def test_files_that_lack_something(tmp_path, references):
    pictures = [torch.full((3, 48, 64), 100, dtype=torch.uint8)] * 10
    write_video(tmp_path / "mute.mp4", pictures, 10)
    write_video(tmp_path / "silent.mp4", pictures, 10, audio=Audio(torch.zeros(1, RATE), RATE, 0.0))
    write_video(tmp_path / "whole.mp4", pictures, 10, audio=tone(1))
    write_audio(tmp_path / "song.wav", tone(2).waveform, RATE)
    module = reading(references)
    absent = {
        name: predict_file(module, tmp_path / name, encoders=references).absent
        for name in ("mute.mp4", "silent.mp4", "whole.mp4", "song.wav")
    }
    assert {name: set(told) for name, told in absent.items()} == {
        "mute.mp4": {"audio"},
        "silent.mp4": {"audio"},
        "whole.mp4": set(),
        "song.wav": {"visual"},
    }
    assert "has no sound" in absent["mute.mp4"]["audio"]
    assert "silent" in absent["silent.mp4"]["audio"]


def test_real_films(shared_data, references):
    module = reading(references, protocol="raw")
    friday = predict_file(module, shared_data / "media" / "friday.mp4", encoders=references)
    assert friday.frame_prob.shape == (7, 2, 3)
    assert friday.absent == {}
    assert all(event.end <= friday.duration < 6.3 for event in friday.events)
    flower = predict_file(module, shared_data / "media" / "flower.mp4", encoders=references)
    assert "silent" in flower.absent["audio"]


def test_an_encoder_is_rebuilt_from_its_card(tmp_path):
    seeded = AudioEncoder("test_resnet", seed=5)
    again = rebuild_encoder(seeded.card(), "audio")
    assert torch.equal(again(tone(1).waveform), seeded(tone(1).waveform))
    bundled = ClipEncoder("reference", weights="pretrained").card()
    assert rebuild_encoder(bundled, "clips").card() == bundled

    torch.save(seeded.state_dict(), tmp_path / "mine.pt")
    local = AudioEncoder("test_resnet", weights=str(tmp_path / "mine.pt")).card()
    with pytest.raises(WeightsError, match=r"weight file mine\.pt .*Give it with --audio-weights FILE"):
        rebuild_encoder(local, "audio")
    (tmp_path / "mine.pt").rename(tmp_path / "moved.pt")
    assert rebuild_encoder(local, "audio", tmp_path / "moved.pt").card()["sha256"] == local["sha256"]
    torch.save(AudioEncoder("test_resnet", seed=6).state_dict(), tmp_path / "other.pt")
    with pytest.raises(MediakitError, match=r"features were made by .*, but .* is expected"):
        rebuild_encoder(local, "audio", tmp_path / "other.pt")


def test_encoders_that_cannot_be_rebuilt_are_named():
    with pytest.raises(WeightsError, match="nothing says which encoder made the frames features"):
        open_encoders(reading_of({"audio": AudioEncoder("test_resnet").card(), "frames": None}))
    with pytest.raises(WeightsError, match="were made by VGGish, which cannot be rebuilt"):
        open_encoders(reading_of({"audio": {"name": "VGGish"}}))
    with pytest.raises(WeightsError, match=r"were made by ClipEncoder\(r3d_18\), which cannot be rebuilt"):
        open_encoders(reading_of({"audio": {"name": "ClipEncoder(r3d_18)"}}))


def reading_of(cards) -> Reader:
    module = Reader()
    module.encoders = cards
    return module


def test_a_checkpoint_of_another_task_is_refused(tmp_path):
    save(Reader(segments=4), tmp_path / "reader.ckpt")
    save(Other(), tmp_path / "other.ckpt")
    assert load_parser(tmp_path / "reader.ckpt").segments == 4
    with pytest.raises(WeightsError, match="holds Other, which does not parse events"):
        load_parser(tmp_path / "other.ckpt")


@pytest.mark.slow
def test_ten_minutes(tmp_path, references):
    levels = (torch.full((3, 120, 160), 40 if n < 600 else 200, dtype=torch.uint8) for n in range(1200))
    write_video(tmp_path / "long.mp4", levels, 2, audio=tone(400), preset="ultrafast")
    module = reading(references, protocol="raw")
    result = predict_file(module, tmp_path / "long.mp4", encoders=references)
    assert len(result.windows) == 119
    assert result.duration == pytest.approx(600, abs=0.1)
    heard, seen = result.frame_prob.unbind(1)
    # Each second of a still picture looks like the one before, wherever the windows lie; at 300 s the picture changes.
    assert torch.allclose(seen[:300], seen[0], atol=1e-3)
    assert torch.allclose(seen[300:], seen[-1], atol=1e-3)
    assert float((seen[0] - seen[-1]).abs().max()) > 0.05
    assert torch.allclose(heard[402:], heard[-1], atol=1e-3)
    assert float((heard[:399] - heard[-1]).abs().amax(1).min()) > 0.05


@pytest.mark.parametrize("network", ["mmcse", "han"])
def test_a_parsing_module_predicts(tmp_path, references, network):
    from mediakit.parsing.module import ParsingModule

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = ParsingModule(
            "events", 320, 320, 320, segments=4, network=network, hidden=16, heads=2, layers=1, protocol="raw"
        )
    module.encoders = {name: getattr(references, name).card() for name in ("audio", "frames", "clips")}
    write_clip(EventClips(seconds=6, size=(48, 64)).clip(0), tmp_path / "a.mp4")
    ready = load_parser(save(module, tmp_path / "a.ckpt")).predict(tmp_path / "a.mp4")
    assert ready.classes == module.classes
    assert ready.windows == ((0, 4), (2, 6))
    assert ready.frame_prob.shape == (6, 2, 12)
    assert ready.events
    heard, seen = events_to_segments(ready.events, ready.classes, 6)
    assert torch.equal(heard.bool(), ready.frame_prob[:, 0] >= 0.5)
    assert torch.equal(seen.bool(), ready.frame_prob[:, 1] >= 0.5)
    # In eval mode, whatever mode the module was in: dropout would give another answer each time.
    again = predict_file(module.train(), tmp_path / "a.mp4", encoders=references)
    torch.testing.assert_close(again.frame_prob, ready.frame_prob)
