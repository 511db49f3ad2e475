"""Every block of docs/tasks/parsing.md does what it says, on few and short clips and for one epoch."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_teachers import write_clap_teacher, write_clip_teacher

from mediakit import extract
from mediakit.cli import main
from mediakit.parsing import ParsingModel, official_state
from mediakit.parsing.event_files import read_events
from mediakit.parsing.pseudo_labels import labelling
from mediakit.synthetic import corpus, generate_clips

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tasks" / "parsing.md").read_text()
GENERATED, LLP, HAN, SETS, OWN = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
PREDICT, OFFICIAL, LADDER = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)

SMALL = {
    "generate": "-q --workers 1 --seconds 3 --size 64x48 --fps 8",
    "extract": "-q --workers 1",
    "analyze": "-q --no-faces",
    "fit": "--trainer.max_epochs 1",
}
QUIET = "--trainer.accelerator cpu --trainer.enable_progress_bar false --trainer.enable_model_summary false"
FILES = ("feats/vggish", "feats/res152", "feats/r2plus1d_18", "CLAP/features", "CLIP/features")
SHAPES = ((10, 128), (80, 2048), (10, 512), (64, 768), (10, 768))
LABELS = ("CLAP/segment_pseudo_labels", "CLIP/segment_pseudo_labels")


def run_here(function, items, **_):
    """Does jobs in this process, which spares the start of another one."""
    for item in items:
        yield item, function(item)


@pytest.fixture(scope="module", autouse=True)
def at_once():
    with pytest.MonkeyPatch.context() as patch:
        for module in (extract, corpus, labelling):
            patch.setattr(module, "run_jobs", run_here)
        yield


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def clips(tmp_path_factory, at_once) -> list[Path]:
    folder = generate_clips("events", tmp_path_factory.mktemp("clips"), 3, seconds=3, size=(48, 64), fps=8)
    return sorted(folder.glob("*.mp4"))


def run(block: str, *more: str) -> None:
    """Runs the commands of a block, those of mediakit made small."""
    for line in block.strip().replace("\\\n", " ").splitlines():
        if not line.startswith("mediakit"):
            subprocess.run(line, shell=True, check=True)
            continue
        _, command, *words = shlex.split(re.sub(r"--count \d+", "--count 2", line))
        words += SMALL.get(command, "").split()
        if command in ("fit", "test"):
            words += QUIET.split()
        assert main([command, *words, *(more if command == "pseudo-label" else ())]) == 0, line


def write_llp(folder: Path) -> None:
    """Files by the names under which LLP, its features and VALOR's pseudo-labels circulate."""
    draw = np.random.default_rng(0)
    for at in (*FILES, *LABELS):
        (folder / at).mkdir(parents=True)
    known = {"train": ("AVVP_train", 3), "val": ("AVVP_val_pd", 1), "test": ("AVVP_test_pd", 2)}
    events = {"audio": ["filename\tonset\toffset\tevent_labels"], "visual": ["filename\tonset\toffset\tevent_labels"]}
    for split, (name, count) in known.items():
        rows = ["filename\tevent_labels"]
        for number in range(count):
            id = f"{split}-{number}".ljust(11, "_")
            rows.append(f"{id}_0_10\tSpeech,Dog")
            if split != "train":
                events["audio"].append(f"{id}_0_10\t0\t10\tSpeech")
                events["visual"].append(f"{id}_0_10\t2\t7\tDog")
            for at, shape in zip(FILES, SHAPES, strict=True):
                np.save(folder / at / f"{id}.npy", draw.standard_normal(shape, dtype=np.float32))
            for at in LABELS:
                np.save(folder / at / f"{id}.npy", draw.integers(0, 2, (10, 25)))
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    for modality, rows in events.items():
        (folder / f"AVVP_eval_{modality}.csv").write_text("\n".join(rows) + "\n")


