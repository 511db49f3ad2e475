"""Checkpoints under the authors' names: there and back, and what is wrong with one that is not theirs."""

import pytest
import torch

from mediakit.errors import WeightsError
from mediakit.parsing import ParsingModel, load_official, official_state

SIZES = {"classes": 3, "audio_dim": 6, "frames_dim": 7, "clips_dim": 5, "hidden": 16, "heads": 2, "layers": 2}


@pytest.fixture
def model():
    torch.manual_seed(0)
    found = ParsingModel(**SIZES)
    with torch.no_grad():
        for weight in found.parameters():  # no two are equal
            weight += torch.randn(weight.shape)
    return found.eval()


@pytest.fixture
def state(model):
    return official_state(model)


def names(classes, layers):
    """The authors' names as their checkpoints have them, and the shape of each."""
    shapes = {"fc_a": (16, 6), "fc_v": (16, 7), "fc_st": (16, 5), "fc_fusion": (16, 32)}
    for c in range(classes + 1):
        shapes |= {f"a_unmix.{c}.1": (8, 16), f"v_unmix.{c}.1": (8, 16), f"v_unmix.{c}.4": (8, 8)}
    flat = 8 * (classes + 1)
    shapes |= {"a_recon.0": (16, flat), "a_recon.2": (16, 16)}
    shapes |= {"v_recon.model.1": (16, flat), "v_recon.model.3": (16, 16)}
    for m in "av":
        shapes |= {f"alpha_{m}.model.1": (8, 16), f"alpha_{m}.model.4": (1, 8), f"reduce_{m}.0": (8, 16)}
        shapes[f"av_enhance.final_norm_{m}"] = (8,)
    for number in range(layers):
        layer = f"av_enhance.layers.{number}."
        for s in (1, 2):
            shapes[f"{layer}SECM_{s}.attn.out_proj"] = (8, 8)
            shapes[f"{layer}SECM_{s}.attn.in_proj"] = (24, 8)
        parts = ("LGSF_1.glob1", "LGSF_1.glob2", "LGSF_2.glob", "fc1", "fc2")
        shapes |= {layer + part: (8, 8) for part in parts}
        shapes |= {layer + "norm1": (8,), layer + "linear1": (32, 8), layer + "linear2": (8, 32)}
    shapes |= {f"{head}.fc.{k}": (1, 8) for head in ("fc_prob", "fc_frame_att", "fc_av_att") for k in range(classes)}
    joint = {name: "_" if name.endswith("in_proj") else "." for name in shapes}
    weights = {f"{name}{joint[name]}weight": shape for name, shape in shapes.items()}
    return weights | {f"{name}{joint[name]}bias": shape[:1] for name, shape in shapes.items()}


def test_names_and_shapes_are_the_authors(state):
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == names(3, 2)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_there_and_back(model, state, prefix):
    again = load_official({prefix + name: tensor for name, tensor in state.items()}, heads=2)
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    x = [torch.randn(2, 4, dim) for dim in (6, 7, 5)]
    assert torch.equal(again(*x).frame_logits, model(*x).frame_logits)
    assert all(torch.equal(official_state(again)[name], tensor) for name, tensor in state.items())


def test_every_weight_has_a_place_of_its_own(model, state):
    assert sum(tensor.numel() for tensor in state.values()) == sum(w.numel() for w in model.parameters())
    numbered = {name: torch.full_like(tensor, n) for n, (name, tensor) in enumerate(state.items())}
    found = official_state(load_official(numbered, heads=2))
    assert all(torch.equal(found[name], tensor) for name, tensor in numbered.items())


def test_what_is_given_out_is_a_copy(model, state):
    state["fc_a.weight"].zero_()
    assert model.audio.weight.any()
    given = official_state(model)
    load_official(given, heads=2).audio.weight.data.zero_()
    assert given["fc_a.weight"].any()


def test_other_precisions_are_read(state):
    half = {name: tensor.half() for name, tensor in state.items()}
    found = load_official(half, heads=2)
    assert found.audio.weight.dtype == torch.float32
    assert torch.equal(found.audio.weight, half["fc_a.weight"].float())


def test_what_does_not_fit_is_named(state):
    broken = dict(state)
    del broken["av_enhance.layers.1.fc1.weight"]
    broken["stranger"] = torch.zeros(1)
    broken["reduce_a.0.bias"] = torch.zeros(9)
    with pytest.raises(WeightsError) as caught:
        load_official(broken, heads=2)
    message = str(caught.value)
    assert "av_enhance.layers.1.fc1.weight is missing" in message
    assert "stranger is not known" in message
    assert "reduce_a.0.bias is (9,) instead of (8,)" in message


def test_many_problems_are_counted(state):
    broken = {name: tensor for name, tensor in state.items() if not name.startswith("v_unmix")}
    with pytest.raises(WeightsError, match=r"v_unmix\.0\.1\.weight is missing.* and 11 more$"):
        load_official(broken, heads=2)


@pytest.mark.parametrize(
    "given",
    [{}, {"fc_a.weight": torch.zeros(4)}, {"fc_a.weight": torch.zeros(16, 6)}, {"model": torch.zeros(1)}],
)
def test_another_state_dict_altogether(given):
    with pytest.raises(WeightsError, match="the state dict is not that of the authors' MM-CSE"):
        load_official(given)


@pytest.mark.parametrize("name", ["fc_v.weight", "fc_st.weight", "fc_prob.fc.0.weight"])
def test_a_shape_that_sets_sizes(state, name):
    state[name] = torch.zeros(3)
    with pytest.raises(WeightsError, match="the state dict is not that of the authors' MM-CSE"):
        load_official(state, heads=2)


def test_heads_that_do_not_divide(state):
    with pytest.raises(WeightsError, match="heads must divide the 8 channels of a class, got 3"):
        load_official(state, heads=3)


@pytest.mark.parametrize("switch", [{"decoupling": False}, {"background": False}, {"secm": False}, {"lgsf": False}])
def test_an_ablated_network_has_no_counterpart(switch):
    with pytest.raises(WeightsError, match="has no counterpart among the authors' networks"):
        official_state(ParsingModel(**SIZES, **switch))
