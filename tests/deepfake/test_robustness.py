"""`mediakit robustness`: the face found again, the report, and nothing left behind. Landmarks are drawn, films tiny."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from toy_detector import Prejudice
from toy_parser import save

from mediakit import motion
from mediakit.cli import main
from mediakit.deepfake import robustness, robustness_page
from mediakit.deepfake.predict import detect_tracks, load_detector
from mediakit.deepfake.robustness import PIPELINES, RAW, Robustness, follow, measure_robustness
from mediakit.deepfake.robustness_page import FILES, render_page, robustness_report
from mediakit.errors import MediaError, MediakitError, WeightsError
from mediakit.io import probe, scan_packets, write_video
from mediakit.mesh import N_POINTS
from mediakit.tracks import FaceTrack, FaceTracks

SIZE, FPS, FRAMES = (96, 64), 25, 50


def head(frames: int = FRAMES, noise: float = 0.0, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    """A face that nods and turns, eye corners 20 pixels apart, (T, 478, 3)."""
    shape = torch.rand(N_POINTS, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    shape[33, :2], shape[263, :2] = torch.tensor([-0.5, 0.2]), torch.tensor([0.5, 0.2])
    shape[10, :2], shape[152, :2] = torch.tensor([0, 0.9]), torch.tensor([0, -0.9])
    shape[:, 2] = -0.5 * shape[:, :2].square().sum(-1)
    time = torch.arange(frames) / FPS
    waves = torch.sin(2 * math.pi * time[:, None] * torch.tensor([0.7, 1.3, 0.9]))
    shapes = shape.repeat(frames, 1, 1)
    shapes[:, [82, 13, 312], 1] += 0.1 * torch.sin(12 * time)[:, None]
    shift = torch.tensor([48.0, -32.0, 0.0]).expand(frames, 3)
    pose = motion.Similarity(
        torch.full((frames,), 20.0), motion.rotation_from_euler(waves * torch.tensor([6.0, 15.0, 5.0])), shift
    )
    points = motion.to_face_frame(pose.apply(shapes)) * scale
    return points + noise * torch.randn(points.shape, generator=torch.Generator().manual_seed(seed))


def track(points: torch.Tensor, start: int = 0, valid: torch.Tensor | None = None) -> FaceTrack:
    time = (start + torch.arange(len(points), dtype=torch.float64)) / FPS
    valid = torch.ones(len(points), dtype=torch.bool) if valid is None else valid
    return FaceTrack(points, valid, time, points + 0.25)


def tracks(*found: FaceTrack, size: tuple[int, int] = SIZE) -> FaceTracks:
    return FaceTracks(found, size, FRAMES, len(found[0]) if found else 0, 0, (), {"name": "drawn"})


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    write_video(path, (torch.full((3, SIZE[1], SIZE[0]), 60 + n, dtype=torch.uint8) for n in range(FRAMES)), FPS)
    return path


@pytest.fixture
def seen(monkeypatch):
    """Has the tracker see drawn landmarks, the noisier the more a film is compressed; returns the films it saw."""
    films = []

    def look(path, *, model=None, denoise=False):
        assert denoise
        size = (probe(path).video[0].width, probe(path).video[0].height)
        films.append(size)
        return tracks(track(head(noise=0.2 * (len(films) - 1), scale=size[0] / SIZE[0], seed=len(films))), size=size)

    monkeypatch.setattr(robustness, "track_faces", look)
    return films


def test_the_face_is_found_again_in_pieces_beside_another_and_in_half_the_size():
    points = head()
    missed = torch.ones(FRAMES, dtype=torch.bool)
    missed[30] = False
    subject = track(points, valid=missed)
    stranger = track(points / 2 + torch.tensor([40.0, 0.0, 0.0]))
    lost = torch.ones(20, dtype=torch.bool)
    lost[5] = False
    pieces = track(points[:20] / 2 + 0.1, valid=lost), track(points[24:] / 2, start=24)
    found, flow = follow(subject, tracks(stranger, *pieces, size=(48, 32)), torch.tensor([2.0, 2.0, 2.0]))
    there = torch.isfinite(found).all(-1).all(-1)
    assert (~there).nonzero().squeeze(-1).tolist() == [5, 20, 21, 22, 23, 30]
    torch.testing.assert_close(found[:5], points[:5] + 0.2)
    torch.testing.assert_close(found[24:30], points[24:30])
    torch.testing.assert_close(flow[24:30], points[24:30] + 0.5)


def test_tracks_without_flow_are_refused():
    bare = FaceTrack(*(getattr(track(head()), name) for name in ("points", "valid", "time")))
    with pytest.raises(ValueError, match="denoise=True"):
        follow(track(head()), tracks(bare), torch.ones(3))


def test_versions_and_their_numbers(film, seen):
    told = []
    found = measure_robustness(film, (23, 40), (0.5,), progress=told.append)
    assert isinstance(found, Robustness)
    assert told == ["source", "CRF 23", "CRF 40", "CRF 23, 0.5x"]
    assert [v.name for v in found.versions] == told
    assert seen == [SIZE, SIZE, SIZE, (48, 32)]
    source, *others = found.versions
    assert set(source.comparisons) == set(PIPELINES) - {RAW}
    for version in others:
        assert set(version.comparisons) == set(PIPELINES)
        assert version.signals.shape == (len(found.time), 4)
    assert [round(v.interocular_px) for v in found.versions] == [20, 20, 20, 10]
    # noise of 0.2, 0.4, 0.6 * 2 pixels in x and y, of 20 between the eyes
    shifts = [v.comparisons[RAW].displacement for v in others]
    assert shifts[0] == pytest.approx(0.2 * math.sqrt(math.pi / 2) / 20, rel=0.25)
    assert all(a < b for a, b in pairwise(shifts))
    assert found.versions[1].comparisons["Lucas-Kanade-Kalman"].displacement > shifts[0]


def test_a_version_without_the_face_says_so(film, monkeypatch):
    answers = iter([tracks(track(head())), tracks(track(head()[:20])), tracks()])
    monkeypatch.setattr(robustness, "track_faces", lambda path, **options: next(answers))
    found = measure_robustness(film, (30, 51), ())
    assert "in 0.8 of 2.0 s" in found.versions[1].problem
    assert "in 0.0 of 2.0 s" in found.versions[2].problem
    assert found.versions[2].comparisons == {}
    assert str(found).endswith("by - at CRF 30, - at CRF 51")
    page = render_page(found)
    assert "CRF 51 · no face found" in page
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["versions"][2]["interocular_px"] is None


def test_report(film, seen, tmp_path, capsys):
    out = tmp_path / "new" / "report"
    assert main(["robustness", str(film), "--crf", "23", "40", "--scale", "-o", str(out), "-q"]) == 0
    told, err = capsys.readouterr()
    finding, *written = told.splitlines()
    assert (written, err) == ([str(out / f"robustness.{kind}") for kind in ("html", "json", "txt")], "")
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    data = json.loads((out / "robustness.json").read_text())
    assert data["schema"] == "mediakit.robustness/1"
    assert [v["name"] for v in data["versions"]] == ["source", "CRF 23", "CRF 40"]
    left = [sum(v["comparisons"]["raw"]["correlation"].values()) / 4 for v in data["versions"][1:]]
    kept = f"{left[0]:.2f} at CRF 23, {left[1]:.2f} at CRF 40"
    assert finding == f"{film}: velocities of head and mouth correlate with the source's by {kept}"
    shift = data["versions"][2]["comparisons"]["raw"]["displacement"]
    line = next(x for x in (out / "robustness.txt").read_text().splitlines() if x.startswith("CRF 40, raw"))
    assert f"{100 * shift:.2f}" in line.split()
    page = (out / "robustness.html").read_text()
    assert f"{100 * shift:.2f}" in page
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page.replace("http-equiv", "")
    first = {p.name: p.read_bytes() for p in out.iterdir()}
    seen.clear()
    assert main(["robustness", str(film), "--crf", "23", "40", "--scale", "-o", str(out), "-q"]) == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == first


def test_name_of_the_film_cannot_become_markup(film, seen):
    hostile = film.rename(film.with_name("<b>x.mp4"))
    assert "<b>x" not in render_page(measure_robustness(hostile, (40,), ()))


def test_nothing_is_left_behind(film, seen, tmp_path, monkeypatch, capsys):
    out = tmp_path / "new" / "report"
    before = sorted(tmp_path.rglob("*"))

    def fails(*words: str) -> str:
        assert main(["robustness", *words, "-o", str(out), "-q"]) == 2
        assert sorted(tmp_path.rglob("*")) == before
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "does not exist" in fails(str(tmp_path / "absent.mp4"))
    assert "no-such.ckpt" in fails(str(film), "--deepfake", str(tmp_path / "no-such.ckpt"))
    with monkeypatch.context() as patch:
        patch.setattr(robustness_page, "render_text", lambda found: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            robustness_report(film, out, (40,), ())
        assert sorted(tmp_path.rglob("*")) == before
    monkeypatch.setattr(robustness, "track_faces", lambda path, **options: tracks())
    assert "no face" in fails(str(film))
    monkeypatch.setattr(robustness, "track_faces", lambda path, **options: tracks(track(head()[:20])))
    assert "0.8 s at most" in fails(str(film))


def test_an_earlier_report_stays_when_a_new_one_fails(film, seen, tmp_path):
    robustness_report(film, tmp_path / "report", (40,), ())
    page = tmp_path / "report" / "robustness.html"
    before = page.read_bytes()
    with pytest.raises(MediaError):
        robustness_report(tmp_path / "absent.mp4", tmp_path / "report")
    assert page.read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(MediakitError, match="file"):
        robustness_report(film, tmp_path / "file" / "report")


@pytest.mark.parametrize(("crfs", "scales"), [((), ()), ((60,), ()), ((23,), (0.0,))])
def test_bad_options(film, crfs, scales):
    with pytest.raises(ValueError, match="at least one CRF"):
        measure_robustness(film, crfs, scales)


def test_bad_options_on_the_command_line(film, capsys):
    with pytest.raises(SystemExit):
        main(["robustness", str(film), "--crf", "52", "-o", "x"])
    assert "rate factor (0 to 51)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_talking_head_through_the_real_tracker(tmp_path):
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("this MediaPipe bundles no face model")
    from mediakit.synthetic.heads import TalkingHeads

    clip = TalkingHeads(seed=1, split="test", kinds=("real",), seconds=3, size=(480, 480)).clip(0)
    write_video(tmp_path / "head.mp4", clip.frames(), clip.fps, crf=0, preset="ultrafast")
    found = measure_robustness(tmp_path / "head.mp4", (23, 40), ())
    light, heavy = (v.comparisons[RAW] for v in found.versions[1:])
    assert light.followed == heavy.followed == 1
    assert light.displacement < 0.007
    assert light.pose_error < 1
    assert light.expression_displacement < 0.007
    assert heavy.displacement < 0.03
    assert heavy.pose_error < 3
    assert light.correlation["mouth"] > 0.9
    for name in ("pitch", "yaw", "roll"):
        assert light.correlation[name] > heavy.correlation[name]


def test_the_verdict_is_told(film, seen, monkeypatch):
    verdict = {"verdict": "undetermined", "reason": "it is drawn", "probability": None, "quality": 0.5}
    monkeypatch.setattr(robustness, "_judge", lambda checkpoint: lambda path, tracks: verdict)
    found = measure_robustness(film, (40,), (), deepfake="detector.ckpt")
    text = robustness_page.render_text(found)
    assert "undetermined" in text
    assert "verdict" in text.splitlines()[2]
    assert str(found).endswith("; verdict: undetermined of source, undetermined of CRF 40")


def test_the_verdict_on_the_source_is_that_of_analyze(film, monkeypatch, tmp_path):
    """The flow filter runs here and not there, and what it lost must not count."""
    clean = track(head(scale=5.0))
    lossy = replace(clean, flow_failures=0.3)
    seen = FaceTracks((lossy,), SIZE, FRAMES, FRAMES, 0, (), {"name": "drawn"})
    monkeypatch.setattr(robustness, "track_faces", lambda path, **options: seen)
    detector = save(Prejudice(), tmp_path / "detector.ckpt")
    found = measure_robustness(film, (40,), (), deepfake=detector).versions[0].verdict
    plain = FaceTracks((replace(clean, denoised=None),), SIZE, FRAMES, FRAMES, 0)
    told = detect_tracks(load_detector(detector), plain, info=probe(film), packets=scan_packets(film)).to_dict()
    assert found == {name: told[name] for name in found}
    assert found["quality"] > 0.1


def test_a_checkpoint_of_another_kind_is_refused(film, seen, tmp_path):
    with pytest.raises((WeightsError, MediaError), match="film"):
        measure_robustness(film, (40,), (), deepfake=film)
