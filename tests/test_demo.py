"""`mediakit demo` as a user meets it, from one run: its files, and a page of truth beside measurement."""

import base64
import functools
import html
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mediakit.colorize.color import rgb_to_lab
from mediakit.colorize.data import ColorizeDataModule
from mediakit.errors import MissingPackageError
from mediakit.io import read_audio, read_video
from mediakit.parsing.data import ParsingDataModule
from mediakit.parsing.metrics import avvp_scores, decide, oracle_ladder
from mediakit.summary import colorfulness
from mediakit.synthetic.events import EventClips
from mediakit.weights import load

FILMS = ("demo", "events", "head", "fake", "scene", "gray")
SMALL = {"train": 6, "val": 2, "test": 3, "epochs": 3}
FEW = {"train": 2, "val": 1, "test": 2, "epochs": 2}
SOME = {"train": 12, "val": 4, "test": 6, "epochs": (1, 1, 1)}
SIZES = {"parsing": SMALL, "deepfake": FEW, "colorize": SOME}
RUN = f"""
import functools, sys
import mediakit.cli, mediakit.demo
mediakit.demo.run_demo = functools.partial(mediakit.demo.run_demo, **{SIZES})
sys.exit(mediakit.cli.main(["demo", "--out", sys.argv[1], *sys.argv[2:]]))
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-c", RUN, str(folder), "-q", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{folder / 'index.html'}\n", "")
    return folder


@pytest.fixture(scope="module")
def page(demo) -> str:
    return (demo / "index.html").read_text()


@pytest.fixture(scope="module")
def found(demo) -> dict:
    return json.loads((demo / "demo.json").read_text())


def words(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2])))


def test_files(demo):
    pages = {f"{name}{end}" for name in FILMS for end in (".mp4", ".html")}
    rest = {"demo.json", "index.html", "parsing.ckpt", "clips", "features", "deepfake.ckpt", "heads", "landmarks"}
    colors = {"colorized.mp4", "colorize.ckpt", "colorizer", "scenes", "scenes-test"}
    assert {p.name for p in demo.iterdir()} == pages | rest | colors
    for split, folder in (("train", "scenes/train"), ("val", "scenes/val"), ("test", "scenes-test")):
        assert len(list((demo / folder / "videos").iterdir())) == SOME[split]
    for split in ("train", "val", "test"):
        assert len(list((demo / "clips" / split / "videos").iterdir())) == SMALL[split]
        for feature in ("audio", "frames", "clips"):
            assert len(list((demo / "features" / split / feature).iterdir())) == SMALL[split]
        kinds = ("real", "fake") if split == "test" else ("real",)
        assert {p.name: len(list(p.iterdir())) for p in (demo / "heads" / split / "videos").iterdir()} == dict.fromkeys(
            kinds, FEW[split]
        )
    assert len(list((demo / "landmarks").glob("*/*.safetensors"))) == 2 + 1 + 2 * 2


def test_the_page_asks_nothing_from_the_network(demo, page):
    links = re.findall(r"(?:src|href|poster)=\"([^\"]{1,200})", page)
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page
        elif not link.startswith("data:"):
            assert (demo / link).is_file(), link
    assert {f"{name}.html" for name in FILMS} <= {*links}
    assert "url(" not in page
    assert "<script" not in page
    assert page.startswith("<!doctype html>")


def test_one_section_a_kind_with_its_film_inside(demo, page):
    assert re.findall(r'<section aria-labelledby="(\w+)"', page) == [
        "events",
        "head",
        "genuine",
        "scene",
        "colors",
        "more",
    ]
    films = re.findall(r'src="data:video/mp4;base64,([^"]+)"', page)
    assert [base64.b64decode(film) for film in films] == [
        (demo / f"{n}.mp4").read_bytes() for n in (*FILMS[1:], "colorized")
    ]
    assert len(page) < 6_000_000


def lanes(page: str, what: str) -> set[tuple[str, str, int, int]]:
    """Class, modality, start and end of the bars of one kind of row."""
    drawn = set()
    for label, bars in re.findall(rf'class="name"[^>]*>(\w+), {what}</div>\s*<div class="row"[^>]*>(.*)</div>', page):
        for kind, left, width in re.findall(r'class="event (\w+)" style="left:([\d.]+)%;width:([\d.]+)%', bars):
            drawn.add((label, kind, round(float(left) / 10), round((float(left) + float(width)) / 10)))
    return drawn


def test_true_events_are_told_and_drawn(page):
    clip = EventClips(split="test", size=(180, 240)).clip(1003)
    spoken = {"audio": "heard", "visual": "seen"}
    both = {("bell", "both", 8, 10), ("ball", "both", 3, 5), ("ball", "both", 6, 10)}
    assert lanes(page, "true") == {(e.label, spoken[e.modality], e.onset, e.offset) for e in clip.events} | both
    text = words(page)
    for said in ("clock: only seen, 4–6 s", "bell: heard 8–10 s, seen 7–10 s", "ball: heard and seen, 3–5 s"):
        assert said in text


def test_found_events_are_those_of_the_model(demo, page, capsys):
    from mediakit.cli import main

    command = ["analyze", str(demo / "events.mp4"), "--parsing", str(demo / "parsing.ckpt"), "--no-faces", "-q"]
    assert main([*command, "--json", str(demo.parent / "again.json")]) == 0
    found = json.loads((demo.parent / "again.json").read_text())["tasks"]["parsing"]["events"]
    spoken = {"audio": "heard", "visual": "seen", "audio-visual": "both"}
    told = {(e["label"], spoken[e["modality"]], round(e["start"]), round(min(e["end"], 10))) for e in found}
    assert lanes(page, "found") == {event for event in told if event[2] < 10}
    assert "Events" in words((demo / "events.html").read_text())


def test_the_model_is_scored_on_unseen_clips(demo, page):
    data = ParsingDataModule(str(demo / "features"), str(demo / "clips"), format="folder", segment_labels="dense")
    data.setup("test")
    (batch,) = data.test_dataloader()
    truth = batch["true_audio"], batch["true_visual"]
    module = load(demo / "parsing.ckpt")
    with torch.inference_mode():
        output = module(batch["audio"], batch["frames"], batch["clips"])
    ladder = oracle_ladder(*truth, batch["labels"])
    known = {
        "this model": avvp_scores(*decide(output), *truth),
        "told what is heard and what is seen": ladder["modality labels everywhere"],
        "told what occurs": ladder["weak labels everywhere"],
        "marks nothing": ladder["nothing"],
    }
    events = page.partition('id="events"')[2].partition("<section")[0]
    rows = dict(re.findall(r"<tr><th>([^<]+?)(?: <span[^>]*>[^<]*</span>)?</th>(<td>.*)</tr>", events))
    assert [*rows] == ["this model", "logistic regression on the same features", *[*known][1:]]
    for name, scores in known.items():
        *three, mean, low, high = map(int, re.findall(r"\d+", re.sub(r"<[^>]+>", " ", rows[name])))
        expected = [scores[f"segment_{kind}"] for kind in ("audio", "visual", "av", "type")]
        assert [*three, mean] == pytest.approx(expected, abs=0.5001)
        assert low <= mean <= high
    text = words(page)
    assert f"trained on {SMALL['train']} generated clips" in text
    assert f"scored on {SMALL['test']} more" in text
    assert {module.encoders[name]["weights"] for name in ("audio", "frames", "clips")} == {"synthetic"}


def judged(path: Path, detector: Path):
    from mediakit.deepfake.predict import detect_file, load_detector

    return detect_file(load_detector(detector), path).judgement


def test_the_detector_is_scored_on_unseen_people(demo, page):
    metrics = pytest.importorskip("sklearn.metrics")
    films = sorted((demo / "heads" / "test" / "videos").glob("*/*.mp4"))
    labels = [int(film.parent.name == "fake") for film in films]
    scores = [judged(film, demo / "deepfake.ckpt").probability for film in films]
    rows = dict(
        re.findall(r"<tr><th>([^<]+?) <span[^>]*>[^<]*</span></th>(<td>.*)</tr>", page.partition('id="genuine"')[2])
    )
    assert [*rows] == ["this model", "logistic regression on the same signals"]
    found = re.findall(
        r"<td>(?:([\d.]+) <span class=\"soft\">\[([\d.]+), ([\d.]+)\]</span>|–)</td>", rows["this model"]
    )
    area = metrics.roc_auc_score(labels, scores)
    # Both twins are of kinds that move the face: pixels are not manipulated in a test this small.
    assert [float(cells[0]) for cells in found[:2]] == pytest.approx([area, area], abs=0.0051)
    assert found[2] == ("", "", "")
    assert float(found[0][1]) <= area <= float(found[0][2])
    text = words(page)
    assert "trained on genuine films alone, of 2 people" in text
    assert text.count("2 genuine, 2 manipulated") == 2


def test_the_twin_is_judged_as_its_own_page_says(demo, page):
    for film in ("head", "fake"):
        found = judged(demo / f"{film}.mp4", demo / "deepfake.ckpt")
        told = f"Probability of fake {found.probability:.0%}, between {found.belief[0]:.0%} and {found.belief[1]:.0%}"
        assert told in page
        assert told in (demo / f"{film}.html").read_text()
    assert "known, because" in words(page)
    assert "deepfake" not in (demo / "scene.html").read_text().partition('id="tasks"')[0]


@pytest.mark.parametrize("task", ["parsing", "deepfake", "colorize"])
def test_training_again_gives_the_same_model(demo, task):
    trial = importlib.import_module(f"mediakit.{task}.trial")
    before, state, threads = (demo / f"{task}.ckpt").read_bytes(), torch.get_rng_state(), torch.get_num_threads()
    if task == "colorize":
        shutil.rmtree(demo / "colorizer")  # stages that are finished are not trained again
    again = trial.run_trial(demo, **SIZES[task])
    assert again.checkpoint.read_bytes() == before
    counts = {"parsing": "clips", "deepfake": "people", "colorize": "films"}[task]
    counts = getattr(again, counts)
    assert counts == {name: SIZES[task][name] for name in ("train", "val", "test")}
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_colorizer_is_scored_on_unseen_scenes(demo, page):
    module = load(demo / "colorize.ckpt").eval()
    data = ColorizeDataModule(
        str(demo / "scenes-test"), cache=str(demo.parent / "clips"), size=64, frames=3, progress=False
    )
    data.setup("test")
    (batch,) = data.test_dataloader()
    lab = rgb_to_lab(batch["frames"][:, 0].float() / 255)
    with torch.inference_mode():
        found = {
            "guided by its own sound": module.network(lab[:, :1], module.network.hear(batch["waveform"])).ab,
            "guided by nothing": module.network(lab[:, :1]).ab,
            "left gray": torch.zeros_like(lab[:, 1:]),
        }
    section = page.partition('id="colors"')[2].partition("<section")[0]
    rows = dict(re.findall(r"<tr><th>([^<]+)</th><td>\d+</td><td>(.*?)</td>", section))
    for way, ab in found.items():
        errors = (ab - lab[:, 1:]).abs().mean((1, 2, 3))
        mean, low, high = map(float, re.findall(r"[\d.]+", re.sub(r"<[^>]+>", " ", rows[way])))
        assert mean == pytest.approx(float(errors.mean()), abs=0.051)
        assert low <= mean <= high
    text = words(page).partition("Colours from sound The same scene")[2]
    assert f"trained on {SOME['train']} generated scenes" in text
    assert "The colours are guessed." in text
    assert text.count("believed to") == 2
    assert section.count("<video ") == 2


def test_the_scene_without_its_colours(demo):
    frames = [list(read_video(demo / f"{name}.mp4")) for name in ("scene", "gray", "colorized")]
    assert {len(film) for film in frames} == {40}
    scene, gray, colored = (torch.stack([frame.image for frame in film]) for film in frames)
    assert colorfulness(gray).max() < 3
    assert colorfulness(scene).min() > 15
    lightness = [rgb_to_lab(film[::8].float() / 255)[:, 0] for film in (gray, colored)]
    assert (lightness[1] - lightness[0]).abs().mean() < 1.5  # what compression leaves
    sounds = [read_audio(demo / f"{name}.mp4").waveform for name in ("gray", "colorized")]
    assert torch.equal(*sounds)
    told = (demo / "gray.html").read_text().partition('id="colorize"')[2].partition("</section>")[0]
    assert told.count('type="range"') == 4
    assert "colorize.ckpt (ColorizationModel)" in told


def test_the_head_is_measured_as_it_is(page, found):
    if found["faces"] is None:
        pytest.skip(f"no faces here: {found['absent']['faces']}")
    text = words(page)
    pattern = r"(pitch|yaw|roll|mouth opening) correlation (\d\.\d+), RMSE ([\d.]+)"
    numbers = {name: (float(correlation), float(rmse)) for name, correlation, rmse in re.findall(pattern, text)}
    assert [*numbers] == ["pitch", "yaw", "roll", "mouth opening"]
    assert numbers["yaw"][0] > 0.9
    assert numbers["mouth opening"][0] > 0.9
    assert max(rmse for _, rmse in numbers.values()) < 3
    faces = re.search(r"The face was found in (\d+) of (\d+) frames", text)
    assert int(faces[1]) > 0.95 * int(faces[2]) > 100
    assert page.count("M0 5H32") == 8  # legends: true and measured, four times


def test_the_hue_of_the_scene_is_in_its_file(page):
    text = words(page)
    assert "The gray picture shows the group, water . Only the sound tells the class, rain ," in text
    clip, frame, measured = (
        int(n) for n in re.findall(r"(?:true|measured) (?:the clip|this frame)'s hue (\d+)°", text)
    )
    assert abs(frame - measured) <= 3
    assert abs(clip - frame) <= 12
    assert re.findall(r"had it been: (\w+)", text) == ["alarm", "clock"]


def test_what_to_do_next(page):
    for kind in ("events", "heads", "scenes"):
        assert f"mediakit generate {kind} --out" in page


def test_the_photograph_under_a_moving_camera(found):
    assert found["file"]["packets"]["frames"] == 200
    assert found["sound"]["silent"] is False
    if found["faces"] is None:
        pytest.skip(f"no faces here: {found['absent']['faces']}")
    track = found["faces"]["tracks"][0]
    # The portrait is on screen until the cut at 5.5 s, under a camera that rolls by 12 degrees sin(2 pi t / 4).
    assert track["start"] < 0.2
    assert 5.3 <= track["end"] < 5.5
    time, roll = torch.tensor(track["time"]), torch.tensor(track["pose"])[:, 2]
    truth = 12 * torch.sin(2 * torch.pi * time / 4)
    assert abs(torch.corrcoef(torch.stack([roll, truth]))[0, 1]) > 0.98
    assert float(roll.std() / truth.std()) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_a_second_run_writes_the_same_bytes(demo):
    def content(folder: Path) -> dict[Path, bytes]:
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = content(demo)
    subprocess.run([sys.executable, "-c", RUN, str(demo), "-q"], check=True)
    assert content(demo) == before
    elsewhere = demo.with_name("elsewhere")
    subprocess.run([sys.executable, "-c", RUN, str(elsewhere), "-q"], check=True)
    assert content(elsewhere) == before


@pytest.mark.slow
def test_without_mediapipe(tmp_path, monkeypatch, capsys):
    import mediakit.deepfake.landmark_cache
    import mediakit.demo
    import mediakit.faces
    from mediakit.cli import main

    def missing(*_, **__):
        raise MissingPackageError("Face tracking needs the package 'mediapipe'")

    for module in (mediakit.faces, mediakit.deepfake.landmark_cache):
        monkeypatch.setattr(module, "open_detector", missing)
    monkeypatch.setattr(mediakit.demo, "run_demo", functools.partial(mediakit.demo.run_demo, **SIZES))
    assert main(["demo", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'index.html'}\n"
    steps = re.findall(r"(\w+)\.mp4: drawing [a-z ,]+$", err, flags=re.MULTILINE)
    assert steps == [film for film in FILMS if film not in ("fake", "gray")]
    assert not (tmp_path / "heads").exists()
    page = (tmp_path / "index.html").read_text()
    text = words(page)
    assert text.count("ace tracking needs the package 'mediapipe'") == 2
    assert "The curves below are the truth alone." in text
    assert "correlation" not in text.replace("correlation of", "")
    assert page.count('<path class="curve s1"') == 4
    assert "this frame's hue" in text
