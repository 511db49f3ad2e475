"""Every block of docs/tasks/deepfake.md does what it says, on few and short films or tracks and for one epoch."""

import inspect
import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from mediakit.cli import main
from mediakit.deepfake import landmark_cache
from mediakit.deepfake.module import DeepfakeModule
from mediakit.deepfake.quality import LEAST
from mediakit.deepfake.signals import HOP, RATE, SMOOTH, WINDOW
from mediakit.io import write_video
from mediakit.synthetic import corpus
from mediakit.synthetic.heads import TalkingHeads
from mediakit.tracks import FaceTrack, FaceTracks

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tasks" / "deepfake.md").read_text()
QUICK, GENERATED, ROBUSTNESS, PERSON, OWN, SETS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
(PREDICT,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)

TRAINING = "--trainer.accelerator cpu --trainer.enable_progress_bar false"
SMALL = {
    "generate": "-q --workers 1 --seconds 2 --size 240x240 --fps 15",
    "fit": f"{TRAINING} --trainer.max_epochs 1 --data.views 1 --model.width 16 --model.layers 1 --model.heads 2",
    "test": TRAINING,
    "analyze": "-q",
    "robustness": "-q --crf 40 --scale",
    "enroll": "-q --seconds 2",
}


def run_here(function, items, **_):
    """Does jobs in this process, which spares the start of another one."""
    for item in items:
        yield item, function(item)


@pytest.fixture(scope="module", autouse=True)
def at_once():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for module in (corpus, landmark_cache):
            patch.setattr(module, "run_jobs", run_here)
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def face_mesh():
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("this MediaPipe bundles no face model")


