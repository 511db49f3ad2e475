import csv
import json

import pytest
import torch
from little_films import film, tone

from mediakit import weights
from mediakit.cli import main
from mediakit.colorize import stages
from mediakit.colorize.clips import cache as cache_module
from mediakit.colorize.module import ColorizeModule
from mediakit.colorize.stages import StageResult, train_colorizer
from mediakit.errors import MediaError, MediakitError
from mediakit.io import sha256
from mediakit.ledger import write_json

TINY = {
    "size": 16,
    "batch_size": 2,
    "gray_encoder": "resnet10t",
    "semantic_encoder": "reference",
    "audio_encoder": "reference",
    "audio_mels": 64,
    "audio_hop": 320,
    "dim": 16,
    "width": 4,
    "accelerator": "cpu",
}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Films are decoded in this process."""
    monkeypatch.setattr(cache_module, "run_jobs", lambda function, items, **_: ((i, function(i)) for i in items))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for n in range(count):
            color = ("red", "blue")[n % 2]
            film(root / split / f"{n}.mp4", (color, 1), sound=tone(1.0, pitch=300 + 200 * (n % 2) + len(split) + n))
    return root


@pytest.fixture
def quick(monkeypatch):
    """Stages are not trained: each leaves a file. Returns the stages that were asked for."""
    asked = []

    def train(out, plan, stage, start, accelerator, progress):
        asked.append(stage)
        checkpoint = out / f"stage-{stage}.ckpt"
        checkpoint.write_bytes(f"weights {stage} {plan.seed}".encode())
        record = {"sha256": sha256(checkpoint), "start": start and sha256(start)}
        write_json(out / f"stage-{stage}.json", {**record, "error": 1.5, "epochs": plan.epochs[stage - 1]})
        return StageResult(stage, checkpoint, 1.5, plan.epochs[stage - 1], False)

    monkeypatch.setattr(stages, "_train", train)
    monkeypatch.setattr(stages, "_test", lambda *_: "")
    return asked


def test_finished_stages_are_not_trained_again(films, tmp_path, quick):
    first = train_colorizer(films, tmp_path, epochs=(3, 2, 1))
    assert quick == [1, 2, 3]
    assert [(s.epochs, s.resumed) for s in first.stages] == [(3, False), (2, False), (1, False)]
    assert first.checkpoint.read_bytes() == (tmp_path / "stage-3.ckpt").read_bytes()
    again = train_colorizer(films, tmp_path, epochs=(3, 2, 1))
    assert quick == [1, 2, 3]
    assert all(stage.resumed for stage in again.stages)


def test_a_damaged_stage_and_those_built_on_it_are_trained_again(films, tmp_path, quick):
    train_colorizer(films, tmp_path)
    (tmp_path / "stage-3.ckpt").write_bytes(b"cut off")
    train_colorizer(films, tmp_path)
    assert quick == [1, 2, 3, 3]
    (tmp_path / "stage-1.json").write_text('{"sha256": "0", "start": null}')
    (tmp_path / "stage-1.ckpt").write_bytes(b"of another kind")
    train_colorizer(films, tmp_path)
    assert quick == [1, 2, 3, 3, 1]  # made anew with equal bytes, so what is built on it stays
    train_colorizer(films, tmp_path, overwrite=True, seed=1)
    assert quick[5:] == [1, 2, 3]


def test_changed_settings_are_refused(films, tmp_path, quick):
    train_colorizer(films, tmp_path, size=32, epochs=2)
    with pytest.raises(
        MediakitError, match=r"other settings \(epochs \[2, 2, 2\] there, \[3, 3, 3\] now; size 32.*64 now"
    ):
        train_colorizer(films, tmp_path, size=64, epochs=3)
    train_colorizer(films, tmp_path, size=32, epochs=2, workers=2, num_workers=1)  # these change nothing
    assert quick == [1, 2, 3]
    train_colorizer(films, tmp_path, size=64, epochs=3, overwrite=True)
    assert quick == [1, 2, 3] * 2


def test_changed_films_are_refused(tmp_path, quick):
    for n in range(3):
        film(tmp_path / "in" / f"{n}.mp4", ("red", 1), sound=tone(1.0, pitch=300 + n))
    train_colorizer(tmp_path / "in", tmp_path / "out")
    film(tmp_path / "in" / "new.mp4", ("blue", 1), sound=tone(1.0))
    with pytest.raises(MediakitError, match=r"other films \(3 clips then, 4 now"):
        train_colorizer(tmp_path / "in", tmp_path / "out")


def test_foreign_folders_are_left_alone(films, tmp_path, quick):
    (tmp_path / "colorizer.ckpt").write_bytes(b"mine")
    with pytest.raises(MediaError, match="not from such a run"):
        train_colorizer(films, tmp_path)
    assert (tmp_path / "colorizer.ckpt").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"widht": 8}, "no setting 'widht'. Did you mean width"),
        ({"stage": 2}, "no setting 'stage'"),
        ({"lr": "fast"}, "the setting lr cannot be 'fast': it is float"),
        ({"batch_size": "many"}, "the setting batch_size cannot be 'many': it is int"),
        ({"epochs": (1, 2)}, "one number or 3"),
        ({"epochs": 0}, "at least 1 each"),
        ({"size": 2}, "size >= 8"),
        ({"layout": "movies"}, "the setting layout cannot be 'movies': it is Literal"),
    ],
)
def test_bad_settings(films, tmp_path, options, problem, quick):
    with pytest.raises(MediakitError, match=problem):
        train_colorizer(films, tmp_path, **options)
    assert quick == []


def test_command(films, tmp_path, quick, capsys):
    words = ["train-colorizer", str(films), "-o", str(tmp_path), "-q", "--epochs", "3,2,1", "--set", "lr=1e-3"]
    assert main([*words, "--set", "label-folders=true"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        *(f"{tmp_path / f'stage-{n}.ckpt'}: val/error 1.5" for n in (1, 2, 3)),
        str(tmp_path / "colorizer.ckpt"),
    ]
    settings = json.loads((tmp_path / ".settings.json").read_text())["settings"]
    assert (settings["lr"], settings["label_folders"], settings["epochs"]) == (1e-3, True, [3, 2, 1])
    assert main(words) == 2
    assert "label_folders True there, False now" in capsys.readouterr().err


@pytest.mark.slow
def test_three_stages_and_going_on_after_an_interruption(films, tmp_path, monkeypatch):
    whole = train_colorizer(films, tmp_path / "whole", epochs=2, **TINY)
    assert [stage.stage for stage in whole.stages] == [1, 2, 3]
    module = weights.load(whole.checkpoint)
    assert isinstance(module, ColorizeModule)
    assert (module.stage, module.size) == (3, 16)
    one, two, three = (weights.load(stage.checkpoint).network.state_dict() for stage in whole.stages)
    changed = [
        {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
        for before, after in ((one, two), (two, three))
    ]
    assert changed[0] <= {"audio_encoder", "audio_head"}
    assert changed[0]
    assert "decoder" in changed[1]
    assert not {"audio_encoder", "audio_head", "semantic_encoder", "semantic_head"} & changed[1]
    assert "right sound" in whole.table
    assert whole.table in (tmp_path / "whole" / "test.txt").read_text()
    with next((tmp_path / "whole" / "logs" / "stage-1").rglob("metrics.csv")).open() as file:
        assert any(row["val/error"] for row in csv.DictReader(file))

    stopped = []

    def stop(self):
        if (self.stage, self.current_epoch) == (3, 1) and not stopped:
            stopped.append(True)
            raise RuntimeError("power cut")

    monkeypatch.setattr(ColorizeModule, "on_train_epoch_start", stop)
    with pytest.raises(RuntimeError, match="power cut"):
        train_colorizer(films, tmp_path / "parts", epochs=2, **TINY)
    assert not (tmp_path / "parts" / "colorizer.ckpt").exists()
    again = train_colorizer(films, tmp_path / "parts", epochs=2, **TINY)
    assert [stage.resumed for stage in again.stages] == [True, True, False]
    assert [stage.error for stage in again.stages] == [stage.error for stage in whole.stages]
    expected, found = (weights.load(run.checkpoint).network.state_dict() for run in (whole, again))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert again.table == whole.table
