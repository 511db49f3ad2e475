"""Training and testing of deepfake detection."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from mediakit.base import BaseModule, Split, warm_cosine
from mediakit.deepfake.evidence import calibrate, fit_calibration
from mediakit.deepfake.losses import Objective, deepfake_loss
from mediakit.deepfake.lrnet import LRNet
from mediakit.deepfake.metrics import auc
from mediakit.deepfake.model import STREAMS, DeepfakeModel, DeepfakeOutput, Phase, Rule
from mediakit.deepfake.reasons import MEASURES, measures, reference_range
from mediakit.deepfake.signals import WINDOW, Signals
from mediakit.deepfake.verdict import Judgement, Mass, Thresholds, judge_tracks, judge_windows
from mediakit.errors import MediakitError

if TYPE_CHECKING:
    from mediakit.deepfake.index.records import VideoRecord
    from mediakit.deepfake.result import DeepfakeResult
    from mediakit.deepfake.scoreboard import Scored

_WARM_UP = 2  # epochs in which the learning rate rises


class DeepfakeModule(BaseModule):
    """Trains the detector, or the recurrent baseline, and scores it per video.

    Batches are those of `mediakit.deepfake.data.DeepfakeDataModule`. Windows of a track are averaged by their quality,
    and the track with the most belief in fake speaks for its video. Validation logs ``val/auc`` over videos and fits
    the calibration; the test prints tables per method and per compression.

    Args:
        network: ``"phase"``, the `.DeepfakeModel`, or ``"lrnet"``, the `.LRNet`. As an attribute, the network itself.
        streams: What the detector reads, see `.DeepfakeModel`; likewise the next nine.
        phase: How it reads.
        embedding: Dimension of the delay embedding.
        lag: Its delay in seconds.
        window: Most frames of a window, at 30 a second.
        patch: Frames of a token.
        width: Channels inside.
        layers: Transformer layers of a stream.
        heads: Attention heads.
        dropout: Of the network; None for the network's own.
        rule: How streams are joined.
        objective: Loss of the streams, ``"evidential"`` or ``"cross_entropy"``.
        stream_weight: Its weight.
        misleading_weight: Weight of the divergence of evidence for the wrong class.
        fake_above: Calibrated probability of fake from which the verdict is fake.
        real_below: Likewise up to which it is real; between the two it is undetermined.
        least_quality: Measured quality below which it is undetermined, whatever the probability.
        schedule: ``"cosine"`` (two epochs of warm-up) or ``"constant"``.
        lr: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay.
        betas: Decay rates of AdamW's moments.

    Attributes:
        scores: What the last test says of each video.

    Raises:
        MediakitError: A setting does not fit the others.
    """

    calibration_line: Tensor
    reference_low_high: Tensor

    def __init__(
        self,
        network: Literal["phase", "lrnet"] = "phase",
        streams: Sequence[str] = STREAMS,
        phase: Phase = "delay",
        embedding: int = 3,
        lag: float = 0.2,
        window: int = WINDOW,
        patch: int = 8,
        width: int = 64,
        layers: int = 3,
        heads: int = 4,
        dropout: float | None = None,
        rule: Rule = "dempster",
        objective: Objective = "evidential",
        stream_weight: float = 1.0,
        misleading_weight: float = 0.1,
        fake_above: float = 0.6,
        real_below: float = 0.4,
        least_quality: float = 0.3,
        schedule: Literal["cosine", "constant"] = "cosine",
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay, betas=betas)
        self.save_hyperparameters()
        if not 0 <= real_below <= fake_above <= 1 or not 0 <= least_quality <= 1:
            raise MediakitError("thresholds must be in [0, 1], and real_below not above fake_above.")
        options: dict[str, Any] = {} if dropout is None else {"dropout": dropout}
        self.network: DeepfakeModel | LRNet
        try:
            if network == "lrnet":
                self.network = LRNet(hidden=width, window=window, **options)
            else:
                self.network = DeepfakeModel(
                    streams, phase, embedding, lag, window, patch, width, layers, heads, rule=rule, **options
                )
        except (ValueError, AssertionError) as error:
            raise MediakitError(f"the network cannot be built: {error}.") from error
        self.objective, self.schedule = objective, schedule
        self.loss_weights = {"stream_weight": stream_weight, "misleading_weight": misleading_weight}
        self.thresholds = {"fake_above": fake_above, "real_below": real_below, "least_quality": least_quality}
        self.register_buffer("calibration_line", torch.tensor([1.0, 0.0]))
        self.register_buffer("reference_low_high", torch.full((len(MEASURES), 2), float("nan")))
        self._rows: list[dict[str, Tensor]] = []
        self.scores: list[Scored] = []

    @property
    def calibration(self) -> tuple[float, float]:
        """Slope and intercept of `mediakit.deepfake.evidence.calibrate`; (1, 0) before validation."""
        slope, intercept = self.calibration_line.tolist()
        return slope, intercept

    @property
    def reference(self) -> dict[str, tuple[float, float]]:
        """What 90 % of the genuine training windows lie between, by measure of `mediakit.deepfake.reasons`."""
        pairs = zip(MEASURES, self.reference_low_high.tolist(), strict=True)
        return {name: (low, high) for name, (low, high) in pairs if not math.isnan(low)}

    def forward(self, signals: Signals, quality: Tensor | None = None) -> DeepfakeOutput:
        """Reads windows; see `.DeepfakeModel`."""
        return self.network(signals, quality)

    def on_fit_start(self) -> None:
        """Takes from the training windows what inputs are measured by, unless training goes on."""
        super().on_fit_start()
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is None or self.trainer.ckpt_path is not None:
            return
        windows, labels = data.plain_windows()
        self.network.fit_statistics(Signals(*(part.to(self.device) for part in windows)))
        real = Signals(*(part[labels == 0] for part in windows))
        ranges = reference_range(measures(real))
        self.reference_low_high.copy_(torch.tensor([ranges.get(name, (math.nan, math.nan)) for name in MEASURES]))

    def on_fit_end(self) -> None:
        """Says which checkpoint is the best, and whether validation found anything to calibrate."""
        super().on_fit_end()
        if self.calibration[0] == 0:
            self.print(
                "the last epoch tells validation's fakes from its genuine films no better than chance: with its "
                "calibration every film gets the same probability. Train longer, or on more films."
            )

    def step(self, batch: Mapping[str, Any], split: Split) -> dict[str, Tensor]:
        """Losses of a batch of windows; remembers what validation and test say of them."""
        signals = Signals(batch["head"], batch["expression"], batch["valid"])
        if signals.head.shape[1] > self.network.window:
            raise MediakitError(
                f"the data has windows of {signals.head.shape[1]} frames, the network of {self.network.window}: "
                "give both the same --data.window and --model.window."
            )
        output = self(signals, None if split == "train" else batch["quality"])
        if output.mass.isnan().any():
            raise MediakitError("the network gives NaN: its training diverged (a lower --model.lr may help).")
        if split != "train":
            kept = {name: batch[name] for name in ("video", "track", "label", "quality")}
            self._rows.append({**kept, "mass": output.mass, "conflict": output.conflict})
        return deepfake_loss(output, batch["label"], self.objective, **self.loss_weights)

    def _videos(self) -> dict[int, _Video]:
        """The windows of an epoch by video."""
        rows = {name: torch.cat([row[name] for row in self._rows]).cpu() for name in self._rows[0]}
        self._rows = []
        found: dict[int, _Video] = {}
        for n, video in enumerate(rows["video"].tolist()):
            known = found.setdefault(video, _Video(int(rows["label"][n]), {}))
            quality = float(rows["quality"][n])
            windows = known.tracks.setdefault(int(rows["track"][n]), [])
            if quality > 0:  # of the others nothing can be said
                windows.append((tuple(rows["mass"][n].tolist()), float(rows["conflict"][n]), quality))
        return found

    def on_validation_epoch_end(self) -> None:
        """Logs the area under the curve over videos, and fits the calibration to them."""
        videos = self._videos().values()
        labels = torch.tensor([video.label for video in videos])
        raw = Thresholds(**self.thresholds)
        score = torch.tensor([_probability(_judge(video, raw, (1.0, 0.0))) for video in videos])
        if 0 < int(labels.sum()) < len(labels):
            self.calibration_line.copy_(torch.tensor(fit_calibration(score, labels)))
        self.log("val/auc", auc(score, labels), prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Logs the scores over videos and prints the tables."""
        from mediakit.deepfake.scoreboard import score_table, summary

        rows = self._scored(self._videos(), self.trainer.datamodule.records["test"])  # type: ignore[attr-defined]
        self.scores = rows
        self.log_dict({f"test/{name}": value for name, value in summary(rows).items() if not math.isnan(value)})
        self.print(f"\n{score_table(rows, 'test split')}\n")

    def _scored(self, videos: Mapping[int, _Video], records: Sequence[VideoRecord]) -> list[Scored]:
        """Verdicts on the videos of a split, those without any window among them."""
        from mediakit.deepfake.scoreboard import Scored

        found = []
        for number, record in enumerate(records):
            video = videos.get(2 * number, _Video(record.label, {}))
            judgement = _judge(video, Thresholds(**self.thresholds), self.calibration)
            found.append(
                Scored(
                    record.id,
                    record.label,
                    _probability(judgement),
                    judgement.verdict,
                    method=record.method if record.label else "",
                    compression=record.compression,
                    group=record.group,
                    n_tracks=len(video.tracks),
                    unknown=judgement.mass[2] if judgement.mass else 1.0,
                    conflict=judgement.conflict or 0.0,
                )
            )
        return found

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Which video and track each window is of, and its calibrated masses ``(B, 3)``."""
        output = self(Signals(batch["head"], batch["expression"], batch["valid"]), batch["quality"])
        known = {name: batch[name] for name in ("id", "video", "track", "start") if name in batch}
        return {**known, "mass": calibrate(output.mass, *self.calibration), "conflict": output.conflict}

    def predict(self, path: str | os.PathLike[str]) -> DeepfakeResult:
        """Weighs whether the faces of a video are genuine.

        Args:
            path: Video file.

        Returns:
            Verdict, evidence, quality and reasons, for each window, each face and the whole.

        Raises:
            MediaError: The file cannot be read.
            WeightsError: No face model is at hand.
        """
        from mediakit.deepfake.predict import detect_file

        return detect_file(self, path)

    def configure_optimizers(self) -> Any:
        """AdamW, step by step along a cosine."""
        optimizer = super().configure_optimizers()
        if self.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        warm = max(1, min(_WARM_UP * steps // max(self.trainer.max_epochs or 1, 1), steps // 2))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, steps, warm))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@dataclass
class _Video:
    """Windows of a video by track: mass, conflict and quality of each."""

    label: int
    tracks: dict[int, list[tuple[Mass, float, float]]]


def _judge(video: _Video, thresholds: Thresholds, calibration: tuple[float, float]) -> Judgement:
    tracks = [judge_windows(windows, thresholds, calibration) for windows in video.tracks.values()]
    found, _ = judge_tracks(tracks, [float(len(windows)) for windows in video.tracks.values()], thresholds)
    return found


def _probability(found: Judgement) -> float:
    """Of fake; one half where nothing is known."""
    return 0.5 if found.probability is None else found.probability