def test_generated_clips(here, capsys):
    run(GENERATED)
    out = capsys.readouterr().out
    assert "clips test: 2 videos" in out
    assert "modality labels everywhere" in out
    assert "mediakit" in (here / "page.html").read_text()
    exec(compile(PREDICT, "parsing.md", "exec"), {})
    assert "torch.Size([3, 2, 12])" in capsys.readouterr().out
    heard = [event for event in read_events("events.csv") if event.modality != "audio-visual"]
    assert len(read_events("events.vtt")) <= len(heard)


def test_llp_as_it_circulates(here, capsys):
    write_llp(here / "data")
    run(LLP)
    out = capsys.readouterr().out
    assert "data: 0 findings (llp, audio events of 2020)" in out
    assert "LLP test, events of 2020: 2 videos" in out
    run(HAN)
    state = torch.load("runs/parsing/best-v1.ckpt", weights_only=True)  # the first is left as it was
    assert state["hyper_parameters"]["network"] == "han"
    assert state["hyper_parameters"]["frames_dim"] == 2048


def test_official_checkpoint_and_ladder(here, capsys):
    write_llp(here / "data")
    network = ParsingModel()
    torch.save(official_state(network), "checkpoint_best.pth")
    exec(compile(OFFICIAL, "parsing.md", "exec"), {})
    capsys.readouterr()
    kept = torch.load("mmcse.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(kept[f"network.{name}"], value) for name, value in network.state_dict().items())
    exec(compile(LADDER, "parsing.md", "exec"), {})
    names = re.findall(r"^(\D+\b) +\d", capsys.readouterr().out, flags=re.MULTILINE)
    assert names == ["nothing", "weak labels everywhere", "modality labels everywhere"]


def test_ladder_of_the_page(here, shared_data, capsys):
    (here / "data").symlink_to(shared_data / "llp")
    exec(compile(LADDER, "parsing.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line in lines:
        name, *values = re.split(r"\s{2,}", line)
        assert f"| {name} | {' | '.join(values)} |" in PAGE


def test_ave_and_unav(here, clips):
    for folder in ("AVE_Dataset/AVE", "UnAV/videos"):
        Path(folder).mkdir(parents=True)
        for clip in clips:
            shutil.copy(clip, folder)
    splits = dict(zip(("train", "val", "test"), (clip.stem for clip in clips), strict=True))
    for split, id in splits.items():
        Path(f"AVE_Dataset/{split}Set.txt").write_text(f"Bark&{id}&good&0&3\n")
    subsets = {"train": "train", "val": "validation", "test": "test"}
    event = {"segment": [0.5, 2.0], "label": "dog barking", "label_id": 0}
    database = {id: {"duration": 3.0, "annotations": [event], "subset": subsets[s]} for s, id in splits.items()}
    Path("UnAV/unav100_annotations.json").write_text(json.dumps({"database": database}))
    run(SETS)
    kept = [torch.load(path, weights_only=True) for path in Path("runs/parsing").glob("best*.ckpt")]
    assert {content["hyper_parameters"]["classes"] for content in kept} == {"ave", "unav"}


def test_videos_of_ones_own(here, clips):
    for split, clip, name in zip(("train", "val", "test"), clips, ("walk", "park", "new"), strict=True):
        for folder in (f"videos/{split}", f"labels/{split}"):
            Path(folder).mkdir(parents=True)
        shutil.copy(clip, f"videos/{split}/{name}.mp4")
        Path(f"labels/{split}/weak.csv").write_text(f"filename,event_labels\n{name},Dog\n")
        for modality in ("audio", "visual") if split != "train" else ():
            text = f"filename\tonset\toffset\tevent_labels\n{name}\t0\t2\tDog\n"
            Path(f"labels/{split}/{modality}.csv").write_text(text)
    teachers = write_clip_teacher(here / "clip"), write_clap_teacher(here / "clap")
    run(OWN, "-q", "--clip-model", str(teachers[0]), "--clap-model", str(teachers[1]))
    assert {event.label for event in read_events("events.vtt")} <= {"Dog", "Car"}
    assert "Events heard and seen" in Path("page.html").read_text()
