"""Networks by name from timm and torchvision, with random, published or local weights.

This is the one module that imports the two packages. Published weights are fetched by timm and by torch.hub; where
their host cannot be reached the error comes within seconds and says which argument takes a local file.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mediakit.encoders.reference import REFERENCE, REFERENCE_SIZE, REFERENCE_TAG, create_reference, reference_file
from mediakit.encoders.weight_files import WEIGHT_FILES, load_weights
from mediakit.errors import MediakitError, WeightsError, require

AUDIOMAE = "vit_base_patch16_1024_128"
"""Name of AudioMAE's encoder: a ViT-B/16 over 1024 frames x 128 mels (Huang et al., "Masked Autoencoders that Listen",
NeurIPS 2022, arXiv 2207.06405; weights CC-BY-4.0)."""

AUDIOMAE_TAGS = ("audiomae_as2m", "audiomae_as2m_ft_as20k")
"""Self-supervised on AudioSet-2M (the default); then fine-tuned on AudioSet-20k."""

VIDEO_BACKBONES = ("r2plus1d_18", "r3d_18", "mc3_18", REFERENCE)
"""torchvision's 18-layer networks (Tran et al., CVPR 2018), 512 features a clip, and the reference network, 320."""

_OPERATORS: list[torch.library.Library] = []  # declared operators live as long as their Library object


@dataclass(frozen=True)
class DataConfig:
    """What a backbone takes and gives.

    Attributes:
        dim: Number of features per image or clip.
        size: Height and width of the input in pixels (for AudioMAE: frames and mels).
        fixed_size: Whether no other size is accepted.
        mean: Channel means that the published weights expect, for values in [0, 1].
        std: Channel standard deviations, likewise.
        weights: None for random ones, else the resolved tag or the file.
        resize: Height and width that frames of a clip are brought to before ``size`` is cut from their centre; None
            where ``size`` is all there is to do.
    """

    dim: int
    size: tuple[int, int]
    fixed_size: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str | None
    resize: tuple[int, int] | None = None


def import_torchvision() -> Any:
    """Imports torchvision, also where its C++ operators cannot load.

    Next to a CPU build of torch, pip installs a torchvision built for CUDA; its operator library then fails to load
    silently and the import dies at the first fake kernel with "operator torchvision::nms does not exist". No network
    here uses these operators, so declaring their schemas is enough. It is tried only after the plain import has failed:
    a healthy torchvision is never touched.

    Raises:
        MissingPackageError: torchvision is not installed.
    """
    try:
        return require("torchvision", "The network")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # left half imported
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _OPERATORS.append(library)
    return require("torchvision", "The network")


def import_timm() -> Any:
    """Imports timm, which imports torchvision.

    Raises:
        MissingPackageError: One of them is not installed.
    """
    import_torchvision()
    return require("timm", "The network")


