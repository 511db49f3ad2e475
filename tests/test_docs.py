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
    write_video(path / "demo.mp4", demo_frames(), FPS, audio=Audio(demo_sound(), RATE, 0.0))
    return path


def test_readme_python(folder, monkeypatch, capsys):
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("this MediaPipe bundles no face model")
    monkeypatch.chdir(folder)
    (block,) = blocks(ROOT / "README.md", "python")
    exec(compile(block, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "h264" in out
    assert "torch.Size([3, 480, 640])" in out
    assert "torch.Size([1, 16000])" in out
    assert "AudioEncoder(resnet18)" in out


def test_readme_commands(folder, monkeypatch):
    monkeypatch.chdir(folder)
    install, analyze, test = (b.strip() for b in blocks(ROOT / "README.md", "bash"))
    assert install == "pip install . && mediakit demo"
    assert test == 'pip install -e ".[dev]" && pytest'
    words = shlex.split(analyze.replace("VIDEO", "demo.mp4"))
    assert words[0] == "mediakit"
    assert main([*words[1:], "-q"]) == 0
    assert (folder / "page.html").stat().st_size > 100_000


def test_training(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (code,) = blocks(ROOT / "docs" / "training.md", "python")
    (folder / "my_task.py").write_text(code)
    (commands,) = blocks(ROOT / "docs" / "training.md", "bash")
    for command in commands.strip().splitlines():
        assert main(shlex.split(command)[1:]) == 0
    (line,) = [row for row in capsys.readouterr().out.splitlines() if "test/accuracy" in row]
    assert float(line.replace("│", " ").split()[-1]) > 0.9


def test_no_page_has_blocks_that_nobody_runs():
    known = {"README.md": (1, 3), "training.md": (1, 1)}
    for page in PAGES:
        found = (len(blocks(page, "python")), len(blocks(page, "bash")))
        assert found == known.get(page.name, (0, 0)), page.name
