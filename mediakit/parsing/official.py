"""Checkpoints of the authors of MM-CSE, read into `.ParsingModel` and written from it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mediakit.errors import WeightsError
from mediakit.parsing.model import ParsingModel

_LAYER = {
    "SECM_1.attn.in_proj_": "intra.project.",
    "SECM_1.attn.out_proj.": "intra.out.",
    "SECM_2.attn.in_proj_": "cross.project.",
    "SECM_2.attn.out_proj.": "cross.out.",
    "LGSF_1.glob1.": "intra_local.",
    "LGSF_1.glob2.": "intra_global.",
    "LGSF_2.glob.": "cross_shared.",
    "fc1.": "intra_out.",
    "fc2.": "cross_out.",
    "norm1.": "norm.",
    "linear1.": "expand.",
    "linear2.": "contract.",
}


def load_official(state_dict: Mapping[str, Tensor], *, heads: int = 8) -> ParsingModel:
    """Builds the network that the authors' checkpoint was trained with.

    Args:
        state_dict: Tensors by the authors' names, with or without ``module.`` in front of them. Read a file with
            ``torch.load(path, map_location="cpu", weights_only=True)``.
        heads: Attention heads, which the tensors do not tell.

    Returns:
        The network in evaluation mode; classes, channels and layers as the tensors have them.

    Raises:
        WeightsError: Tensors are missing, left over or of another shape; the message names them.
    """
    given = {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    try:
        hidden, audio_dim = given["fc_a.weight"].shape
        model = ParsingModel(
            classes=_count(given, "fc_prob.fc."),
            audio_dim=audio_dim,
            frames_dim=given["fc_v.weight"].shape[1],
            clips_dim=given["fc_st.weight"].shape[1],
            hidden=hidden,
            heads=heads,
            layers=_count(given, "av_enhance.layers."),
        )
    except KeyError as error:
        raise WeightsError(f"the state dict is not that of the authors' MM-CSE: {error.args[0]} is missing") from error
    except (ValueError, IndexError) as error:
        raise WeightsError(f"the state dict is not that of the authors' MM-CSE: {error}") from error
    views = _views(model)
    problems = [f"{name} is missing" for name in views if name not in given]
    problems += [f"{name} is not known" for name in given if name not in views]
    problems += [
        f"{name} is {(*given[name].shape,)} instead of {(*view.shape,)}"
        for name, view in views.items()
        if name in given and given[name].shape != view.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise WeightsError(f"the state dict is not that of the authors' MM-CSE: {', '.join(problems[:5])}{more}")
    for name, view in views.items():
        view.copy_(given[name])
    return model.eval()


def official_state(model: ParsingModel) -> dict[str, Tensor]:
    """The weights under the authors' names: the inverse of `load_official`.

    Args:
        model: One with all parts; an ablated one has no counterpart.

    Raises:
        WeightsError: The model lacks a part.
    """
    try:
        return {name: view.clone() for name, view in _views(model).items()}
    except KeyError as error:
        raise WeightsError(f"a model without {error} has no counterpart among the authors' networks") from error


def _count(given: Mapping[str, Tensor], prefix: str) -> int:
    """Members of a numbered list."""
    numbers = [int(name[len(prefix) :].partition(".")[0]) for name in given if name.startswith(prefix)]
    return max(numbers, default=-1) + 1


def _views(model: ParsingModel) -> dict[str, Tensor]:
    """Each of the authors' tensors as a part of ours."""
    state = model.state_dict()
    views: dict[str, Tensor] = {}

    def put(theirs: str, ours: str, *part: int | slice) -> None:
        for kind in ("weight", "bias"):
            views[theirs + kind] = state[ours + kind][part or ...]

    for theirs, ours in (("fc_a.", "audio."), ("fc_v.", "frames."), ("fc_st.", "clips."), ("fc_fusion.", "visual.")):
        put(theirs, ours)
    for c in range(len(state["decoupling.0.decouple.bias"])):
        put(f"a_unmix.{c}.1.", "decoupling.0.decouple.", c)
        put(f"v_unmix.{c}.1.", "decoupling.1.decouple.", c)
        put(f"v_unmix.{c}.4.", "decoupling.1.refine.", c)
    for side, recon, numbers in ((0, "a_recon.", (0, 2)), (1, "v_recon.model.", (1, 3))):
        for index, number in enumerate(numbers):
            put(f"{recon}{number}.", f"decoupling.{side}.reconstruct.{2 * index}.")
    for side, letter in enumerate("av"):
        for number in (1, 4):
            put(f"alpha_{letter}.model.{number}.", f"decoupling.{side}.share.{number}.")
        put(f"reduce_{letter}.0.", f"decoupling.{side}.fuse.")
        put(f"av_enhance.final_norm_{letter}.", f"unused.{side}.")
    for number in range(len(model.fgse.layers)):
        for theirs, ours in _LAYER.items():
            put(f"av_enhance.layers.{number}.{theirs}", f"fgse.layers.{number}.{ours}")
    for row, head in enumerate(("fc_prob", "fc_frame_att", "fc_av_att")):
        for c in range(len(state["heads.bias"])):
            put(f"{head}.fc.{c}.", "heads.", c, slice(row, row + 1))
    return views
