"""From a media file to its events: features, windows, decisions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mediakit.encoders import weight_hash
from mediakit.encoders.rebuild import rebuild_encoder
from mediakit.features import Card
from mediakit.io import Frame, PacketScan, check_readable, sha256
from mediakit.onepass import Encoders, FeatureStream, FileFeatures, end_of_pictures, extract_file, whole_seconds
from mediakit.parsing.events import segments_to_events
from mediakit.parsing.metrics import decide
from mediakit.parsing.result import ParsingResult
from mediakit.parsing.windows import blend, most, windows

FEATURES = ("audio", "frames", "clips")
BATCH = 16
"""Windows in a forward pass."""


class Parser(Protocol):
    """What prediction reads of a `.ParsingModule`."""

    classes: tuple[str, ...]
    segments: int
    protocol: str
    encoders: dict[str, Card | None]
    network: nn.Module


class Probabilities(NamedTuple):
    """What a network thinks of B windows: ``frame_logits`` (B, T, 2, K), the others (B, K)."""

    frame_logits: Tensor
    video_prob: Tensor
    audio_prob: Tensor
    visual_prob: Tensor


def predict_file(
    module: Parser,
    path: str | os.PathLike[str],
    *,
    weights: Mapping[str, str] | None = None,
    encoders: Encoders | None = None,
) -> ParsingResult:
    """Finds the events of a file in one decoding pass.

    Args:
        module: A trained `.ParsingModule`; its network is used on the device where it is.
        path: Video or sound file of any length.
        weights: Weight files of the encoders that the module was trained with, by feature, where its checkpoint alone
            does not lead to them.
        encoders: The encoders themselves, in place of those that the checkpoint names (to build them once for many
            files: `open_encoders`).

    Returns:
        The events, and what they were decided on.

    Raises:
        MediaError: The file cannot be read, or nothing in it can be decoded.
        WeightsError: The weights of an encoder are not at hand.
        MediakitError: An encoder has other weights than the one that the module was trained with.
    """
    encoders = encoders or open_encoders(module, weights)
    found = extract_file(path, encoders)
    return parse_features(module, found, encoders)


def load_parser(checkpoint: str | os.PathLike[str], device: str = "cpu") -> Parser:
    """Loads a checkpoint whose model parses events.

    Raises:
        MediaError: The file is missing or cannot be read.
        WeightsError: It is no checkpoint of mediakit, or one of another task.
    """
    from mediakit.weights import load_task

    return load_task(
        checkpoint, ("classes", "segments", "protocol", "network"), "parse events", "ParsingModule", device
    )


def open_encoders(module: Parser, weights: Mapping[str, str] | None = None) -> Encoders:
    """Builds the encoders that a module was trained with.

    Args:
        module: The module.
        weights: Weight files by feature, where the cards alone do not lead to them.

    Raises:
        WeightsError: The weights of an encoder are not at hand.
        MediakitError: An encoder has other weights than the card says.
    """
    built: dict[str, Any] = {
        name: rebuild_encoder(module.encoders.get(name), name, (weights or {}).get(name)) for name in FEATURES
    }
    return Encoders(**built)


class FileParser:
    """Finds the events of one file that somebody else decodes, picture by picture: one pass for all who look at it.

    Args:
        module: A trained `.ParsingModule`.
        weights: As for `predict_file`.
        checkpoint: The file that the module was loaded from, to be named in the result.

    Raises:
        WeightsError: The weights of an encoder are not at hand.
        MediakitError: An encoder has other weights than the one that the module was trained with.
    """

    def __init__(
        self,
        module: Parser,
        *,
        weights: Mapping[str, str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self._module, self._checkpoint = module, checkpoint
        self._encoders = open_encoders(module, weights)
        self._stream = FeatureStream(self._encoders)
        self._heard: float | None = None

    def see(self, frame: Frame) -> None:
        """Takes the next picture."""
        self._stream.see(frame)

    def listen(self, path: str | os.PathLike[str]) -> None:
        """Takes in the sound of the file.

        Raises:
            MediaError: It cannot be decoded; then there is no sound.
        """
        self._heard = self._stream.listen(path)

    def finish(self, scan: PacketScan | None) -> ParsingResult:
        """The events.

        Args:
            scan: The packets of the pictures, which say when the last one ends; None if there were no pictures to see.
        """
        absent = {} if self._heard is not None else {"audio": "has no sound that can be decoded"}
        if scan is None:
            absent |= dict.fromkeys(self._stream.pictorial, "has no pictures that can be decoded")
        end = max(self._heard or 0.0, end_of_pictures(scan) if scan else 0.0)
        seconds = whole_seconds(end)
        arrays = self._stream.finish(seconds, absent)
        found = FileFeatures(seconds, arrays, None, absent, duration=end, silent=self._stream.silent)
        return parse_features(self._module, found, self._encoders, self._checkpoint)


def parse_features(
    module: Parser,
    found: FileFeatures,
    encoders: Encoders,
    checkpoint: str | os.PathLike[str] | None = None,
) -> ParsingResult:
    """Finds the events of a file whose features are ready.

    A file longer than the T seconds that the network was trained on is seen through windows of T seconds, each half a
    window after the one before. The probabilities of the seconds are blended over the windows, see
    `mediakit.parsing.windows.blend`. The filter by the whole video asks whether the class occurs around a second, so it
    is passed where any window that covers the second passes it: what fills ten seconds of an hour is not filtered by
    the rest, and one window gives exactly the network's own decisions. (HAN on films of 20 clips of LLP-sim, windows
    not aligned with the clips: both Type@AV are 2 points higher so than with the filter's probabilities blended, too.)
    A shorter file is filled up with its last second.

    Where there is no sound, that of silence stands in for it, and no heard events are reported; the seen ones are
    filtered by the visual probability of the video, whatever the protocol's filter. Pictures likewise, with black ones.
    A sound track that is silent throughout counts as none.

    Args:
        module: A trained `.ParsingModule`.
        found: The features, and why some are absent.
        encoders: What made them.
        checkpoint: The file that the module was loaded from, to be named in the result.

    Returns:
        The events, and what they were decided on.
    """
    absent = _absence(found)
    arrays = _stand_in(found, encoders, absent)
    spans = windows(found.seconds, module.segments, max(1, module.segments // 2))
    output = _look(module, arrays, spans)
    seconds = _blended(output, spans, found.seconds)
    protocol = module.protocol if not absent or module.protocol == "raw" else "jomold"
    audio, visual = (decisions[:, 0] for decisions in decide(seconds, protocol))
    if "audio" in absent:
        audio = torch.zeros_like(audio)
    if "visual" in absent:
        visual = torch.zeros_like(visual)
    frame_prob = seconds.frame_logits[:, 0].sigmoid()
    events = segments_to_events(audio, visual, module.classes, frame_prob, end=found.duration, joint=True)
    model: dict[str, Any] = {"network": type(module.network).__name__, "weights_sha256": weight_hash(module.network)}
    if checkpoint is not None:
        model |= {"checkpoint": Path(checkpoint).name, "checkpoint_sha256": sha256(check_readable(checkpoint))}
    return ParsingResult(
        classes=tuple(module.classes),
        duration=found.duration,
        frame_prob=frame_prob,
        video_prob=output.video_prob.amax(0).clamp(max=1.0),
        audio_prob=output.audio_prob.amax(0),
        visual_prob=output.visual_prob.amax(0),
        events=tuple(events),
        absent=absent,
        protocol=protocol,
        windows=tuple(spans),
        model=model,
        encoders={name: getattr(encoders, name).card() for name in FEATURES},
    )


def _absence(found: FileFeatures) -> dict[str, str]:
    absent = {}
    if "audio" in found.absent:
        absent["audio"] = f"The file {found.absent['audio']}: nothing can be heard, so only what is seen was parsed."
    elif found.silent:
        absent["audio"] = "The sound track is silent: nothing can be heard, so only what is seen was parsed."
    if "frames" in found.absent:
        absent["visual"] = f"The file {found.absent['frames']}: nothing can be seen, so only what is heard was parsed."
    return absent


@torch.inference_mode()
def _stand_in(found: FileFeatures, encoders: Encoders, absent: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
    """All three features, those of silence and black pictures for what is absent."""
    arrays = dict(found.arrays)
    assert encoders.audio is not None
    assert encoders.frames is not None
    assert encoders.clips is not None
    if "audio" in absent:
        vector = encoders.audio(torch.zeros(1, encoders.audio.segment_length))[0]
        arrays["audio"] = vector[:1].expand(found.seconds, -1).numpy()
    if "visual" in absent:
        black = torch.zeros(1, encoders.clips.frames_per_clip, 3, 112, 112, dtype=torch.uint8)
        arrays["frames"] = encoders.frames(black[:, :1])[0].expand(found.seconds, -1).numpy()
        arrays["clips"] = encoders.clips(black)[0, :1].expand(found.seconds, -1).numpy()
    return arrays


@torch.inference_mode()
def _look(module: Parser, arrays: Mapping[str, NDArray[np.float32]], spans: Sequence[tuple[int, int]]) -> Probabilities:
    """Sends all windows through the network, a batch at a time; results on the CPU, padding cut off."""
    network, size = module.network, module.segments
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    length = spans[0][1] - spans[0][0]
    stacked = []
    for name in FEATURES:
        feature = torch.from_numpy(arrays[name])
        cut = torch.stack([feature[start:stop] for start, stop in spans])
        stacked.append(torch.cat([cut, cut[:, -1:].expand(-1, size - length, -1)], dim=1))
    training = network.training
    network.eval()
    try:
        outputs = []
        for batch in zip(*(feature.split(BATCH) for feature in stacked), strict=True):
            output = network(*(feature.to(device) for feature in batch))
            outputs.append(Probabilities(*(getattr(output, name).float().cpu() for name in Probabilities._fields)))
    finally:
        network.train(training)
    logits, *whole = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    return Probabilities(logits[:, :length], *whole)


def _blended(output: Probabilities, spans: Sequence[tuple[int, int]], count: int) -> Probabilities:
    """Each of ``count`` seconds as a video of one second: ``frame_logits`` (count, 1, 2, K), the others (count, K)."""
    frame_prob = blend(output.frame_logits.double().sigmoid(), spans, count)
    whole = (most(prob, spans, count) for prob in (output.video_prob, output.audio_prob, output.visual_prob))
    return Probabilities(frame_prob.logit(eps=1e-12)[:, None].float(), *whole)
