"""Training and testing of audio-infused colorization, stage by stage."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from mediakit.base import BaseModule, Split, warm_cosine
from mediakit.colorize.augment import age_film, vary_sound
from mediakit.colorize.color import rgb_to_lab
from mediakit.colorize.losses import alignment_loss, color_loss, pick, relevance_loss
from mediakit.colorize.model import ColorizationModel, ColorizeOutput
from mediakit.colorize.result import Coloring
from mediakit.errors import MediakitError, WeightsError
from mediakit.io import Audio

if TYPE_CHECKING:
    from mediakit.colorize.scoreboard import Trial

STAGES = (1, 2, 3)
_POOL = 512  # sounds remembered during validation and test, to draw wrong ones from
_WARM_UP = 0.1  # share of the steps in which the learning rate rises


class ColorizeModule(BaseModule):
    """Trains one of the three stages, each on top of the one before, and scores it beside the gray picture itself.

    Stage 1 learns to colour with the semantics of the colour picture, stage 2 to hear the semantics that the pictures
    show, stage 3 to colour with what is heard. Batches are those of `mediakit.colorize.data.ColorizeDataModule`.
    Validation logs ``val/error``, the lower the better: mean absolute error of a and b (stages 1 and 3) or one minus
    the cosine between heard and seen (stage 2). The test compares guidance by the colour picture (oracle), the right
    sound, no sound, and sounds of other clips.

    Args:
        stage: 1, 2 or 3.
        start: Checkpoint of the stage before, whose network is taken over when training begins.
        gray_encoder: timm network that reads lightness; see `.ColorizationModel`, likewise the next eleven.
        semantic_encoder: timm network that reads colour pictures.
        audio_encoder: Network that reads sound.
        gray_weights: None (random), ``"pretrained"``, a tag or a local file. They are not needed again to load a
            checkpoint.
        semantic_weights: Likewise.
        audio_weights: Likewise.
        dim: Length of the vectors of semantics.
        width: Channels of the finest block of the decoder.
        audio_segment: Seconds of sound to a vector.
        audio_mels: Mel bands of the spectrogram.
        audio_hop: Samples, at 16 kHz, between its frames.
        dropout: Share of the deepest gray maps that are dropped in training.
        size: Height and width of the pictures that it is trained on, which is how small pictures are made to be
            coloured later.
        sound_free: Share of the training pictures that are coloured without semantics (stages 1 and 3).
        mismatched: Share of those with sound that get the sound of another clip instead (stage 3).
        old_film: Share of the training pictures that get the gamma, grain and scratches of old film (stages 1 and 3).
        relevance_weight: Weight of the loss that teaches the relevance.
        train_audio: Whether stage 3 trains the audio encoder, too; for a run that leaves stage 2 out.
        gray_lr: Learning rate of the gray encoder in stage 3, as a share of ``lr``.
        schedule: ``"cosine"`` (a tenth of the steps to warm up) or ``"constant"``.
        lr: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay.
        betas: Decay rates of AdamW's moments.

    Raises:
        MediakitError: A setting does not fit.
        WeightsError: Weights cannot be fetched or do not fit.
    """

    def __init__(
        self,
        stage: Literal[1, 2, 3] = 1,
        start: str | None = None,
        gray_encoder: str = "resnet34",
        semantic_encoder: str = "resnet18",
        audio_encoder: str = "resnet18",
        gray_weights: str | None = None,
        semantic_weights: str | None = None,
        audio_weights: str | None = None,
        dim: int = 512,
        width: int = 32,
        audio_segment: float = 10.0,
        audio_mels: int = 128,
        audio_hop: int = 160,
        dropout: float = 0.1,
        size: int = 256,
        sound_free: float = 0.2,
        mismatched: float = 0.3,
        old_film: float = 0.2,
        relevance_weight: float = 0.2,
        train_audio: bool = False,
        gray_lr: float = 0.1,
        schedule: Literal["cosine", "constant"] = "cosine",
        lr: float = 5e-4,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay, betas=betas)
        # What the files of the beginning held is in the checkpoint; they need not be there when it is loaded.
        self.save_hyperparameters(ignore=["start", "gray_weights", "semantic_weights", "audio_weights"])
        if stage not in STAGES:
            raise MediakitError(f"there are the stages 1, 2 and 3, not {stage}.")
        if not all(0 <= share <= 1 for share in (sound_free, mismatched, old_film)) or size < 1:
            raise MediakitError("sound_free, mismatched and old_film are shares from 0 to 1, and size is at least 1.")
        try:
            self.network = ColorizationModel(
                gray_encoder,
                semantic_encoder,
                audio_encoder,
                gray_weights,
                semantic_weights,
                audio_weights,
                dim,
                width,
                audio_segment,
                audio_mels,
                audio_hop,
                dropout,
            )
        except (ValueError, AssertionError) as error:
            raise MediakitError(f"the network cannot be built: {error}.") from error
        self.stage, self.start, self.size, self.schedule = stage, start, size, schedule
        self.sound_free, self.mismatched, self.old_film = sound_free, mismatched, old_film
        self.relevance_weight = relevance_weight
        self.train_audio, self.gray_lr = train_audio, gray_lr
        self._sums: dict[str, list[Tensor]] = {}
        self._pool: list[tuple[Tensor, Tensor, Tensor]] = []
        self.trial: Trial | None = None
        for part in self._resting():
            part.requires_grad_(False)
        self.train()  # Lightning leaves the modes of the parts as they are

    def forward(
        self,
        image: str | os.PathLike[str] | Tensor,
        audio: str | os.PathLike[str] | Audio | None = None,
        guide: str | os.PathLike[str] | Tensor | None = None,
        audio_weight: float = 1.0,
    ) -> Coloring:
        """Colours one picture, which is what calling the module does; batches of tensors go to ``network``.

        See `mediakit.colorize.image.colorize_image`.
        """
        from mediakit.colorize.image import colorize_image

        return colorize_image(self, image, audio, guide, audio_weight=audio_weight)

    # Stages

    def _resting(self) -> list[nn.Module]:
        """The parts of the network that the stage does not train."""
        net = self.network
        sound: list[nn.Module] = [net.audio_encoder, net.audio_head]
        pictures: list[nn.Module] = [net.semantic_encoder, net.semantic_head]
        if self.stage == 1:
            return sound
        if self.stage == 2:
            return [part for part in net.children() if part not in sound]
        return pictures if self.train_audio else [*sound, *pictures]

    def train(self, mode: bool = True) -> ColorizeModule:
        """Training mode for the parts that are trained; the others keep their statistics."""
        super().train(mode)
        for part in self._resting():
            part.eval()
        return self

    def on_fit_start(self) -> None:
        """Takes over the network of the stage before, unless training goes on."""
        super().on_fit_start()
        if self.start is not None and self.trainer.ckpt_path is None:
            self.load_stage(self.start)

    def load_stage(self, checkpoint: str | os.PathLike[str]) -> None:
        """Takes over the network of a checkpoint of this class.

        Raises:
            MediaError: It is missing or cannot be read.
            WeightsError: It is no such checkpoint, or its network is of another size.
        """
        from mediakit.weights import load

        other = load(checkpoint)
        if not isinstance(other, ColorizeModule):
            raise WeightsError(f"{checkpoint}: holds {type(other).__name__}. Give the checkpoint of the stage before.")
        try:
            self.network.load_state_dict(other.network.state_dict())
        except RuntimeError as error:
            raise WeightsError(
                f"{checkpoint}: its network is of another size; give the same --model settings as then."
            ) from error

    # One step

    def step(self, batch: Mapping[str, Any], split: Split) -> dict[str, Tensor]:
        """Losses of a batch; validation and test also gather scores."""
        rgb = batch["frames"].float() / 255
        if split == "train" and self.stage > 1:
            batch = {**batch, "waveform": vary_sound(batch["waveform"])}
        if self.stage == 2:
            losses = self._align(rgb, batch, split)
        else:
            losses = self._colorize(rgb[:, 0], batch, split)
        if split == "test":
            self._examine(rgb, batch)
        if losses["total"].isnan():
            raise MediakitError("the network gives NaN: its training diverged (a lower --model.lr may help).")
        return losses

    def _align(self, rgb: Tensor, batch: Mapping[str, Any], split: Split) -> dict[str, Tensor]:
        heard = batch["present"] > 0
        if not heard.any():
            zero = sum(p.sum() for p in self.network.audio_head.parameters()) * 0.0
            return {"total": torch.as_tensor(zero)}
        found = self.network.hear(batch["waveform"][heard])
        with torch.no_grad():
            seen = self._seen(rgb[heard])
        distance, contrast = alignment_loss(found, seen)
        if split == "val":
            self._note(error=1 - (found * nn.functional.normalize(seen, dim=1)).sum(1))
        return {"total": distance + contrast, "distance": distance, "contrast": contrast}

    def _seen(self, rgb: Tensor) -> Tensor:
        """Mean semantics of several frames each: (B, n, 3, H, W) -> (B, dim)."""
        return self.network.semantics(rgb.flatten(0, 1)).unflatten(0, rgb.shape[:2]).mean(1)

    def _colorize(self, rgb: Tensor, batch: Mapping[str, Any], split: Split) -> dict[str, Tensor]:
        lightness, target = rgb_to_lab(rgb).split([1, 2], dim=1)
        if self.stage == 1:
            own, there = self.network.semantics(rgb), torch.ones(len(rgb), device=rgb.device)
        else:
            with torch.set_grad_enabled(self.train_audio and torch.is_grad_enabled()):
                own, there = self.network.hear(batch["waveform"]), batch["present"].to(rgb)
        kinds = _kinds(batch).to(rgb.device)
        other = pick((kinds[:, None] != kinds) & (there > 0), torch.rand(len(rgb), len(rgb), device=rgb.device))
        given, present, swapped = own, there, torch.zeros_like(there, dtype=torch.bool)
        if split == "train":
            lightness = age_film(lightness, self.old_film)
            present = there * (torch.rand_like(there) >= self.sound_free)
            if self.stage == 3:
                swapped = (torch.rand_like(there) < self.mismatched) & (other >= 0)
                given = torch.where(swapped[:, None], own[other.clamp(min=0)], own)
                present = torch.where(swapped, torch.ones_like(present), present)
        output = self.network(lightness, given, present)
        color = color_loss(output.ab, target)
        kept, known = other >= 0, there > 0
        # In stage 1 this reaches the teacher: its vectors shall tell what a gray picture can agree with, too, since
        # colour alone would give the same vector to all scenes of one hue.
        right = self.network.judge(output.context, output.expected, own)
        wrong = self.network.judge(output.context, output.expected, own[other.clamp(min=0)])
        relevance = relevance_loss(right[known], wrong, kept)
        if split == "val":
            self._note(error=_ab_error(output.ab, target), right=right[known], wrong=wrong[kept])
            self._note(gray=_ab_error(torch.zeros_like(target), target))
            self._note(silent=_ab_error(self.network(lightness).ab, target))
        total = color.mean() + self.relevance_weight * relevance
        chroma = output.ab.detach().square().sum(1).sqrt().mean()  # a collapse to gray shows here first
        return {"total": total, "color": color.mean(), "relevance": relevance, "chroma": chroma}

    def _note(self, **values: Tensor) -> None:
        for name, value in values.items():
            self._sums.setdefault(name, []).append(value.detach())

    def on_validation_epoch_end(self) -> None:
        """Logs ``val/error``, and beside it the gray picture's, that without sound, and what relevance tells."""
        found = {name: torch.cat(parts).float() for name, parts in self._sums.items()}
        self._sums = {}
        from mediakit.colorize.scoreboard import relevance_auc

        right, wrong = found.pop("right", None), found.pop("wrong", None)
        for name, values in found.items():
            self.log(f"val/{name}", values.mean(), prog_bar=name == "error", sync_dist=True)
        if right is not None and wrong is not None and len(right) and len(wrong):
            self.log("val/relevance_auc", relevance_auc(right, wrong), sync_dist=True)

    # Test

    def _examine(self, rgb: Tensor, batch: Mapping[str, Any]) -> None:
        assert self.trial is not None
        picture = rgb[:, 0]
        lab = rgb_to_lab(picture)
        lightness = lab[:, :1]
        kinds, there, labels = _kinds(batch).to(rgb.device), batch["present"].to(rgb) > 0, batch["label"].to(rgb.device)
        ways: dict[str, ColorizeOutput] = {
            "oracle": self.network(lightness, nn.functional.normalize(self._seen(rgb), dim=1)),
            "none": self.network(lightness),
        }
        valid: dict[str, Tensor] = {}
        if self.stage > 1:
            heard = self.network.hear(batch["waveform"])
            ways["right"], valid["right"] = self.network(lightness, heard, there.to(rgb)), there
            self._pool.append((heard[there], kinds[there], labels[there]))
            pool, groups, classes = (torch.cat(parts)[-_POOL:] for parts in zip(*self._pool, strict=True))
            self._pool = [(pool, groups, classes)]
            if len(pool):
                draw = torch.rand(len(rgb), len(pool), generator=torch.Generator().manual_seed(len(self.trial.rows)))
                draw = draw.to(rgb.device)
                wrong = pick(kinds[:, None] != groups, draw)
                # Gray cannot tell that the sound of another class of the same group is wrong.
                sibling = pick((kinds[:, None] == groups) & (labels[:, None] != classes), draw)
                for name, chosen in (("wrong", wrong), ("sibling", sibling)):
                    ways[name], valid[name] = self.network(lightness, pool[chosen.clamp(min=0)]), chosen >= 0
        colors = {name: output.ab for name, output in ways.items()}
        relevance = {name: output.relevance for name, output in ways.items()}
        self.trial.add(batch, picture, lab, colors, relevance, valid)

    def on_test_start(self) -> None:
        """Starts a new trial."""
        from mediakit.colorize.scoreboard import Trial

        super().on_test_start()
        data: Any = getattr(self.trainer, "datamodule", None)
        self.trial, self._pool = Trial(getattr(data, "labels", ()), getattr(data, "groups", ())), []

    def on_test_epoch_end(self) -> None:
        """Logs the scores of the test split and prints the tables."""
        assert self.trial is not None
        self.log_dict({f"test/{name}": value for name, value in self.trial.summary().items()})
        self.print(f"\n{self.trial.table()}\n")

    # Use

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Names, colours (B, 2, H, W) and relevance of a batch, with the sound where there is one."""
        lightness = rgb_to_lab(batch["frames"][:, 0].float() / 255)[:, :1]
        output = self.network(lightness, self.network.hear(batch["waveform"]), batch["present"].to(lightness))
        return {"id": batch["id"], "lightness": lightness, "ab": output.ab, "relevance": output.relevance}

    def predict(self, path: str | os.PathLike[str]) -> Coloring:
        """Colours one picture file; `mediakit.colorize.video.colorize_video` colours films."""
        from mediakit.colorize.image import colorize_image

        return colorize_image(self, path)

    def configure_optimizers(self) -> Any:
        """AdamW, step by step along a cosine; in stage 3 the gray encoder learns more slowly."""
        slow = {id(p) for p in self.network.gray_encoder.parameters()} if self.stage == 3 else set()
        wanted = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in wanted if id(p) not in slow], "lr": self.lr},
            {"params": [p for p in wanted if id(p) in slow], "lr": self.lr * self.gray_lr},
        ]
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], betas=self.betas, weight_decay=self.weight_decay
        )
        if self.schedule == "constant":
            return optimizer
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        warm = max(1, round(_WARM_UP * steps))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, steps, warm))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _kinds(batch: Mapping[str, Any]) -> Tensor:
    """What must differ for a sound to be the wrong one: the group, the class, or else the source. Long (B,), >= 0."""
    group, label = batch["group"], batch["label"]
    source = torch.tensor([(1 << 32) + zlib.crc32(name.encode()) for name in batch["source"]], device=group.device)
    return torch.where(group >= 0, group, torch.where(label >= 0, (1 << 20) + label, source))


def _ab_error(ab: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of a and b, (B,)."""
    return (ab - target).abs().mean((1, 2, 3))