def create_image_backbone(
    name: str,
    weights: str | None = None,
    seed: int = 0,
    in_chans: int = 3,
    size: int | None = None,
    projection: bool = False,
    owner: str = "create_image_backbone",
) -> tuple[nn.Module, DataConfig]:
    """Builds an image network that gives one feature vector per image ``(B, in_chans, H, W) -> (B, dim)``.

    Args:
        name: Any timm model, with or without a tag: ``resnet18``, ``vit_base_patch16_clip_224.openai``, ..., or
            `AUDIOMAE`, or `mediakit.encoders.reference.REFERENCE`.
        weights: None (random), ``"pretrained"`` (the name's tag or timm's default one), a timm tag (``"a1_in1k"``) or
            a local file (.safetensors, .pt, .pth, .bin, .ckpt) of this network or of an encoder around it.
        seed: Seed of the random weights; torch's global generators are left as they were.
        in_chans: Number of input channels; weights for three are summed or repeated as timm does.
        size: Height = width of the input instead of the network's own; a fixed-size network is built for it.
        projection: Keep the last linear layer: CLIP's projection into the space shared with text. Its width is that of
            the tag, so name one also beside a local file: ``vit_large_patch14_clip_224.openai`` (768).
        owner: What the user has called, for error messages.

    Returns:
        The network in training mode and its `DataConfig`.

    Raises:
        MediakitError: No such model.
        WeightsError: No such tag, the weights cannot be fetched, or the file does not fit.
    """
    architecture, _, tag = name.partition(".")
    file, tag = _source(weights, architecture, tag)
    if architecture == REFERENCE:
        return _reference("audio" if in_chans == 1 else "frames", file, tag, weights, seed, size)
    timm = import_timm()
    variant, options, published = _look_up(timm, architecture, tag, owner)
    tag = published.get("tag", "")
    if size is not None and published.get("fixed_input_size"):
        options["img_size"] = size
    options |= {"in_chans": in_chans, "num_classes": published.get("num_classes", 1000) if projection else 0}

    with _seeded(seed):
        if weights is None or file:
            network = timm.create_model(variant, pretrained_cfg_overlay=published, **options)
        else:
            with _fetching(owner, f"{architecture}.{tag}"):
                overlay = published | _cached_or_reachable(published)
                network = timm.create_model(variant, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    if file:
        head = network.pretrained_cfg.get("classifier") or ()
        heads = () if projection else (head,) if isinstance(head, str) else tuple(head)
        load_weights(network, file, architecture, heads)
    return network, DataConfig(
        dim=network.num_classes if projection else getattr(network, "head_hidden_size", None) or network.num_features,
        size=(size, size) if size is not None else tuple(published.get("input_size", (3, 224, 224))[1:]),
        fixed_size=bool(published.get("fixed_input_size")),
        mean=tuple(published.get("mean", (0.485, 0.456, 0.406))),
        std=tuple(published.get("std", (0.229, 0.224, 0.225))),
        weights=file or (tag if weights else None),
    )


def create_video_backbone(
    name: str = "r2plus1d_18", weights: str | None = None, seed: int = 0, owner: str = "create_video_backbone"
) -> tuple[nn.Module, DataConfig]:
    """Builds a video network that gives one feature vector per clip ``(B, 3, F, H, W) -> (B, 512)``.

    Args:
        name: One of `VIDEO_BACKBONES`.
        weights: None (random), ``"pretrained"``, a torchvision weights name (``"KINETICS400_V1"``) or a local file.
        seed: Seed of the random weights; torch's global generators are left as they were.
        owner: What the user has called, for error messages.

    Returns:
        The network in training mode and its `DataConfig`.

    Raises:
        MediakitError: No such model.
        WeightsError: No such weights, they cannot be fetched, or the file does not fit.
    """
    if name not in VIDEO_BACKBONES:
        raise MediakitError(f"{owner}: there is no video model {name!r}. Take one of {', '.join(VIDEO_BACKBONES)}.")
    file, tag = _source(weights, name, "")
    if name == REFERENCE:
        return _reference("clips", file, tag, weights, seed, None)
    models = import_torchvision().models
    known = models.get_model_weights(name)
    tag = tag or known.DEFAULT.name
    _check_tag(tag, tuple(entry.name for entry in known), name, owner)
    with _seeded(seed):
        network = models.get_model(name, weights=None)
    if weights is not None and not file:
        with _fetching(owner, f"{name}.{tag}"):
            if not (Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(known[tag].url)).is_file():
                reach(known[tag].url)
            network.load_state_dict(known[tag].get_state_dict(progress=False, check_hash=True))
    dim = network.fc.in_features
    network.fc = nn.Identity()
    if file:
        load_weights(network, file, name, ("fc",))
    kinetics = {"mean": (0.43216, 0.394666, 0.37645), "std": (0.22803, 0.22145, 0.216989)}
    return network, DataConfig(
        dim, (112, 112), fixed_size=False, **kinetics, weights=file or (tag if weights else None), resize=(128, 171)
    )


def _reference(
    kind: str, file: str | None, tag: str, weights: str | None, seed: int, size: int | None
) -> tuple[nn.Module, DataConfig]:
    """A reference network: random, with the weights of the package, or with those of a local file."""
    owner = {"audio": "AudioEncoder", "frames": "FrameEncoder", "clips": "ClipEncoder"}[kind]
    if tag:
        _check_tag(tag, (REFERENCE_TAG,), REFERENCE, owner)
    with _seeded(seed):
        network = create_reference(kind)
    if weights is not None:
        load_weights(network, file or str(reference_file(kind)), f"the {kind} network {REFERENCE!r}")
    side = size or REFERENCE_SIZE[kind]
    middle, spread = (0.45, 0.45, 0.45), (0.25, 0.25, 0.25)
    return network, DataConfig(
        network.dim, (side, side), False, middle, spread, weights=file or (REFERENCE_TAG if weights else None)
    )


def _source(weights: str | None, architecture: str, tag: str) -> tuple[str | None, str]:
    """Reads the ``weights`` argument: a file or None, and the tag it asks for."""
    if weights is None or weights == "pretrained":
        return None, tag
    if weights.endswith(WEIGHT_FILES) or os.sep in weights:
        return weights, tag
    return None, weights.removeprefix(f"{architecture}.")


def _look_up(timm: Any, architecture: str, tag: str, owner: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Returns how timm calls a network, the options that build it, and the configuration of its published weights."""
    if architecture == AUDIOMAE:  # an architecture of timm's with weights that timm does not list
        tag = tag or AUDIOMAE_TAGS[0]
        _check_tag(tag, AUDIOMAE_TAGS, architecture, owner)
        tuned = tag != AUDIOMAE_TAGS[0]  # has a classifier, and its last norm after pooling instead of before
        published = {
            "tag": tag,
            "hf_hub_id": f"gaunernst/{AUDIOMAE}.{tag}",
            "url": "",
            "custom_load": False,
            "input_size": (1, 1024, 128),
            "fixed_input_size": True,
            "num_classes": 527 if tuned else 0,
        }
        return "vit_base_patch16_224", {"img_size": (1024, 128), "global_pool": "avg", "fc_norm": tuned}, published
    if not timm.is_model(architecture):
        near = ", ".join(difflib.get_close_matches(architecture, timm.list_models(), 3)) or "timm.list_models()"
        raise MediakitError(f"{owner}: timm has no model {architecture!r}. See: {near}.")
    if tag:
        names = timm.list_pretrained(f"{architecture}.*")
        _check_tag(tag, tuple(name.partition(".")[2] for name in names), architecture, owner)
        architecture = f"{architecture}.{tag}"
    config = timm.models.get_pretrained_cfg(architecture)
    return architecture, {}, config.to_dict() if config else {}


def _check_tag(tag: str, known: tuple[str, ...], architecture: str, owner: str) -> None:
    if tag not in known:
        raise WeightsError(
            f"{owner}: {architecture} has no weights {tag!r}. Take one of {', '.join(known) or '(none)'}, "
            f"or a local file that ends in {', '.join(WEIGHT_FILES)}."
        )


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random initialisation on the CPU from a seed, with the global generators put back afterwards."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too
        yield


@contextlib.contextmanager
def _fetching(owner: str, what: str) -> Iterator[None]:
    """Turns whatever goes wrong while weights are fetched into one error that names the way out."""
    try:
        yield
    except MediakitError:
        raise
    except Exception as error:  # network, disk, hub and format errors of three libraries
        reason = str(getattr(error, "reason", error)).strip().partition("\n")[0] or type(error).__name__
        raise WeightsError(
            f"{owner}: the weights {what} cannot be fetched ({reason}). Without a network, copy the file over and give "
            f"its path: {owner}(..., weights='path/to/file.safetensors') in Python, the option that ends in 'weights' "
            "on the command line or in a recipe (weights: path/to/file.safetensors); or take random weights: null."
        ) from error


def _cached_or_reachable(published: dict[str, Any]) -> dict[str, Any]:
    """A pretrained_cfg overlay that points to the cached file, or an OSError within seconds where the host is away.

    Left alone, the hub's client retries for 46 s when there is no network, and as long even where the file is cached.
    """
    if repository := published.get("hf_hub_id"):
        hub = require("huggingface_hub", "Fetching published weights", "huggingface-hub")
        repository, _, revision = repository.partition("@")
        names = [published.get("hf_hub_filename")] if published.get("hf_hub_filename") else ["model.safetensors"]
        for name in [*names, "pytorch_model.bin"]:
            cached = hub.try_to_load_from_cache(repository, name, revision=revision or None)
            if isinstance(cached, str):
                return {"file": cached}
        reach(hub.hf_hub_url(repository, names[0], revision=revision or None))
    elif published.get("url"):
        reach(published["url"])
    return {}


def reach(url: str, seconds: float = 10.0) -> None:
    """Raises an OSError unless the host of a URL answers, whatever it answers."""
    try:
        # An answer of any status will do: the client that fetches knows how to authenticate.
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except OSError as error:
        if not isinstance(getattr(error, "reason", error), ssl.SSLError):  # that client may know other certificates
            raise
