"""Training and testing of audio-visual video parsing."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from mediakit.base import BaseModule, Split
from mediakit.errors import MediakitError
from mediakit.parsing.annotations.classes import class_names
from mediakit.parsing.han import HAN
from mediakit.parsing.losses import han_loss, mmcse_loss
from mediakit.parsing.metrics import PROTOCOLS, AVVPScore, decide, oracle_predictions
from mediakit.parsing.model import ParsingModel, ParsingOutput
from mediakit.parsing.scoreboard import class_table, score_table

if TYPE_CHECKING:
    from mediakit.parsing.result import ParsingResult

WARM_UP = 5
"""Epochs in which the learning rate rises, for the cosine schedule."""
_FLOOR = 1e-6  # learning rate at the end of the cosine

Protocol = Literal["mmcse", "han", "jomold", "raw"]


class ParsingModule(BaseModule):
    """Trains MM-CSE, one of its ablations, or HAN, and scores it as the field does.

    Batches are those of `mediakit.parsing.data.ParsingDataModule`. Validation logs the ten scores of `.avvp_scores` as
    ``val/segment_type`` and so on; the test also prints them under every protocol, with intervals, beside the ladder of
    oracles that tells whether the class, the modality or the boundary is missed, and class by class.

    Args:
        classes: Names of the K classes, or the key of a list: ``llp``, ``ave``, ``unav``, ``events``. As an attribute,
            the names.
        audio_dim: Channels of the audio features.
        frames_dim: Channels of the frame features.
        clips_dim: Channels of the motion features.
        segments: T, seconds that the network is trained on and sees at once.
        network: ``"mmcse"`` or the baseline ``"han"``. As an attribute, the `.ParsingModel` or `.HAN` itself.
        hidden: Channels inside; None for the network's own (256 MM-CSE, 512 HAN).
        heads: Attention heads; None for the network's own (8, 1).
        layers: Layers of attention; None for the network's own (4, 1). 0 leaves FGSE out.
        dropout: Of the whole network.
        decoupling: MM-CSE's class-aware feature decoupling.
        background: Its dynamic background fusion.
        secm: Its segment-wise event co-occurrence.
        lgsf: Its local-global semantic fusion.
        same_start: Whether MM-CSE's layers begin with equal weights.
        objective: ``"mmcse"`` learns from weak labels and labels of segments, ``"han"`` from weak labels alone.
        segment_weight: Weight of the segment losses; 0 turns them off, likewise for the next three.
        reconstruction_weight: Weight of the reconstruction.
        orthogonality_weight: Weight of the orthogonality between events and background.
        cooccurrence_weight: Weight of the co-occurrence maps.
        protocol: Which video-level probabilities filter the segments: ``"mmcse"``, ``"han"``, ``"jomold"``, ``"raw"``;
            see `.decide`.
        schedule: ``"step"`` (a tenth every 10 epochs, the paper's), ``"cosine"`` (5 epochs of warm-up, then down to
            1e-6 at the last epoch) or ``"constant"``.
        lr: Learning rate of AdamW.
        weight_decay: Decoupled weight decay.
        betas: Decay rates of AdamW's moments.

    Raises:
        MediakitError: A setting does not fit the others.
    """

    def __init__(
        self,
        classes: list[str] | str = "llp",
        audio_dim: int = 768,
        frames_dim: int = 768,
        clips_dim: int = 512,
        segments: int = 10,
        network: Literal["mmcse", "han"] = "mmcse",
        hidden: int | None = None,
        heads: int | None = None,
        layers: int | None = None,
        dropout: float = 0.1,
        decoupling: bool = True,
        background: bool = True,
        secm: bool = True,
        lgsf: bool = True,
        same_start: bool = True,
        objective: Literal["mmcse", "han"] = "mmcse",
        segment_weight: float = 1.0,
        reconstruction_weight: float = 0.5,
        orthogonality_weight: float = 0.1,
        cooccurrence_weight: float = 0.1,
        protocol: Protocol = "mmcse",
        schedule: Literal["step", "cosine", "constant"] = "step",
        lr: float = 1e-4,
        weight_decay: float = 1e-3,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay, betas=betas)
        self.save_hyperparameters()
        if protocol not in PROTOCOLS or schedule not in ("step", "cosine", "constant"):
            raise MediakitError(f"there is no protocol {protocol!r} or no schedule {schedule!r}.")
        self.classes = class_names(classes)
        self.segments, self.objective, self.schedule = segments, objective, schedule
        self.protocol: str = protocol
        self.dims = {"audio": audio_dim, "frames": frames_dim, "clips": clips_dim}
        self.loss_weights = {
            "segment_weight": segment_weight,
            "reconstruction_weight": reconstruction_weight,
            "orthogonality_weight": orthogonality_weight,
            "cooccurrence_weight": cooccurrence_weight,
        }
        sizes = {"hidden": hidden, "heads": heads, "layers": layers}
        options: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
        options |= {"dropout": dropout, **{f"{name}_dim": dim for name, dim in self.dims.items()}}
        if network == "mmcse":
            options |= {"decoupling": decoupling, "background": background, "secm": secm, "lgsf": lgsf}
            options |= {"same_start": same_start}
        self.network: torch.nn.Module
        try:
            self.network = (HAN if network == "han" else ParsingModel)(len(self.classes), **options)
        except (ValueError, AssertionError) as error:
            raise MediakitError(f"the network cannot be built: {error}.") from error
        self.val_score = AVVPScore(len(self.classes))
        self.test_scores: dict[str, AVVPScore] = {}
        self._test_unit = "videos"

    def forward(self, audio: Tensor, frames: Tensor, clips: Tensor) -> ParsingOutput:
        """Parses a batch of features; see `.ParsingModel`."""
        return self.network(audio, frames, clips)

    def setup(self, stage: str) -> None:
        """Refuses data of other classes."""
        data = getattr(self.trainer, "datamodule", None)
        found = getattr(data, "classes", None)
        if found is not None and tuple(found) != self.classes:
            alone = {
                "the model": [name for name in self.classes if name not in found],
                "the data": [name for name in found if name not in self.classes],
            }
            told = "; ".join(f"only in {side}: {', '.join(names[:3])}" for side, names in alone.items() if names)
            raise MediakitError(
                f"the data has {len(found)} classes, the model {len(self.classes)} ({told or 'in another order'}): "
                "give both the same --data.classes and --model.classes."
            )

    def step(self, batch: Mapping[str, Any], split: Split) -> dict[str, Tensor]:
        """Losses of a batch; updates the scores of validation and test."""
        for name, dim in self.dims.items():
            if batch[name].shape[-1] != dim:
                option = f"--model.{name}_dim {batch[name].shape[-1]}"
                raise MediakitError(f"the {name} features have {batch[name].shape[-1]} channels, not {dim}: {option}.")
        if (seconds := batch["clips"].shape[-2]) != self.segments:
            raise MediakitError(
                f"the data has windows of {seconds} s, not {self.segments}: --model.segments {seconds}."
            )
        output = self(batch["audio"], batch["frames"], batch["clips"])
        # The losses would fail less clearly, on a GPU by an assertion inside a kernel.
        if output.video_prob.isnan().any():
            raise MediakitError("the network gives NaN: its training diverged (a lower --model.lr may help).")
        if self.objective == "han":
            losses = han_loss(output, batch["labels"])
        else:
            segments = batch["audio_segments"], batch["visual_segments"]
            losses = mmcse_loss(output, batch["labels"], segments[0], segments[1], **self.loss_weights)
        if split != "train":
            self._score(output, batch, split)
        return losses

    def _score(self, output: ParsingOutput, batch: Mapping[str, Any], split: Split) -> None:
        truth = batch["true_audio"], batch["true_visual"]
        valid = batch["valid"].unsqueeze(-1) if "valid" in batch else True
        if split == "val":
            audio, visual = decide(output, self.protocol)
            self.val_score.update(audio & valid, visual & valid, *truth)
            return
        if "start" in batch and bool((batch["start"] > 0).any()):
            self._test_unit = "windows"  # of videos longer than T; the last two of a video may overlap
        found = {f"protocol {name}": decide(output, name) for name in PROTOCOLS}
        found |= oracle_predictions(*truth, batch["labels"])
        for name, (audio, visual) in found.items():
            if name not in self.test_scores:
                self.test_scores[name] = AVVPScore(len(self.classes)).to(self.device)
            self.test_scores[name].update(audio & valid, visual & valid, *truth)

    def on_validation_epoch_end(self) -> None:
        """Logs the scores of the validation split."""
        for name, value in self.val_score.compute().items():
            self.log(f"val/{name}", value, prog_bar=name == "segment_type")
        self.val_score.reset()

    def on_test_epoch_end(self) -> None:
        """Logs the scores of the test split and prints the tables."""
        own = self.test_scores[f"protocol {self.protocol}"]
        self.log_dict({f"test/{name}": value for name, value in own.compute().items()})
        rows = {name: score.per_video() for name, score in self.test_scores.items()}
        classes = own.per_class()
        source = getattr(getattr(self.trainer, "datamodule", None), "source", "test split")
        self.print(f"\n{score_table(rows, source, unit=self._test_unit)}\n\n{class_table(classes, self.classes)}\n")
        self.test_scores.clear()

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Names, first seconds, probabilities ``(B, T, 2, K)`` and decisions ``(B, T, K)`` of a batch."""
        output = self(batch["audio"], batch["frames"], batch["clips"])
        audio, visual = decide(output, self.protocol)
        known = {name: batch[name] for name in ("id", "start", "valid") if name in batch}
        return {**known, "frame_prob": output.frame_logits.sigmoid(), "audio": audio, "visual": visual}

    def predict(self, path: str | os.PathLike[str]) -> ParsingResult:
        """Finds the events of a media file, by the encoders that the model was trained with.

        Args:
            path: Video or sound file of any length.

        Returns:
            The events with their times and scores, and what they were decided on.

        Raises:
            MediaError: The file cannot be read.
            WeightsError: The weights of an encoder are not at hand; `mediakit.parsing.predict.predict_file` takes them.
        """
        from mediakit.parsing.predict import predict_file

        return predict_file(self, path)

    def configure_optimizers(self) -> Any:
        """AdamW with the learning rate's schedule, epoch by epoch."""
        optimizer = super().configure_optimizers()
        if self.schedule == "constant":
            return optimizer
        if self.schedule == "step":
            scheduler: Any = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.1)
        else:
            epochs = max(self.trainer.max_epochs or 1, WARM_UP + 1)
            scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: _cosine(epoch, epochs, self.lr))
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def _cosine(epoch: int, epochs: int, lr: float) -> float:
    """Share of the learning rate at an epoch: linear warm-up, then half a cosine down to the floor."""
    if epoch < WARM_UP:
        return (epoch + 1) / WARM_UP
    floor = min(_FLOOR / lr, 1.0)
    passed = min((epoch - WARM_UP) / max(epochs - WARM_UP - 1, 1), 1.0)  # training may go on without a stated end
    return floor + (1 - floor) * (1 + math.cos(math.pi * passed)) / 2