def run(block: str, count: int = 2) -> None:
    """Runs the commands of a block, made small."""
    for line in block.strip().replace("\\\n", " ").splitlines():
        program, command, *words = shlex.split(re.sub(r"--count \d+", f"--count {count}", line))
        assert program == "mediakit"
        words = [name for word in words for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        assert main([command, *words, *SMALL.get(command, "").split()]) == 0, line


@pytest.fixture(scope="module")
def tracks() -> list[FaceTracks]:
    """Six people who talk for two seconds and a half, without a picture."""
    heads = TalkingHeads(kinds=("real",), seconds=2.5, size=(420, 420), identities=6)
    found = []
    for number in range(6):
        truth = heads.clip(number).tensors()
        points, time = truth["points"] + 0.2 * torch.randn(truth["points"].shape), truth["time"]
        track = FaceTrack(points, torch.ones(len(time), dtype=torch.bool), time)
        found.append(FaceTracks((track,), (420, 420), len(time), len(time), 0))
    return found


def put(tracks: list[FaceTracks], *names: str) -> None:
    """Saves tracks in the place of films, as they are said to stand for them."""
    for number, name in enumerate(names):
        path = Path(f"{name}.safetensors")
        path.parent.mkdir(parents=True, exist_ok=True)
        tracks[number % len(tracks)].save(path)


@pytest.mark.slow
def test_quick_start(here, face_mesh, capsys):
    run(QUICK, count=8)
    *_, verdict, page = capsys.readouterr().out.splitlines()
    assert page == "page.html"
    assert re.match(
        r"heads/videos/fake/heads-train-0-00003-oversmooth.mp4: \w+, belief in fake \d+% to \d+%, quality \d\.\d\d: ",
        verdict,
    )


@pytest.mark.slow
def test_from_films_to_a_verdict(here, face_mesh, capsys):
    run(GENERATED)
    out = capsys.readouterr().out
    assert "1 real and 1 fake videos" in out
    assert "best val/auc" in out
    told = json.loads(Path("page.json").read_text())["tasks"]["deepfake"]
    assert told["provenance"]["model"]["checkpoint"] == "best.ckpt"
    assert f'class="called {told["verdict"]}"' in Path("page.html").read_text()
    exec(compile(PREDICT, "deepfake.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{told['verdict']} because {told['reason']}"
    assert any(line.startswith("face 1, 0.0 to 1.9") for line in lines)
    heads = TalkingHeads(kinds=("real",), seconds=2, size=(240, 240), fps=15)
    write_video("film.mp4", heads.clip(1).frames(), 15, preset="ultrafast", threads=1)
    run(ROBUSTNESS)
    versions = json.loads(Path("robustness/robustness.json").read_text())["versions"]
    assert [version["name"] for version in versions] == ["source", "CRF 40"]
    assert all(version["verdict"]["verdict"] for version in versions)


def test_one_person(here, tracks, capsys):
    put(tracks[1:5], *(f"interviews/{n}" for n in range(4)))
    put(tracks, "film")
    run(PERSON.replace(".mp4", ".safetensors"))
    assert re.search(
        r"^film.safetensors: (consistent|different|undetermined): ", capsys.readouterr().out, flags=re.MULTILINE
    )
    assert json.loads(Path("findings.json").read_text())["references"] == 4


def test_films_of_ones_own(here, tracks, capsys):
    folders = ("train/real", "train/real", "val/real", "val/real", "test/real", "test/fake/METHOD")
    put(tracks, *(f"films/{folder}/{n}" for n, folder in enumerate(folders)))
    assert [*dict.fromkeys(folders)] == re.findall(r"^films/(\S+)/\*\.mp4$", PAGE, flags=re.MULTILINE)
    run(OWN)
    assert "1 real and 1 fake videos" in capsys.readouterr().out


def test_data_sets(here, tracks, capsys):
    root = "FaceForensics++"
    for level in ("c23", "c40"):
        put(tracks, *(f"{root}/original_sequences/youtube/{level}/videos/{n:03d}" for n in range(6)))
        for a, b in ((0, 1), (2, 3), (4, 5)):
            place = f"{root}/manipulated_sequences/Deepfakes/{level}/videos"
            put(tracks[a:], f"{place}/{a:03d}_{b:03d}", f"{place}/{b:03d}_{a:03d}")
    for split, pair in (("train", ["000", "001"]), ("val", ["002", "003"]), ("test", ["004", "005"])):
        Path(root, f"{split}.json").write_text(json.dumps([pair]))
    celeb = [*(f"Celeb-real/id{n}_0000" for n in range(3)), *(f"YouTube-real/{n:05d}" for n in range(3))]
    put(tracks, *(f"Celeb-DF-v2/{name}" for name in [*celeb, "Celeb-synthesis/id0_id1_0000"]))
    listed = "1 Celeb-real/id2_0000.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
    Path("Celeb-DF-v2/List_of_testing_videos.txt").write_text(listed)
    put(tracks, *(f"dfdc_train_part_0/{name}" for name in "abcdef"))
    rows = {f"{name}.mp4": {"label": "REAL", "split": "train"} for name in "abcde"}
    rows["f.mp4"] = {"label": "FAKE", "split": "train", "original": "e.mp4"}
    Path("dfdc_train_part_0/metadata.json").write_text(json.dumps(rows))
    run(SETS)
    out = capsys.readouterr().out
    assert "4 real and 4 fake videos" in out  # FaceForensics++ at two levels
    assert "compression c40" in out
    assert "1 real and 1 fake videos" in out  # Celeb-DF
    assert len([*Path("runs/deepfake").glob("best*.ckpt")]) == 3


def test_numbers_of_the_text_are_the_defaults():
    given = {name: value.default for name, value in inspect.signature(DeepfakeModule.__init__).parameters.items()}
    text = " ".join(PAGE.split())
    for told in (
        "m = {embedding}, τ = {lag} s",
        "{patch} frames become a token of {width} channels",
        "{layers} layers, {heads} heads",
        "`fake` from a probability of {fake_above} on, `real` up to {real_below}",
        "the quality is below {least_quality}",
    ):
        assert told.format(**given) in text
    assert f"window of {WINDOW / RATE:g} s (one each {HOP / RATE:g} s)" in text
    assert f"fewer than {LEAST['interocular_px']:g} pixels between the outer eye corners" in text
    assert f"less than {LEAST['detected']:.0%} of the frames".replace("%", " %") in text
    assert f"below {LEAST['frames_per_second']:g} frames a second" in text
    assert f"half gain at {SMOOTH:g} Hz" in text
