"""Training and testing of parsing through the real command line with the recipe that comes with it, made small."""

import csv
import math
import re
import warnings
from pathlib import Path

import pytest
import torch

import mediakit
from mediakit.cli import main
from mediakit.errors import MediakitError
from mediakit.parsing import ParsingModule, SimulatedDataModule, avvp_scores, oracle_ladder
from mediakit.parsing.metrics import PROTOCOLS, SCORES

from pytorch_lightning import Trainer  # isort: skip  # after mediakit, which makes torchvision importable

COUNTS = {"train": 40, "val": 16, "test": 12, "batch_size": 16}
DATA = ["--data", "mediakit.parsing.SimulatedDataModule", *(f"--data.{name}={n}" for name, n in COUNTS.items())]
DIMS = {"audio_dim": 128, "frames_dim": 128, "clips_dim": 64}
SIZES = {**DIMS, "hidden": 16, "heads": 2, "layers": 1}
MODEL = [f"--model.{name}={value}" for name, value in SIZES.items()]
TRAINER = [f"--trainer.{name}=false" for name in ("enable_progress_bar", "enable_model_summary")]


def mk(folder, command, *more):
    """Runs `mediakit COMMAND --config parsing ...` in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return main([command, "--config", "parsing", *DATA, *MODEL, *TRAINER, "--trainer.accelerator=cpu", *more])


def fit(folder, *more, epochs=1):
    assert mk(folder, "fit", f"--trainer.max_epochs={epochs}", "--model.lr=0.01", *more) == 0
    return folder / "runs" / "parsing" / "best.ckpt"


def weights(checkpoint):
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def rows(folder, name):
    """Values of a logged number, row by row."""
    log = (folder / "runs" / "parsing" / "version_0" / "metrics.csv").read_text()
    return [float(row[name]) for row in csv.DictReader(log.splitlines()) if row.get(name)]


def small(**settings):
    """A module of 2 classes, and a batch of 2 videos of 3 seconds whose last second the second video lacks."""
    torch.manual_seed(0)
    module = ParsingModule(["a", "b"], 4, 4, 4, segments=3, hidden=8, heads=2, layers=1, **settings).eval()
    valid = torch.tensor([[True, True, True], [True, True, False]])
    truth = torch.tensor([[[1, 0], [1, 0], [0, 0]], [[1, 1], [0, 1], [0, 0]]], dtype=torch.uint8)
    batch = {name: torch.randn(2, 3, 4) for name in ("audio", "frames", "clips")} | {
        "labels": torch.tensor([[1.0, 0.0], [1.0, 1.0]]),
        "audio_segments": truth.float(),
        "visual_segments": truth.float(),
        "true_audio": truth,
        "true_visual": truth,
        "valid": valid,
        "id": ["x", "y"],
    }
    return module, batch


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder in which the recipe has run for two epochs."""
    folder = tmp_path_factory.mktemp("parsing")
    fit(folder, epochs=2)
    return folder


@pytest.fixture(scope="module")
def checkpoint(trained) -> Path:
    return trained / "runs" / "parsing" / "best.ckpt"


@pytest.fixture(scope="module")
def outputs(checkpoint):
    """What the loaded model says of the validation and the test split, and their truth."""
    data, model = SimulatedDataModule(**COUNTS), mediakit.load(checkpoint)
    found = {}
    for split in ("val", "test"):
        dataset = data.dataset(split)
        items = [dataset[n] for n in range(len(dataset))]
        batch = {name: torch.stack([item[name] for item in items]) for name in items[0] if name != "id"}
        with torch.no_grad():
            found[split] = model(batch["audio"], batch["frames"], batch["clips"]), batch
    return found


def decisions(output, protocol):
    """The rules of the papers, written out."""
    audio, visual = (output.frame_logits.sigmoid() >= 0.5).unbind(2)
    asked = {
        "mmcse": (output.video_prob, output.visual_prob),
        "han": (output.video_prob, output.video_prob),
        "jomold": (output.audio_prob, output.visual_prob),
        "raw": (torch.ones_like(output.video_prob),) * 2,
    }[protocol]
    return tuple(x & (whole[:, None] >= 0.5) for x, whole in zip((audio, visual), asked, strict=True))


