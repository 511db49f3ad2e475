"""Training of the three stages on pictures whose colour is a known function of class and group."""

import re

import pytest
import torch
from torch.utils.data import Dataset

from mediakit.base import BaseDataModule
from mediakit.cli import main
from mediakit.colorize.color import lab_to_rgb, rgb_to_lab
from mediakit.colorize.module import ColorizeModule
from mediakit.errors import MediakitError, WeightsError
from mediakit.weights import load

from pytorch_lightning import Trainer, seed_everything  # isort: skip

SMALL = {
    "gray_encoder": "resnet10t",
    "semantic_encoder": "reference",
    "audio_encoder": "reference",
    "dim": 16,
    "width": 4,
    "audio_segment": 1.0,
    "audio_mels": 16,
    "audio_hop": 400,
    "size": 32,
    "old_film": 0.0,
}


class Patches(Dataset):
    """Class 0 to 3 in groups 0, 0, 1, 1: stripes tell the group, a tone the class, the class the colour."""

    def __init__(self, count, frames, silent=False):
        self.count, self.frames, self.silent = count, frames, silent

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        label = index % 4
        a, b = [(45, 10), (0, 5), (5, 45), (0, -5)][label]
        stripes = (torch.arange(32) % 8 < 4).float()
        lightness = 50 + 20 * (stripes[None] if label < 2 else stripes[:, None]).expand(32, 32)
        lab = torch.stack([lightness, torch.full((32, 32), float(a)), torch.full((32, 32), float(b))])
        picture = 255 * lab_to_rgb(lab).clamp(0, 1)
        time = torch.arange(8000) / 16000
        tone = 0.3 * torch.sin(2 * torch.pi * (300 + 900 * label) * time)
        return {
            "frames": picture.round().to(torch.uint8)[None].repeat(self.frames, 1, 1, 1),
            "waveform": torch.zeros(8000) if self.silent else tone,
            "present": torch.tensor(0.0 if self.silent else 1.0),
            "label": torch.tensor(label),
            "group": torch.tensor(label // 2),
            "id": f"clip-{index}",
            "source": f"film-{index}",
        }


class PatchData(BaseDataModule):
    labels, groups = ("red", "blue", "green", "yellow"), ("upright", "lying")

    def __init__(self, frames=1, silent=False, count=16):
        super().__init__(batch_size=8)
        self.frames, self.silent, self.count = frames, silent, count

    def dataset(self, split):
        return Patches(self.count, self.frames, self.silent)


def trainer(epochs=1, **options):
    options = {"logger": False, "enable_checkpointing": False, "num_sanity_val_steps": 0, **options}
    return Trainer(
        accelerator="cpu", max_epochs=epochs, enable_progress_bar=False, enable_model_summary=False, **options
    )


def fitted(stage, start=None, epochs=1, **options):
    seed_everything(0, verbose=False)
    module = ColorizeModule(stage, **{**SMALL, "lr": 5e-3, "relevance_weight": 0.05, **options})
    if start is not None:
        module.network.load_state_dict(start.network.state_dict())
    run = trainer(epochs)
    run.fit(module, PatchData(frames=2 if stage == 2 else 1))
    return module, run


@pytest.fixture(scope="module")
def stages():
    """The three stages after a short training, and what their last validation said."""
    with torch.random.fork_rng():
        first, one = fitted(1, epochs=40)
        second, two = fitted(2, first, epochs=40)
        third, three = fitted(3, second, epochs=20)
    return [
        (m, {k: float(v) for k, v in t.callback_metrics.items()})
        for m, t in ((first, one), (second, two), (third, three))
    ]


def state(module, *names):
    return {
        key: value.clone() for key, value in module.network.state_dict().items() if key.startswith(names) or not names
    }


TEACHER, SOUND = ("semantic_encoder", "semantic_head"), ("audio_encoder", "audio_head")


@pytest.mark.parametrize(("stage", "rests"), [(1, SOUND), (3, (*SOUND, *TEACHER))])
def test_what_a_stage_does_not_train_stays_to_the_bit(stage, rests):
    module = ColorizeModule(stage, **SMALL)
    before, moving = state(module, *rests), state(module, "decoder", "gray_encoder")
    trainer(limit_train_batches=2, limit_val_batches=0).fit(module, PatchData())
    assert all(value.equal(before[key]) for key, value in state(module, *rests).items())
    assert any(not value.equal(moving[key]) for key, value in state(module, "decoder").items())
    assert any(not value.equal(moving[key]) for key, value in state(module, "gray_encoder").items())


def test_the_second_stage_trains_the_sound_alone():
    module = ColorizeModule(2, **SMALL)
    before = state(module)
    trainer(limit_train_batches=2, limit_val_batches=0).fit(module, PatchData(frames=2))
    changed = {key for key, value in state(module).items() if not value.equal(before[key])}
    assert changed
    assert all(key.startswith(SOUND) for key in changed)


def test_training_learns_what_the_stages_are_for(stages):
    (_, one), (_, two), (third, three) = stages
    assert one["val/error"] < 0.5 * one["val/gray"]  # the colour picture tells its colour
    assert one["val/error"] < 0.7 * one["val/silent"]  # and gray alone does not: two classes share each pattern
    assert two["val/error"] < 0.35  # the tone tells what is seen
    assert three["val/error"] < 0.7 * three["val/silent"]
    assert three["val/relevance_auc"] > 0.9
    run = trainer()
    run.test(third, PatchData(frames=2, count=32), verbose=False)
    found = third.trial.summary()
    assert found["ab_mae_right"] < 0.8 * found["ab_mae_none"]
    assert found["ab_mae_wrong"] < 1.25 * found["ab_mae_none"] < found["ab_mae_sibling"]
    assert found["relevance_auc"] > 0.9
    assert run.callback_metrics["test/ab_mae_right"].item() == pytest.approx(found["ab_mae_right"], rel=1e-5)
    table = third.trial.table()
    assert re.search(r"right sound +32 ", table)
    assert "yellow" in table


def test_the_error_is_that_of_the_colours(stages):
    third = stages[2][0].eval()
    batch = torch.utils.data.default_collate([PatchData(count=8).dataset("val")[n] for n in range(8)])
    lab = rgb_to_lab(batch["frames"][:, 0].float() / 255)
    with torch.inference_mode():
        ab = third.network(lab[:, :1], third.network.hear(batch["waveform"])).ab
    expected = (ab - lab[:, 1:]).abs().mean().item()
    found = trainer(limit_val_batches=1).validate(third, PatchData(count=8), verbose=False)[0]
    assert found["val/error"] == pytest.approx(expected, rel=1e-4)
    assert found["val/gray"] == pytest.approx(lab[:, 1:].abs().mean().item(), rel=1e-4)


def test_wrong_sounds_are_of_another_group_and_siblings_of_another_class(stages):
    third = stages[2][0].eval()
    seen = []
    original = third.network.forward
    third.network.forward = lambda x, s=None, p=None: seen.append(s) or original(x, s, p)
    try:
        trainer().test(third, PatchData(count=8), verbose=False)
    finally:
        del third.network.forward
    batch = torch.utils.data.default_collate([PatchData(count=8).dataset("test")[n] for n in range(8)])
    with torch.inference_mode():
        heard = third.network.hear(batch["waveform"])
    right, wrong, sibling = (found for found in seen[-3:])

    def classes(vectors):
        return torch.tensor([int(batch["label"][(heard - v).norm(dim=1).argmin()]) for v in vectors])

    assert classes(right).equal(batch["label"])
    assert (classes(wrong) // 2 != batch["group"]).all()
    assert (classes(sibling) // 2 == batch["group"]).all()
    assert (classes(sibling) != batch["label"]).all()


def test_silent_clips_train_too():
    for stage in (1, 2, 3):
        module = ColorizeModule(stage, **SMALL)
        run = trainer(limit_train_batches=1, limit_val_batches=1)
        run.fit(module, PatchData(frames=2 if stage == 2 else 1, silent=True))
        assert all(value.isfinite().all() for value in module.state_dict().values())


def test_a_checkpoint_stands_alone_and_starts_the_next_stage(tmp_path, stages):
    from safetensors.torch import save_file

    weights = tmp_path / "semantic.safetensors"
    source = ColorizeModule(1, **SMALL).network.semantic_encoder
    save_file({name: t.contiguous() for name, t in source.state_dict().items()}, weights)
    module = ColorizeModule(1, **SMALL, semantic_weights=str(weights))
    run = trainer(limit_train_batches=1, limit_val_batches=0)
    run.fit(module, PatchData())
    run.save_checkpoint(tmp_path / "one.ckpt")
    weights.unlink()
    loaded = load(tmp_path / "one.ckpt")
    assert loaded.stage == 1
    assert all(value.equal(module.state_dict()[key]) for key, value in loaded.state_dict().items())

    second = ColorizeModule(2, start=str(tmp_path / "one.ckpt"), **SMALL)
    trainer(limit_train_batches=1, limit_val_batches=0).fit(second, PatchData(frames=2))
    kept = state(module, "decoder", "gray_encoder", "semantic_encoder")
    assert all(value.equal(kept[key]) for key, value in state(second, *kept).items())

    with pytest.raises(WeightsError, match="another size"):
        ColorizeModule(2, **{**SMALL, "width": 8}).load_stage(tmp_path / "one.ckpt")


def test_nonsense_is_refused():
    with pytest.raises(MediakitError, match="stages 1, 2 and 3, not 4"):
        ColorizeModule(4, **SMALL)
    with pytest.raises(MediakitError, match="are shares from 0 to 1"):
        ColorizeModule(1, **SMALL, sound_free=1.5)
    with pytest.raises(MediakitError, match="no maps of several sizes"):
        ColorizeModule(1, **{**SMALL, "gray_encoder": "reference"})


def test_a_training_that_diverges_says_so():
    module = ColorizeModule(1, **SMALL)
    with torch.no_grad():
        module.network.to_ab.bias.fill_(torch.nan)
    with pytest.raises(MediakitError, match="diverged"):
        trainer(limit_train_batches=1).fit(module, PatchData())


def test_the_recipe_that_comes_with_the_package_parses(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", "colorize", "--data.root", str(tmp_path), "--model.stage", "2", "--print_config"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "mediakit.colorize.module.ColorizeModule" in shown
    assert re.search(r"stage: 2\n", shown)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_stages_train_in_bfloat16(stage):
    module = ColorizeModule(stage, **SMALL)
    before = state(module)
    run = trainer(precision="bf16-mixed", limit_train_batches=1, limit_val_batches=1)
    run.fit(module, PatchData(frames=2 if stage == 2 else 1))
    changed = [key for key, value in state(module).items() if not value.equal(before[key])]
    assert changed
    assert float(run.callback_metrics["val/error"]) > 0
