"""Training, testing and loading of the detector on tracks of generated heads."""

import pytest
import torch

from mediakit import weights
from mediakit.cli import main
from mediakit.deepfake.data import DeepfakeDataModule
from mediakit.deepfake.evidence import average, calibrate, pignistic
from mediakit.deepfake.module import DeepfakeModule
from mediakit.deepfake.reasons import MEASURES, measures
from mediakit.deepfake.signals import Signals
from mediakit.errors import MediakitError

SMALL = {"width": 16, "layers": 1, "heads": 2}


@pytest.fixture(scope="module")
def trained(head_tracks, tmp_path_factory):
    """A checkpoint, what it was made of, and what training printed."""
    from pytorch_lightning import Trainer

    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("trained")
    module, data = DeepfakeModule(**SMALL), DeepfakeDataModule(str(head_tracks), views=1, batch_size=8)
    trainer = Trainer(
        default_root_dir=out,
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trainer.fit(module, data)
    torch.set_num_threads(threads)
    trainer.save_checkpoint(out / "small.ckpt")
    return out / "small.ckpt", module.eval(), data


def test_a_checkpoint_brings_all_that_a_verdict_needs(trained):
    path, module, data = trained
    loaded = weights.load(path)
    assert isinstance(loaded, DeepfakeModule)
    assert loaded.calibration == module.calibration != (1.0, 0.0)
    windows = data.dataset("test").signals
    with torch.inference_mode():
        torch.testing.assert_close(loaded(windows).mass, module(windows).mass)
    genuine, labels = data.plain_windows()
    known = measures(Signals(*(part[labels == 0] for part in genuine)))
    assert set(loaded.reference) <= set(MEASURES)
    for name, (low, high) in loaded.reference.items():
        values = known[name][torch.isfinite(known[name])]
        lower, higher = torch.quantile(values.double(), torch.tensor([0.05, 0.95], dtype=torch.float64))
        assert (low, high) == pytest.approx((float(lower), float(higher)), rel=1e-5)
    mean = module.network.head.mean[:20]  # what follows is computed from these
    torch.testing.assert_close(mean, genuine.head[genuine.valid].mean(0), rtol=1e-3, atol=1e-5)


def test_scores_are_those_of_the_videos_by_hand(trained, capsys):
    from pytorch_lightning import Trainer

    _, module, data = trained
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    logged = trainer.test(module, data, verbose=False)[0]
    rows = module.scores
    windows, columns = data.dataset("test").signals, data.dataset("test").columns
    with torch.inference_mode():
        mass = module(windows, columns["quality"]).mass
    records = data.records["test"]
    assert [row.id for row in rows] == [record.id for record in records]
    for number, row in enumerate(rows):
        here = columns["video"] == 2 * number
        together = calibrate(average(mass[here].double(), columns["quality"][here].double()), *module.calibration)
        assert row.score == pytest.approx(float(pignistic(together)), abs=1e-5)
        assert row.label == records[number].label
    reals = [row.score for row in rows if not row.label]
    fakes = [row.score for row in rows if row.label]
    pairs = [(f > r) + 0.5 * (f == r) for f in fakes for r in reals]
    assert logged["test/auc"] == pytest.approx(sum(pairs) / len(pairs))
    assert "method jitter" in capsys.readouterr().out


def test_the_baseline_goes_the_same_way(head_tracks):
    from pytorch_lightning import Trainer

    module = DeepfakeModule("lrnet", width=8)
    data = DeepfakeDataModule(str(head_tracks), views=1, batch_size=8)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    assert 0 <= float(trainer.callback_metrics["val/auc"]) <= 1
    assert torch.isfinite(trainer.callback_metrics["train/total"])


@pytest.mark.slow
def test_the_command_line(head_tracks, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    small = ["--model.width", "16", "--model.layers", "1", "--model.heads", "2", "--data.views", "1"]
    words = ["fit", "--config", "deepfake", "--data.root", str(head_tracks), *small]
    assert main([*words, "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]) == 0
    out = capfd.readouterr().out
    assert "best val/auc" in out
    assert (
        main(["test", "--config", "runs/deepfake/version_0/config.yaml", "--ckpt_path", "runs/deepfake/best.ckpt"]) == 0
    )
    assert "3 real and 6 fake videos" in capfd.readouterr().out
    assert (
        main(["predict", "--config", "runs/deepfake/version_0/config.yaml", "--ckpt_path", "runs/deepfake/best.ckpt"])
        == 0
    )


def test_the_recipe_says_what_it_needs(capsys):
    assert main(["fit", "--config", "deepfake"]) == 2
    assert "--data.root DIR" in capsys.readouterr().err


def test_settings_that_contradict_are_refused(trained):
    with pytest.raises(MediakitError, match="cannot be built: streams must be"):
        DeepfakeModule(streams=["hands"])
    with pytest.raises(MediakitError, match="real_below not above fake_above"):
        DeepfakeModule(real_below=0.7, fake_above=0.5)
    _, _, data = trained
    batch = {name: value[None] for name, value in data.dataset("test")[0].items()}
    short = DeepfakeModule(**SMALL, window=48)
    with pytest.raises(MediakitError, match=r"--data\.window and --model\.window"):
        short.step(batch, "test")
