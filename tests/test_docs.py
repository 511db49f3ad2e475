"""Every code block of README and docs does what it says, and the table of tensors names all there are."""

import importlib
import inspect
import re
import shlex
import sys
from itertools import islice
from pathlib import Path

import pytest

import mediakit
from mediakit import denoise, encoders, io, motion
from mediakit.cli import main
from mediakit.demo import FPS, RATE, demo_frames, demo_sound
from mediakit.io import Audio, write_video

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "tasks").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("docs")
    (path / "mediakit-demo").mkdir()
    write_video(path / "mediakit-demo" / "demo.mp4", demo_frames(), FPS, audio=Audio(demo_sound(), RATE, 0.0))
    return path


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Runs a page's Python block in a folder that `mediakit demo` has written to; returns what it prints."""
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("this MediaPipe bundles no face model")
    monkeypatch.chdir(folder)

    def execute(block: str) -> str:
        exec(compile(block, "block of the docs", "exec"), {})
        return capsys.readouterr().out

    return execute


def test_readme_python(folder, run):
    (block,) = blocks(ROOT / "README.md", "python")
    out = run(block)
    for expected in ("h264", "torch.Size([3, 120, 160])", "torch.Size([1, 32000])", "torch.Size([138, 478, 3]) 138"):
        assert expected in out
    assert "torch.Size([1, 2, 320]) torch.Size([1, 8, 320])" in out
    assert "AudioEncoder(reference)" in out
    assert (folder / "small.mp4").stat().st_size < (folder / "mediakit-demo" / "demo.mp4").stat().st_size / 4
    assert (folder / "frame.png").is_file()


def test_faces_python(run):
    (block,) = blocks(ROOT / "docs" / "faces.md", "python")
    out = run(block)
    roll, _, shape = out.split(maxsplit=2)
    assert 7 < float(roll) < 14  # the demo's camera rolls by 12 degrees about an upright that is some degrees off
    assert shape.startswith("torch.Size([165, 1])")  # 138 frames at 25 per second, at 30


