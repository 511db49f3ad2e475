"""Every code block of README and docs does what it says."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from mediakit.cli import main
from mediakit.demo import FPS, RATE, demo_frames, demo_sound
from mediakit.io import Audio, write_video

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


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
    assert "torch.Size([1, 2, 512]) torch.Size([1, 8, 512])" in out
    assert "AudioEncoder(resnet18)" in out
    assert (folder / "small.mp4").stat().st_size < (folder / "mediakit-demo" / "demo.mp4").stat().st_size / 4
    assert (folder / "frame.png").is_file()


def test_faces_python(run):
    (block,) = blocks(ROOT / "docs" / "faces.md", "python")
    out = run(block)
    roll, _, shape = out.split(maxsplit=2)
    assert 7 < float(roll) < 14  # the demo's camera rolls by 12 degrees about an upright that is some degrees off
    assert shape.startswith("torch.Size([165, 1])")  # 138 frames at 25 per second, at 30


def test_readme_commands(folder, monkeypatch):
    monkeypatch.chdir(folder)
    install, analyze, test = (b.strip() for b in blocks(ROOT / "README.md", "bash"))
    assert install == "pip install . && mediakit demo"
    assert test == 'pip install -e ".[dev]" && pytest'
    words = shlex.split(analyze.replace("VIDEO", "mediakit-demo/demo.mp4"))
    assert words[0] == "mediakit"
    assert main([*words[1:], "-q"]) == 0
    assert (folder / "page.html").stat().st_size > 100_000


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
    known = {"README.md": (1, 3), "training.md": (2, 1), "faces.md": (1, 0)}
    for page in PAGES:
        found = (len(blocks(page, "python")), len(blocks(page, "bash")))
        assert found == known.get(page.name, (0, 0)), page.name