def test_it_learns_and_says_where_the_best_is(tmp_path, capsys):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        path = fit(tmp_path, "--trainer.log_every_n_steps=1", epochs=3)
    losses = rows(tmp_path, "train/total")
    assert losses[-1] < 0.8 * losses[0]
    scores = rows(tmp_path, "val/segment_type")
    assert len(scores) == 3
    assert re.search(rf"{path}: best val/segment_type, {max(scores):.4g}\n", capsys.readouterr().out)
    assert torch.load(path, weights_only=True)["epoch"] == scores.index(max(scores))
    for noise in ("LeafSpec", "is not empty", "logging interval", "args parameter"):
        assert not [str(note.message) for note in told if noise in str(note.message)]


def test_what_is_logged_are_the_scores(trained, checkpoint, outputs):
    output, batch = outputs["val"]
    scores = avvp_scores(*decisions(output, "mmcse"), batch["true_audio"], batch["true_visual"])
    epoch = torch.load(checkpoint, weights_only=True)["epoch"]
    for name in SCORES:
        assert rows(trained, f"val/{name}")[epoch] == pytest.approx(scores[name], abs=1e-4), name
    logged = {name: rows(trained, f"val/{name}") for name in ("video", "reconstruction", "total")}
    assert all(len(values) == 2 for values in logged.values())


def test_the_test_prints_all_protocols_and_the_ladder(trained, checkpoint, outputs, capsys):
    assert mk(trained, "test", f"--ckpt_path={checkpoint}") == 0
    printed = capsys.readouterr().out
    output, batch = outputs["test"]
    truth = batch["true_audio"], batch["true_visual"]
    expected = {f"protocol {name}": avvp_scores(*decisions(output, name), *truth) for name in PROTOCOLS}
    expected |= oracle_ladder(*truth, batch["labels"])
    assert len(expected) == 7
    for name, scores in expected.items():
        (line,) = [line for line in printed.splitlines() if line.startswith(f"{name} ")]
        found = [float(x) for x in re.sub(r"\[.*?\]", "", line[len(name) :]).split()]
        assert found == pytest.approx([scores[key] for key in SCORES], abs=0.051), name
    assert "LLP-sim" in printed
    assert f"{COUNTS['test']} videos" in printed
    assert re.search(r"^Frying_\(food\) ", printed, flags=re.MULTILINE)
    (line,) = [line for line in printed.splitlines() if "test/segment_type" in line]
    assert float(line.split("│")[2]) == pytest.approx(expected["protocol mmcse"]["segment_type"], abs=1e-3)


def test_validate_and_predict_run(trained, checkpoint, capsys):
    assert mk(trained, "validate", f"--ckpt_path={checkpoint}") == 0
    assert "val/event_av" in capsys.readouterr().out
    assert mk(trained, "predict", f"--ckpt_path={checkpoint}") == 0


def test_what_prediction_gives(checkpoint, outputs):
    data, model = SimulatedDataModule(**COUNTS), mediakit.load(checkpoint)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (found,) = trainer.predict(model, datamodule=data)
    output, _ = outputs["test"]
    assert found["id"][0].startswith("llp-sim-test")
    torch.testing.assert_close(found["frame_prob"], output.frame_logits.sigmoid())
    for name, expected in zip(("audio", "visual"), decisions(output, "mmcse"), strict=True):
        assert torch.equal(found[name], expected)


def test_the_checkpoint_gives_the_same_model_back(checkpoint):
    model = mediakit.load(checkpoint)
    assert isinstance(model, ParsingModule)
    assert not model.training
    assert model.classes == SimulatedDataModule.classes
    assert (model.segments, model.protocol, model.hparams["lr"]) == (10, "mmcse", 0.01)
    assert model.encoders == SimulatedDataModule(**COUNTS).encoders
    state = model.state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in weights(checkpoint).items())