def test_readme_commands(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    install, analyze, test, folders = (b.strip() for b in blocks(ROOT / "README.md", "bash"))
    assert install == "pip install . && mediakit demo"
    assert test == 'pip install -e ".[dev]" && pytest'
    words = shlex.split(analyze.replace("VIDEO", "mediakit-demo/demo.mp4"))
    assert words[0] == "mediakit"
    assert main([*words[1:], "-q"]) == 0
    assert (folder / "page.html").stat().st_size > 100_000
    monkeypatch.chdir(tmp_path)
    for command in folders.splitlines():
        assert main([*shlex.split(command)[1:], "-q"]) == 0
    assert len(mediakit.FeatureFolder("features").ids) == 6


def test_extract(folder, run):
    (command,) = blocks(ROOT / "docs" / "extract.md", "bash")
    (folder / "videos").mkdir()
    sound = Audio(demo_sound()[:, : 2 * RATE], RATE, 0.0)
    write_video(folder / "videos" / "clip.mp4", islice(demo_frames(), 2 * FPS), FPS, audio=sound)
    words = shlex.split(command.replace("VIDEOS", "videos"))
    assert words[0] == "mediakit"
    assert main([*words[1:], "-q", "--workers", "1"]) == 0
    (block,) = blocks(ROOT / "docs" / "extract.md", "python")
    assert run(block).endswith("clip torch.Size([2, 320]) 1\nAudioEncoder(reference)\n")
    # what the page says of the folder
    made = {file.relative_to(folder / "features").as_posix() for file in (folder / "features").rglob("[!.]*.*")}
    table = set(re.findall(r"^\| `([\w./]+)` \|", (ROOT / "docs" / "extract.md").read_text(), flags=re.MULTILINE))
    assert {name.replace("ID", "clip") for name in table} - {"failures.csv"} <= made


def test_synthetic(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (commands,) = blocks(ROOT / "docs" / "synthetic.md", "bash")
    for command in commands.strip().splitlines():
        assert main([*shlex.split(command)[1:], "-q", "--workers", "2"]) == 0
    capsys.readouterr()
    (block,) = blocks(ROOT / "docs" / "synthetic.md", "python")
    exec(compile(block, "synthetic.md", "exec"), {})
    events, labels, head, scene, truth = capsys.readouterr().out.splitlines()
    assert events.startswith("(Event(label=")
    assert labels == "torch.Size([10, 12]) torch.Size([3, 120, 160]) torch.Size([1, 160000])"
    assert head.startswith("jitter {'size': 0.0")
    assert head.endswith("torch.Size([150, 478, 3])")
    assert scene.endswith("torch.Size([128, 128]) torch.Size([2, 128, 128])")
    assert truth == "real ['expression', 'points', 'rotation', 'scale', 'time', 'translation']"
    # what the page says of the folders
    made = {file.relative_to(folder / "made").as_posix() for file in (folder / "made").rglob("[!.]*.*")}
    for name in ("events/weak.csv", "events/audio.csv", "events/visual.csv", "heads/labels.csv", "scenes/clips.csv"):
        assert name in made
    assert sum(name.endswith(".mp4") for name in made) == 7
    assert sum(name.endswith("manifest.json") for name in made) == 3


def test_training(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    code, load = blocks(ROOT / "docs" / "training.md", "python")
    (folder / "my_task.py").write_text(code)
    (commands,) = blocks(ROOT / "docs" / "training.md", "bash")
    for command in commands.strip().splitlines():
        assert main(shlex.split(command)[1:]) == 0
    (line,) = [row for row in capsys.readouterr().out.splitlines() if "test/accuracy" in row]
    assert float(line.replace("│", " ").split()[-1]) > 0.9
    monkeypatch.delitem(sys.modules, "my_task")
    exec(compile(load, "training.md", "exec"), {})
    assert capsys.readouterr().out == "Rhythm torch.Size([1])\n"


def test_no_page_has_blocks_that_nobody_runs():
    known = {"README.md": (1, 4), "training.md": (2, 1), "faces.md": (1, 0), "extract.md": (1, 1)}
    known["synthetic.md"] = (1, 1)
    known["pseudo-labels.md"] = (1, 2)  # run in tests/parsing/test_labelling.py
    known["parsing.md"] = (3, 5)  # run in tests/parsing/test_parsing_page.py
    known["deepfake.md"] = (1, 6)  # run in tests/deepfake/test_deepfake_page.py
    known["colorize.md"] = (1, 5)  # run in tests/colorize/test_colorize_page.py
    for page in PAGES:
        found = (len(blocks(page, "python")), len(blocks(page, "bash")))
        assert found == known.get(page.name, (0, 0)), page.name


def table_names() -> set[str]:
    """Dotted names, below ``mediakit``, in the column "where" of the table in concepts.md."""
    rows = re.findall(r"^\|[^|]+\|([^|]+)\|.*\|$", (ROOT / "docs" / "concepts.md").read_text(), flags=re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}


def test_table_of_tensors_names_what_exists():
    names = table_names()
    assert len(names) > 30
    for name in names:
        place = mediakit
        for part in name.split("."):
            if part in getattr(place, "__annotations__", ()):
                break  # a field
            place = getattr(place, part, None) or importlib.import_module(f"{place.__name__}.{part}")


@pytest.mark.parametrize("module", [io, motion, denoise, encoders], ids=lambda module: module.__name__)
def test_table_of_tensors_is_complete(module):
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    functions = {name: getattr(module, name) for name in getattr(module, "__all__", own) if not name.startswith("_")}
    makers = {
        name
        for name, value in functions.items()
        if inspect.isfunction(value)
        and re.search("Tensor|Similarity|Frame|VideoClip|Audio", str(value.__annotations__.get("return")))
    }
    assert makers
    package = module.__name__.removeprefix("mediakit.")
    assert {f"{package}.{name}" for name in makers} - table_names() == set()
