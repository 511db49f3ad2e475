"""The bases through the real LightningCLI: fit, validate, test, predict, checkpoint, load."""

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import toy_task
from toy_task import ToyData, ToyModule, write_features

import mediakit
from mediakit.cli import main
from mediakit.errors import MediaError, MediakitError, WeightsError

MODEL = ["--model=toy_task.ToyModule", "--data=toy_task.ToyData"]
TRAINER = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def words(command: str, folder: Path, *more: str) -> list[str]:
    return [
        command,
        *MODEL,
        f"--data.folder={folder / 'features'}",
        *TRAINER,
        "--trainer.logger=false",
        f"--trainer.default_root_dir={folder}",
        *more,
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    toy_task.write_features(folder / "features")
    assert main(words("fit", folder, "--trainer.max_epochs=12", "--model.lr=0.2")) == 0
    return folder


@pytest.fixture(scope="module")
def checkpoint(trained) -> Path:
    (path,) = (trained / "checkpoints").glob("*.ckpt")
    return path


def test_fit_learns_and_test_scores_it(trained, checkpoint, capsys):
    assert main(words("test", trained, f"--ckpt_path={checkpoint}")) == 0
    table = capsys.readouterr().out
    (line,) = [row for row in table.splitlines() if "test/accuracy" in row]
    assert float(line.replace("│", " ").split()[-1]) > 0.85
    assert main(words("validate", trained, f"--ckpt_path={checkpoint}")) == 0
    assert "val/accuracy" in capsys.readouterr().out


def test_predict_runs(trained, checkpoint):
    assert main(words("predict", trained, f"--ckpt_path={checkpoint}")) == 0


def test_load_gives_the_same_model_back(trained, checkpoint, tmp_path):
    model = mediakit.load(checkpoint)
    assert isinstance(model, toy_task.ToyModule)
    assert not model.training
    assert model.hparams["lr"] == 0.2
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["mediakit"] == {"class": "toy_task.ToyModule", "version": mediakit.__version__, "encoders": {}}
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved["state_dict"][name])
    x = torch.load(checkpoint, weights_only=True)["state_dict"]["net.weight"]
    import numpy as np

    np.save(tmp_path / "likely.npy", np.tile(x.numpy() * 5, (5, 1)))
    assert model.predict(str(tmp_path / "likely.npy")) > 0.9