def test_the_same_twice(tmp_path, checkpoint):
    first, second = weights(checkpoint), weights(fit(tmp_path, epochs=2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    (tmp_path / "other").mkdir()
    other = weights(fit(tmp_path / "other", "--seed_everything=1", epochs=2))
    assert not torch.equal(first["network.audio.weight"], other["network.audio.weight"])


def test_going_on_is_like_not_having_stopped(tmp_path):
    # One video, so that the order is the same, and no dropout: what is left is the optimizer and its schedule.
    still = ["--model.dropout=0", "--model.schedule=cosine", "--data.train=1"]
    still += ["--trainer.callbacks.init_args.monitor=null"]  # keeps the last
    for name in ("straight", "halved"):
        (tmp_path / name).mkdir()
    straight = weights(fit(tmp_path / "straight", *still, epochs=4))
    half = fit(tmp_path / "halved", *still, epochs=2)
    before = weights(half)
    found = torch.load(fit(tmp_path / "halved", *still, f"--ckpt_path={half}", epochs=4), weights_only=True)
    assert found["epoch"] == 3
    assert all(torch.equal(found["state_dict"][name], weight) for name, weight in straight.items())
    assert not torch.equal(before["network.audio.weight"], straight["network.audio.weight"])


@pytest.mark.parametrize("options", [["--model.network=han"], ["--model.network=han", "--model.objective=han"],
    ["--model.decoupling=false", "--model.secm=false", "--model.lgsf=false", "--model.protocol=jomold"]],
    ids=" ".join)  # fmt: skip
def test_every_kind_of_run(tmp_path, options):
    path = fit(tmp_path, *options)
    assert all(weight.isfinite().all() for weight in weights(path).values())
    (total,) = rows(tmp_path, "val/total")
    assert 0 < total < 10
    model = mediakit.load(path)
    assert type(model.network).__name__ == ("HAN" if "--model.network=han" in options else "ParsingModel")


def test_bf16_trains_like_float32(tmp_path, trained):
    path = fit(tmp_path, "--trainer.precision=bf16-mixed", epochs=2)
    assert weights(path)["network.audio.weight"].dtype == torch.float32
    assert rows(tmp_path, "val/total") == pytest.approx(rows(trained, "val/total"), rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.classes=events"], r"the data has 25 classes, the model 12 .*siren.*Speech.*--data.classes"),
        (["--model.audio_dim=100"], "the audio features have 128 channels, not 100: --model.audio_dim 128"),
        (["--model.clips_dim=2"], "the clips features have 64 channels, not 2: --model.clips_dim 64"),
        (["--model.segments=5"], "the data has windows of 10 s, not 5: --model.segments 10"),
        (["--model.hidden=18"], "the network cannot be built: heads must divide the 9 channels of a class, got 2"),
        (["--model.network=han", "--model.heads=3"], "the network cannot be built: embed_dim must be divisible"),
        (["--model.classes=llpp"], "there is no class list 'llpp': take llp, ave, unav, events"),
        (["--model.lr=1e30"], "the network gives NaN: its training diverged"),
        (["--data.train=0"], "train must be 1 video or more, got 0"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, capsys, options, message):
    assert mk(tmp_path, "fit", "--trainer.max_epochs=2", *options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mediakit:")]
    assert re.search(message, line)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_features_of_another_source_are_refused(trained, checkpoint, capsys):
    assert mk(trained, "test", f"--ckpt_path={checkpoint}", "--data.seed=1") == 2
    assert "drawn_by_seed 1" in capsys.readouterr().err


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model.help", "mediakit.parsing.ParsingModule"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "--model.classes CLASSES, --model.classes+ CLASSES Names of the K classes, or the key of a list",
        "--model.segments SEGMENTS T, seconds that the network is trained on",
        '--model.network {mmcse,han} ``"mmcse"`` or the baseline',
        "--model.protocol {mmcse,han,jomold,raw} Which video-level probabilities filter the segments",
        "--model.schedule {step,cosine,constant}",
        "--model.lr LR Learning rate of AdamW. (type: float, default: 0.0001)",
    ):
        assert words in text


def test_seconds_that_a_video_lacks_do_not_count():
    module, batch = small(protocol="raw")
    with torch.no_grad():
        module.network.heads.weight.zero_()
        module.network.heads.bias[:, 0] = 1  # everything everywhere
    module.step(batch, "val")
    everything = batch["valid"].unsqueeze(-1).expand(2, 3, 2)
    expected = avvp_scores(everything, everything, batch["true_audio"], batch["true_visual"])
    assert module.val_score.compute() == pytest.approx(expected)
    # Class b of the second video is right in all the seconds that there are.
    assert expected["segment_audio"] == pytest.approx(100 * ((4 / 5 + 0) / 2 + (2 / 3 + 1) / 2) / 2)
    module.step(batch, "test")
    assert module.test_scores["protocol raw"].compute() == pytest.approx(expected)
    ladder = oracle_ladder(batch["true_audio"][1:, :2], batch["true_visual"][1:, :2], batch["labels"][1:])
    found = {name: score.per_video()[1] for name, score in module.test_scores.items()}
    for name, scores in ladder.items():
        assert (100 * found[name]).tolist() == pytest.approx(list(scores.values())), name
    audio = module.predict_step(batch, 0)
    assert torch.equal(audio["valid"], batch["valid"])
    assert audio["id"] == ["x", "y"]


def test_the_objectives():
    module, batch = small(dropout=0.0)
    losses = module.step(batch, "train")
    assert set(losses) == {"video", "audio_segments", "visual_segments", "reconstruction", "orthogonality",
                           "cooccurrence", "total"}  # fmt: skip
    off, _ = small(dropout=0.0, segment_weight=0.0, reconstruction_weight=0.0, orthogonality_weight=0.0,
                   cooccurrence_weight=0.0)  # fmt: skip
    assert off.step(batch, "train")["total"].item() == pytest.approx(losses["video"].item())
    han, _ = small(dropout=0.0, objective="han")
    assert set(han.step(batch, "train")) == {"video", "audio", "visual", "total"}
    assert han.step(batch, "train")["video"].item() == pytest.approx(losses["video"].item())


def rates(epochs, **settings):
    """Learning rate of each epoch."""
    module, _ = small(**settings)
    module.trainer = Trainer(max_epochs=epochs, accelerator="cpu", logger=False)
    found = module.configure_optimizers()
    if not isinstance(found, dict):
        return [found.param_groups[0]["lr"]] * epochs
    optimizer, scheduler = found["optimizer"], found["lr_scheduler"]
    values = []
    for _ in range(epochs):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def test_schedules():
    assert rates(25, lr=1e-3) == pytest.approx([1e-3] * 10 + [1e-4] * 10 + [1e-5] * 5)
    assert rates(3, lr=1e-3, schedule="constant") == pytest.approx([1e-3] * 3)
    warm = [2e-4, 4e-4, 6e-4, 8e-4, 1e-3]
    middle = (1e-3 + 1e-6) / 2
    assert rates(10, lr=1e-3, schedule="cosine") == pytest.approx(
        [*warm, 1e-3, middle + (middle - 1e-6) / math.sqrt(2), middle, middle - (middle - 1e-6) / math.sqrt(2), 1e-6]
    )
    assert rates(3, lr=1e-3, schedule="cosine") == pytest.approx(warm[:3])
    assert rates(60, schedule="cosine")[-1] == pytest.approx(1e-6)


def test_the_optimizer_is_the_papers():
    module, _ = small(schedule="constant")
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    (group,) = optimizer.param_groups
    assert (group["betas"], group["eps"], group["weight_decay"], group["lr"]) == ((0.5, 0.999), 1e-8, 1e-3, 1e-4)
    assert all(weight.requires_grad for weight in group["params"])


def test_the_recipe_is_the_papers(trained):
    from importlib.resources import files

    import yaml

    recipe = yaml.safe_load((files("mediakit.parsing") / "recipe.yaml").read_text())
    model = ParsingModule(**recipe["model"]["init_args"])
    assert sum(w.numel() for w in model.parameters()) == 6_160_845
    assert (model.lr, model.weight_decay, model.betas, model.schedule) == (1e-4, 1e-3, [0.5, 0.999], "step")
    assert recipe["trainer"]["max_epochs"] == 60
    assert recipe["trainer"]["gradient_clip_val"] == 1.0
    assert recipe["data"]["init_args"]["batch_size"] == 64


def test_settings_that_cannot_be(trained):
    for settings in ({"protocol": "none"}, {"schedule": "linear"}):
        with pytest.raises(MediakitError, match="there is no protocol"):
            ParsingModule(**settings)


def test_a_later_run_leaves_the_model_of_an_earlier_one(tmp_path, capsys):
    first = fit(tmp_path).read_bytes()
    capsys.readouterr()
    assert fit(tmp_path, "--seed_everything=7").read_bytes() == first
    printed = capsys.readouterr().out
    assert "best-v1.ckpt: best val/segment_type" in printed
    command = printed.partition("to test it: mediakit ")[2].splitlines()[0].split()
    assert command[-1] == "runs/parsing/best-v1.ckpt"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert main(command) == 0


def test_the_recipe_alone_names_what_it_needs(capsys):
    assert main(["fit", "--config", "parsing", "--trainer.max_epochs=1"]) == 2
    needed = "--data.features DIR and --data.labels DIR (see docs/tasks/parsing.md)"
    assert capsys.readouterr().err == f"mediakit: the recipe parsing needs data: {needed}.\n"
