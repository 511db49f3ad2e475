"""Every block of docs/tasks/colorize.md does what it says, on few and short films and with small networks."""

import inspect
import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from little_films import film, shot, tone
from toy_parser import save

from mediakit.cli import main
from mediakit.colorize.key_frames import STILLS, TINT
from mediakit.colorize.module import ColorizeModule
from mediakit.io import write_audio, write_image
from mediakit.summary import GRAY_COLORFULNESS, SILENCE_RMS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "tasks" / "colorize.md").read_text()
GENERATED, WAYS, OWN, STAGES, SETS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
(PREDICT,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)

NETWORK = {
    "gray_encoder": "test_resnet",
    "semantic_encoder": "reference",
    "audio_encoder": "reference",
    "audio_mels": 32,
    "audio_hop": 1600,
    "dim": 16,
    "width": 4,
}
FEW = "--trainer.accelerator cpu --trainer.enable_progress_bar false"
SMALL = {
    "generate": "-q --workers 1 --seconds 1 --size 48x48 --fps 4",
    "train-colorizer": "-q --workers 1 --accelerator cpu --epochs 1 --size 64 "
    + " ".join(f"--set {name}={value}" for name, value in NETWORK.items()),
    "build-clips": "-q --workers 1 --seconds 2 --size 48",
    "fit": f"{FEW} --trainer.max_epochs 1 --data.size 64 --model.size 64 --data.progress false "
    + " ".join(f"--model.{name} {value}" for name, value in NETWORK.items()),
    "test": FEW,
    "colorize": "-q",
    "analyze": "-q --no-faces",
}
LABELS = ("red", "green", "blue")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(block: str) -> None:
    """Runs the commands of a block, made small."""
    for line in block.strip().replace("\\\n", " ").splitlines():
        program, command, *words = shlex.split(re.sub(r"--count \d+", "--count 4", line))
        assert program == "mediakit"
        assert main([command, *words, *SMALL[command].split()]) == 0, line


def films(folder: Path, names: tuple[str, ...], seconds: float = 2) -> None:
    """Colour films whose sound has about the pitch of their colour; no two are copies."""
    for number, name in enumerate(names):
        color = LABELS[number % 3]
        sound = tone(seconds, pitch=300.0 * (1 + LABELS.index(color)) + number)
        film(folder / f"{name}.mp4", (color, seconds), sound=sound)


@pytest.mark.slow
def test_from_scenes_to_a_coloured_film(here, capsys):
    run(GENERATED)
    out = capsys.readouterr().out
    assert "right sound" in out
    assert "gray picture" in out
    told = json.loads(Path("colored.json").read_text())
    assert told["frames"] == 4
    assert told["model"]["checkpoint"] == "colorizer.ckpt"
    assert Path("colored.mp4.html").is_file()
    assert "in colour already" in Path("page.html").read_text()
    exec(compile(PREDICT, "colorize.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Guided(by='sound', sound='used', weight=1.0, relevance=0.")
    assert lines[1].startswith("tensor(")
    assert len(lines[2].split()) == 3
    assert Path("picture.png").is_file()


def test_ways_to_colour(here, capsys):
    Path("run").mkdir()
    save(ColorizeModule(3, **NETWORK, size=32), Path("run/colorizer.ckpt"))
    write_image("picture.png", next(shot("gray", 1)))
    write_image("photo.jpg", next(shot("red", 1)))
    sound = tone(1)
    write_audio("sound.wav", sound.waveform, sound.rate)
    films(here / "old" / "reel", ("one", "two"), seconds=1)
    for line in WAYS.strip().splitlines():
        run(line)
        if "old" not in line:
            Path("colored.png").unlink()
    assert (here / "colored.png.html").is_file()
    assert len([*Path("colored/reel").glob("*.mp4")]) == 2
    assert "2 files in guessed colours" in capsys.readouterr().out


@pytest.mark.slow
def test_films_of_ones_own(here, capsys):
    films(here / "films", tuple(f"{n:02d}" for n in range(20)))
    run(OWN)
    assert (here / "run" / "colorizer.ckpt").is_file()
    for number in range(6):
        Path("photos").mkdir(exist_ok=True)
        write_image(f"photos/{number}.png", next(shot(LABELS[number % 3], 1, seed=number)))
    run(STAGES)
    assert len([*Path("runs/colorize").glob("best*.ckpt")]) == 3
    assert "right sound" in capsys.readouterr().out


@pytest.mark.slow
def test_data_sets(here):
    names = tuple("abcdefghijkl")
    films(here / "VGGSound", tuple(f"{name * 11}_000030" for name in names))
    rows = [f'{name * 11},30,"{LABELS[n % 3]}, playing",{"test" if n > 8 else "train"}' for n, name in enumerate(names)]
    Path("VGGSound/vggsound.csv").write_text("\n".join(rows) + "\n")
    films(here / "AVE", tuple(name * 11 for name in names))
    lines = [f"{LABELS[n % 3]}&{name * 11}&good&0&2" for n, name in enumerate(names)]
    Path("AVE/Annotations.txt").write_text("Category&VideoID&Quality&StartTime&EndTime\n" + "\n".join(lines) + "\n")
    for line in SETS.strip().splitlines():
        run(line.replace("-o run", f"-o run-{line.split()[2]}"))
    assert len([*here.glob("run-*/colorizer.ckpt")]) == 2


def test_numbers_of_the_text_are_the_defaults():
    given = {name: value.default for name, value in inspect.signature(ColorizeModule.__init__).parameters.items()}
    words = {0.2: "One picture in five is coloured without", 0.3: "three in ten get that of another"}
    text = " ".join(PAGE.split())
    assert words[given["sound_free"]] in text
    assert words[given["mismatched"]] in text
    assert given["old_film"] > 0  # "part of the training"
    assert (given["gray_encoder"], given["size"]) == ("resnet34", 256)
    assert SILENCE_RMS == 1e-4
    fields = " ".join((DOCS / "analysis.md").read_text().split())
    assert STILLS == 4
    assert "colours up to four pictures" in fields
    assert f"counts as gray below a colourfulness of {GRAY_COLORFULNESS:g}" in fields
    assert f"within {TINT:g} Lab units" in fields


def test_the_example_of_the_api_page(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "api" / "colorize.md").read_text(), flags=re.DOTALL)
    with torch.random.fork_rng():
        exec(compile(block, "colorize.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["(2, 64) 1.0", "(2, 2, 64, 96) 0.0", "True"]
