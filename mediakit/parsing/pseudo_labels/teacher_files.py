"""The networks of the two teachers, from a published name or a local folder, their weights read as plain tensors."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mediakit.encoders.backbones import import_torchvision, reach
from mediakit.encoders.weight_files import WEIGHT_FILES, load_weights, read_state_dict
from mediakit.errors import MediakitError, MissingPackageError, WeightsError, require

_HUB = "hf-hub:"
_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors")
_CLAP_FILES = ("model.safetensors", "pytorch_model.bin")


def optional(module: str, purpose: str) -> Any:
    """Imports one of the two packages of the extra.

    Raises:
        MissingPackageError: It is not installed; the message says how to install both.
    """
    import_torchvision()  # both import it, too
    try:
        return require(module, purpose)
    except MissingPackageError as error:
        raise MissingPackageError(
            f"{purpose} need the package {module!r}, which cannot be imported ({error.__cause__}). Install it: "
            'pip install "mediakit[pseudo]"'
        ) from error


def load_clip(open_clip: Any, model: str, weights: str | None) -> tuple[nn.Module, str]:
    """The network with its weights, and what open_clip's tokenizer calls it."""
    overrides: dict[str, Any] = {}
    if model.startswith(_HUB) or os.path.isdir(model):
        if weights is not None:
            raise MediakitError(f"CLIP: {model} comes with its weights, so {weights!r} has no place.")
        folder = _fetched(model.removeprefix(_HUB), _CLIP_FILES) if model.startswith(_HUB) else Path(model)
        file = _weight_file(folder, _CLIP_FILES)
        if not (folder / "open_clip_config.json").is_file():
            raise MediakitError(f"{model}: holds no open_clip_config.json, so it is no folder of a CLIP of open_clip.")
        name = f"local-dir:{folder}"
    else:
        name = model
        if name not in open_clip.list_models():
            near = difflib.get_close_matches(name, open_clip.list_models(), 3)
            raise MediakitError(
                f"CLIP: {name!r} is neither a folder nor a model of open_clip. See: "
                f"{', '.join(near) or 'open_clip.list_models()'}."
            )
        if weights is None:
            raise MediakitError(f"CLIP: {name} needs weights: a local file or a tag ({_tags(open_clip, name)}).")
        if weights.endswith(WEIGHT_FILES) or os.sep in weights:
            file = Path(weights)
        else:
            file, overrides = _published_clip(open_clip, name, weights)
    try:
        with _silent():
            network = open_clip.create_model(
                name, load_weights=False, pretrained_image=False, pretrained_text=False, **overrides
            )
    except Exception as error:  # a damaged configuration shows itself in many ways
        raise MediakitError(f"CLIP: {model} cannot be built ({_first_line(error)}).") from error
    load_weights(network, str(file), f"CLIP {model}")
    return network, name


def _published_clip(open_clip: Any, name: str, tag: str) -> tuple[Path, dict[str, Any]]:
    """File of published weights, and what they want changed of their architecture."""
    config = open_clip.get_pretrained_cfg(name, tag)
    if not config:
        raise WeightsError(
            f"CLIP: {name} has no weights {tag!r}. Take a local file or one of {_tags(open_clip, name)}."
        )
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    if repository:
        names = (file,) if file else _CLIP_FILES
        found = _weight_file(_fetched(repository, names), names)
    else:
        with _fetching(f"{name} ({tag})"):
            reach(config["url"])
            found = Path(open_clip.download_pretrained(config))
    # Some weights were trained with a cruder GELU than the architecture of that name has.
    seen = {key: config[key] for key in ("mean", "std") if key in config}
    return found, {"force_quick_gelu": config.get("quick_gelu", False), "force_preprocess_cfg": seen}


def _tags(open_clip: Any, name: str) -> str:
    tags = open_clip.list_pretrained_tags_by_model(name)
    return ", ".join(tags[:6]) + (", ..." if len(tags) > 6 else "") or "(none)"


def load_clap(transformers: Any, model: str) -> tuple[nn.Module, Any]:
    """The network and its processor; refuses what would leave a parameter at its random start."""
    folder = Path(model) if os.path.isdir(model) else _fetched(model, _CLAP_FILES)
    if not (folder / "config.json").is_file():  # transformers would take a configuration of its own
        raise WeightsError(f"{folder}: holds no config.json, so it is no folder of a ClapModel.")
    state = read_state_dict(_weight_file(folder, _CLAP_FILES))
    bars = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        with _silent():
            processor = transformers.ClapProcessor.from_pretrained(folder)
            network, told = transformers.ClapModel.from_pretrained(
                None,
                config=transformers.ClapConfig.from_pretrained(folder),
                state_dict=state,
                ignore_mismatched_sizes=True,  # which are named below
                output_loading_info=True,
            )
    except Exception as error:  # of transformers and tokenizers
        raise WeightsError(
            f"CLAP: {model} cannot be loaded ({_first_line(error)}). It must be a ClapModel and its processor, as "
            "save_pretrained writes them."
        ) from error
    finally:
        if shown:
            bars.enable_progress_bar()
    lacking = sorted(
        key if isinstance(key, str) else key[0] for key in (*told["missing_keys"], *told["mismatched_keys"])
    )
    if lacking:
        raise WeightsError(
            f"CLAP: the weights of {model} do not fit: {len(lacking)} tensors are missing or of another shape "
            f"({', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''})."
        )
    return network.float(), processor


def _weight_file(folder: Path, names: Sequence[str]) -> Path:
    """The first of some files that a folder holds."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(f"{folder}: holds none of {', '.join(names)}, so there are no weights in it.")


def _fetched(repository: str, weights: Sequence[str]) -> Path:
    """A local copy of a repository on the hub: all its small files, and the first of some weight files."""
    hub = require("huggingface_hub", "Fetching published weights", "huggingface-hub")
    with _fetching(repository):
        away: OSError | None = None
        try:
            reach(hub.hf_hub_url(repository, "config.json"))
        except OSError as error:  # the hub's client would go on trying for minutes, even for what it has
            away = error
        for name in weights:
            try:
                folder = hub.snapshot_download(
                    repository, allow_patterns=["*.json", "*.txt", name], local_files_only=away is not None
                )
            except FileNotFoundError as error:
                raise away or error from error
            if Path(folder, name).is_file():
                break
        return Path(folder)


@contextlib.contextmanager
def _fetching(what: str) -> Iterator[None]:
    try:
        yield
    except MediakitError:
        raise
    except Exception as error:  # of the network, the disk and the hub
        raise WeightsError(
            f"the weights of {what} cannot be fetched ({_first_line(error)}). Without a network, copy their folder "
            "over and name it: --clip-model, --clap-model."
        ) from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keeps the packages' chatter off standard error: what matters of it is checked and becomes an error here."""
    before, handlers = logging.root.manager.disable, [*logging.root.handlers]
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        logging.root.handlers[:] = handlers  # open_clip's logging.warning() adds one


def _first_line(error: BaseException) -> str:
    reason = getattr(error, "reason", error)
    return str(reason).strip().partition("\n")[0].rstrip(".") or type(error).__name__