def test_same_seed_same_weights(tmp_path, checkpoint):
    toy_task.write_features(tmp_path / "features")
    assert main(words("fit", tmp_path, "--trainer.max_epochs=12", "--model.lr=0.2")) == 0
    (again,) = (tmp_path / "checkpoints").glob("*.ckpt")
    first, second = (torch.load(p, weights_only=True)["state_dict"] for p in (checkpoint, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_bad_data_is_named_before_training(tmp_path, capsys):
    assert main(words("fit", tmp_path)) == 2
    assert f"{tmp_path}/features/train/x.npy: does not exist" in capsys.readouterr().err


def test_load_refuses_what_it_cannot_trust(tmp_path, checkpoint):
    with pytest.raises(MediaError, match="does not exist"):
        mediakit.load(tmp_path / "none.ckpt")
    text = tmp_path / "text.ckpt"
    text.write_text("not a checkpoint")
    with pytest.raises(WeightsError, match=r"text\.ckpt: is no checkpoint"):
        mediakit.load(text)
    torch.save({"state_dict": {}}, tmp_path / "plain.ckpt")
    with pytest.raises(WeightsError, match="does not say which mediakit class"):
        mediakit.load(tmp_path / "plain.ckpt")
    content = torch.load(checkpoint, weights_only=True)
    for name, message in {
        "stranger.Model": "not part of mediakit",
        "mediakit.base.Gone": "this version does not have",
        "mediakit.errors.MediakitError": "no mediakit model",
    }.items():
        torch.save({**content, "mediakit": {"class": name, "version": "0"}}, tmp_path / "x.ckpt")
        with pytest.raises(WeightsError, match=message):
            mediakit.load(tmp_path / "x.ckpt")
    torch.save({**content, "state_dict": {"net.weight": torch.zeros(1, 9)}}, tmp_path / "y.ckpt")
    with pytest.raises(WeightsError, match="does not fit"):
        mediakit.load(tmp_path / "y.ckpt")


def test_a_device_that_is_not_there(checkpoint):
    for device in ("cuda:99", "gpu7"):
        with pytest.raises(mediakit.MediakitError, match=f"device '{device}' is not there"):
            mediakit.load(checkpoint, device=device)


def test_a_checkpoint_that_is_none_is_named(trained, tmp_path, capsys):
    (tmp_path / "note.ckpt").write_text("no")
    for path, reason in ((tmp_path / "gone.ckpt", "does not exist"), (tmp_path / "note.ckpt", "is no checkpoint")):
        for option in ([f"--ckpt_path={path}"], ["--ckpt_path", str(path)]):
            assert main(words("test", trained, *option)) == 2
            (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("mediakit:")]
            assert f"{path}: {reason}" in line


def test_testing_an_untrained_network_says_so_and_leaves_no_file(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [w for w in words("test", trained) if "default_root_dir" not in w]
    assert main(arguments) == 0
    assert "without --ckpt_path" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "pwned",))

    torch.save({"mediakit": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(WeightsError, match="is no checkpoint"):
        mediakit.load(tmp_path / "evil.ckpt")
    assert not (tmp_path / "pwned").exists()


BLOCKED = """
import sys
names = {"mediapipe", "librosa", "av", "cv2"}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in names:
            raise ImportError(f"{name} is blocked")
if sys.argv.pop(1) == "finder":
    sys.meta_path.insert(0, Block())
else:
    sys.modules.update(dict.fromkeys(names))
sys.path.insert(0, sys.argv[1])
import mediakit
from mediakit.cli import main
status = main(sys.argv[2:])
try:
    mediakit.read_image(__import__("torch").__file__)
except mediakit.MediakitError as error:
    print(error)
sys.exit(status)
"""


@pytest.mark.parametrize("way", ["finder", "modules"])
def test_ready_features_train_without_media_packages(tmp_path, way):
    toy_task.write_features(tmp_path / "features")
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            BLOCKED,
            way,
            str(Path(__file__).parent),
            *words("fit", tmp_path, "--trainer.max_epochs=1"),
        ],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert list((tmp_path / "checkpoints").glob("*.ckpt"))
    assert "cannot be imported" in run.stdout
    assert "pip install" in run.stdout


class CardedData(ToyData):
    """The toy's features, said to come from an encoder."""

    card: ClassVar[dict] = {"audio": {"name": "AudioEncoder(reference)", "weights": "synthetic", "sha256": "a" * 64}}

    @property
    def encoders(self):
        return self.card


class OtherData(CardedData):
    card: ClassVar[dict] = {"audio": {"name": "AudioEncoder(resnet18)", "weights": "none", "sha256": "b" * 64}}


def test_features_of_another_encoder_are_refused_and_both_are_named(tmp_path):
    from pytorch_lightning import Trainer

    write_features(tmp_path)
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, default_root_dir=tmp_path, enable_checkpointing=False, **quiet)
    model = ToyModule()
    trainer.fit(model, datamodule=CardedData(str(tmp_path)))
    trainer.save_checkpoint(tmp_path / "toy.ckpt")
    path = str(tmp_path / "toy.ckpt")

    loaded = mediakit.load(path)
    assert loaded.encoders == CardedData.card
    assert trainer.test(loaded, datamodule=CardedData(str(tmp_path)), verbose=False)
    assert trainer.test(loaded, datamodule=ToyData(str(tmp_path)), verbose=False)  # features that nobody signed
    both = r"AudioEncoder\(resnet18\).*bbbbbbbb.*AudioEncoder\(reference\).*aaaaaaaa"
    for use in (trainer.test, trainer.validate, trainer.predict):
        with pytest.raises(MediakitError, match=both):
            use(ToyModule(), datamodule=OtherData(str(tmp_path)), ckpt_path=path)
    with pytest.raises(MediakitError, match=both):  # nor does training go on with them
        trainer.fit(loaded, datamodule=OtherData(str(tmp_path)))


def test_the_learning_rate_rises_and_falls_along_a_cosine():
    from mediakit.base import warm_cosine

    assert [warm_cosine(step, 14, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    falling = [warm_cosine(4 + step, 14, 4) for step in (0, 5, 10)]
    assert falling == pytest.approx([1.0, 0.5, 0.0])
