"""`mediakit analyze --deepfake` on real films: a sensible verdict each, and never a score from nothing.

The detector is the most prejudiced there can be: whatever it is shown, it calls fake.
"""

import json
import re
from itertools import count
from pathlib import Path

import pytest
import torch
from toy_detector import Prejudice
from toy_parser import save

from mediakit.analyze import analyze_file
from mediakit.cli import main
from mediakit.deepfake.predict import detect_file
from mediakit.io import Frame, read_video, write_audio, write_image, write_video
from mediakit.report import render_page
from mediakit.synthetic.heads import TalkingHeads

FPS, SIDE = 25, 400


@pytest.fixture(scope="module", autouse=True)
def face_mesh():
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("this MediaPipe bundles no face model")


@pytest.fixture(scope="module")
def people() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Two people who talk for two seconds."""
    heads = TalkingHeads(kinds=("real",), seconds=2, size=(SIDE, SIDE), identities=2)
    return list(heads.clip(0).frames()), list(heads.clip(1).frames())


@pytest.fixture(scope="module")
def wall() -> torch.Tensor:
    ramp = torch.linspace(60, 190, SIDE).to(torch.uint8)
    return torch.stack(
        [ramp[None].expand(SIDE, SIDE), ramp[:, None].expand(SIDE, SIDE), ramp.flip(0).expand(SIDE, SIDE)]
    )


@pytest.fixture
def judge(tmp_path):
    """Encodes frames, has them judged, and returns the analysis; the page must come out as well."""

    def run(frames, fps=FPS, crf=18):
        path = tmp_path / f"{next(names)}.mp4"
        write_video(path, frames, fps, crf=crf, preset="ultrafast", threads=1)
        found = analyze_file(path, deepfake=Prejudice())
        page = render_page(found)
        assert 'id="deepfake"' in page
        assert not re.search(r"\bnan\b", page, re.IGNORECASE)
        json.dumps(found.to_dict(), allow_nan=False)
        return found.deepfake

    names = count()
    return run


def test_one_person(judge, people):
    found = judge(people[0])
    assert found.judgement.verdict == "fake"
    assert found.judgement.quality > 0.5
    (face,) = found.tracks
    assert face.detections == 50


def test_no_face(judge, wall):
    found = judge([wall] * 30)
    assert found.judgement.reason == "no face was found"
    assert (found.judgement.verdict, found.judgement.mass, found.tracks) == ("undetermined", None, ())


def test_two_faces_side_by_side(judge, people):
    found = judge([torch.cat(pair, 2) for pair in zip(*people, strict=True)])
    assert [face.judgement.verdict for face in found.tracks] == ["fake", "fake"]
    assert "2 stretches of faces, 2 of them" in found.judgement.reason


def test_a_face_that_leaves_and_returns(judge, people, wall):
    found = judge([*people[0][:30], *[wall] * 12, *people[0][20:]])
    first, second = found.tracks
    assert first.end < 1.25 < 1.6 < second.start
    assert all(face.judgement.mass for face in found.tracks)


def test_a_cut_between_two_people(judge, people):
    found = judge([*people[0][:40], *people[1][:40]])
    first, second = found.tracks
    assert first.end == pytest.approx(1.56, abs=0.05)
    assert second.start == pytest.approx(1.6, abs=0.05)
    assert all(window.end <= 1.6 or window.start >= 1.6 for face in found.tracks for window in face.windows)


def test_five_frames(judge, people):
    found = judge(people[0][:5])
    assert found.judgement.reason == "the face is seen for 0.2 s only; at least 1 s is needed"
    assert found.judgement.mass is None


def test_twelve_frames_a_second(judge, people):
    found = judge(people[0][::2], fps=12)
    (window,) = found.tracks[0].windows
    assert window.quality.values["frames_per_second"] == pytest.approx(12, abs=0.1)
    assert window.quality.score < 0.4
    low, high = found.judgement.belief
    assert high - low > 0.5  # mostly open, whatever the network says


def test_eight_frames_a_second(judge, people):
    found = judge(people[0][::3], fps=8)
    assert "8.0 frames per second are too few" in found.judgement.reason
    assert found.judgement.mass is None


def test_a_variable_frame_rate(judge, people):
    steps = [1, 1, 2, 1, 3, 1, 1, 2] * 8  # of 25ths of a second, as phones film in the dark
    at = [sum(steps[:n]) for n in range(len(steps)) if sum(steps[:n]) < 50]
    found = judge([Frame(n, t / FPS, people[0][t]) for n, t in enumerate(at)], fps=None)
    (window,) = found.tracks[0].windows
    assert window.quality.values["frames_per_second"] == pytest.approx((len(at) - 1) / (at[-1] / FPS), rel=0.02)
    assert window.quality.refusal is None
    assert found.judgement.mass


def test_small_and_strongly_compressed(judge, people):
    import cv2

    def shrink(image: torch.Tensor) -> torch.Tensor:
        small = cv2.resize(image.permute(1, 2, 0).numpy(), (180, 180), interpolation=cv2.INTER_AREA)
        return torch.nn.functional.pad(torch.from_numpy(small).permute(2, 0, 1), (70, 70))

    found = judge([shrink(image) for image in people[0]], crf=40)
    assert found.judgement.verdict == "undetermined"
    assert re.search(r"too small: 3\d px|no face", found.judgement.reason)
    assert found.judgement.mass is None


@pytest.mark.slow
def test_a_cockatoo(shared_data):
    path = shared_data / "media" / "cockatoo.mp4"
    found = analyze_file(path, deepfake=Prejudice())
    assert found.deepfake.judgement.verdict == "undetermined"
    assert found.deepfake.judgement.mass is None


def test_a_photograph_and_a_sound(people, tmp_path):
    write_image(tmp_path / "face.png", people[0][0])
    write_audio(tmp_path / "song.wav", 0.1 * torch.sin(torch.arange(16_000) / 9)[None], 16_000)
    for name, words in (("face.png", "a single picture does not move"), ("song.wav", "no pictures")):
        found = analyze_file(tmp_path / name, deepfake=Prejudice())
        assert words in found.deepfake.judgement.reason
        assert found.deepfake.judgement.mass is None
        assert "Undetermined" in render_page(found)


@pytest.fixture(scope="module")
def media(tmp_path_factory, people) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    write_video(folder / "clip.mp4", people[1][:40], FPS, preset="ultrafast", threads=1)
    save(Prejudice(), folder / "detector.ckpt")
    return folder


def run(*words: object) -> int:
    return main(["analyze", "-q", *map(str, words)])


def test_one_pass_says_what_a_pass_of_its_own_says(media, monkeypatch):
    import mediakit.analyze

    seen = []

    def counting(path, **options):
        for frame in read_video(path, **options):
            seen.append(frame.index)
            yield frame

    monkeypatch.setattr(mediakit.analyze, "read_video", counting)
    found = analyze_file(media / "clip.mp4", deepfake=Prejudice()).deepfake
    assert seen == list(range(40))
    assert found.to_dict() == detect_file(Prejudice(), media / "clip.mp4").to_dict()


def test_page_and_json(media, tmp_path, capfd):
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    words = (media / "clip.mp4", "--deepfake", media / "detector.ckpt", "-o", page, "--json", data)
    assert run(*words) == 0
    verdict, *written = capfd.readouterr().out.splitlines()
    assert written == [str(data), str(page)]
    first = data.read_bytes(), page.read_bytes()
    assert run(*words) == 0
    assert (data.read_bytes(), page.read_bytes()) == first
    told = json.loads(first[0])["tasks"]["deepfake"]
    assert (told["status"], told["schema"], told["verdict"]) == ("judged", "mediakit.deepfake/1", "fake")
    assert told["belief"][0] <= told["probability"] <= told["belief"][1]
    low, high = told["belief"]
    stated = f"fake, belief in fake {low:.0%} to {high:.0%}, quality {told['quality']:.2f}: {told['reason']}"
    assert verdict == f"{media / 'clip.mp4'}: {stated}"
    made = told["provenance"]
    assert made["file"]["sha256"] == json.loads(first[0])["file"]["sha256"]
    assert (made["file"]["codec"], made["file"]["pix_fmt"], made["file"]["gop_max"]) == ("h264", "yuv420p", 40)
    assert made["landmarks"]["name"] == "mediapipe.solutions.face_mesh"
    assert made["model"]["checkpoint"] == "detector.ckpt"
    html = first[1].decode()
    assert "takes a face in it for a fake" in html
    assert "detector.ckpt (Opinion)" in html
    assert "A verdict is no proof" in html
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|<script", html)


def test_without_a_detector_the_page_says_how_to_get_one(media):
    found = analyze_file(media / "clip.mp4", faces=False)
    assert found.deepfake is None
    assert found.to_dict()["tasks"]["deepfake"]["status"] == "no model"
    page = render_page(found)
    assert "mediakit fit --config deepfake" in page
    assert 'id="deepfake"' not in page


def test_what_cannot_be_used_is_told_before_the_work(media, tmp_path, capfd, monkeypatch):
    import mediakit.analyze

    monkeypatch.setattr(mediakit.analyze, "sha256", lambda *_: pytest.fail("worked in vain"))
    (tmp_path / "notes.ckpt").write_text("notes")
    for words, reason in {
        ("--deepfake", media / "detector.ckpt", "--no-faces"): "--deepfake judges faces: leave out --no-faces",
        ("--deepfake", tmp_path / "gone.ckpt"): "does not exist",
        ("--deepfake", tmp_path / "notes.ckpt"): "is no checkpoint",
        ("--deepfake", media / "detector.ckpt", "--face-model", tmp_path / "gone.task"): "does not exist",
    }.items():
        assert run(media / "clip.mp4", "-o", tmp_path / "page.html", *words) == 2, words
        out, err = capfd.readouterr()
        assert out == ""
        (line,) = err.splitlines()
        assert reason in line
    with pytest.raises(ValueError, match="leave faces=True"):
        analyze_file(media / "clip.mp4", faces=False, deepfake=Prejudice())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.ckpt"]


def test_no_face_model_is_an_error_only_if_a_verdict_is_wanted(media, monkeypatch):
    from mediakit import faces
    from mediakit.errors import WeightsError

    def absent(*_):
        raise WeightsError("MediaPipe ships no face model.")

    monkeypatch.setattr(faces, "open_detector", absent)
    assert "no face model" in analyze_file(media / "clip.mp4").absent["faces"]
    with pytest.raises(WeightsError, match="no face model"):
        analyze_file(media / "clip.mp4", deepfake=Prejudice())
