"""Local weight files: what fits is loaded whole, what does not is refused with names."""

import pickle
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mediakit.encoders.weight_files import load_weights, read_state_dict
from mediakit.errors import WeightsError


def network(channels=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4))


def save(state, path):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return str(path)


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".pth", ".bin", ".ckpt"])
def test_round_trip(tmp_path, ending):
    target = network(seed=1)
    load_weights(target, save(network().state_dict(), tmp_path / f"w{ending}"), "toy")
    assert equal(target, network())


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_wrapped(tmp_path, key):
    target = network(seed=1)
    load_weights(target, save({key: network().state_dict(), "epoch": 3}, tmp_path / "w.ckpt"), "toy")
    assert equal(target, network())


@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone."])
def test_common_prefix(tmp_path, prefix):
    target = network(seed=1)
    state = {prefix + key: value for key, value in network().state_dict().items()}
    load_weights(target, save(state, tmp_path / "w.safetensors"), "toy")
    assert equal(target, network())


def test_head_is_dropped_but_nothing_else(tmp_path):
    state = network().state_dict() | {"fc.weight": torch.zeros(5, 4), "fc.bias": torch.zeros(5)}
    file = save(state, tmp_path / "w.pt")
    target = network(seed=1)
    load_weights(target, file, "toy", head=("fc",))
    assert equal(target, network())
    with pytest.raises(WeightsError, match=r"2 unexpected \(fc.weight, fc.bias\)"):
        load_weights(target, file, "toy")


@pytest.mark.parametrize("channels", [1, 6])
def test_first_convolution_gives_the_same_on_gray(tmp_path, channels):
    target = network(channels, seed=1)
    load_weights(target, save(network().state_dict(), tmp_path / "w.pt"), "toy")
    gray = torch.rand(2, 1, 8, 8)
    expected = network().eval()(gray.expand(-1, 3, -1, -1))
    assert torch.allclose(target.eval()(gray.expand(-1, channels, -1, -1)), expected, atol=1e-5)


def test_old_files_without_batch_counters(tmp_path):
    state = {key: value for key, value in network().state_dict().items() if "num_batches" not in key}
    target = network(seed=1)
    load_weights(target, save(state, tmp_path / "w.pt"), "toy")
    assert equal(target, network())


def test_misfit_names_keys_and_leaves_the_network(tmp_path):
    state = network().state_dict()
    state["1.weight"] = torch.zeros(9)
    del state["1.running_mean"]
    state |= {f"extra{i}.weight": torch.zeros(1) for i in range(5)}
    target = network(seed=1)
    with pytest.raises(WeightsError) as error:
        load_weights(target, save(state, tmp_path / "w.pt"), "toy")
    text = str(error.value)
    assert "w.pt: does not fit toy" in text
    assert "1 missing (1.running_mean)" in text
    assert "5 unexpected (extra0.weight, extra1.weight, extra2.weight, ...)" in text
    assert "1 of another shape (1.weight (9,) for (4,))" in text
    assert equal(target, network(seed=1))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_damaged(tmp_path, ending):
    path = tmp_path / f"w{ending}"
    path.write_bytes(b"not weights at all")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        read_state_dict(path)


def test_code_is_never_executed(tmp_path, capsys):
    path = tmp_path / "w.pt"
    path.write_bytes(pickle.dumps({"a": Evil()}, protocol=2))
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        read_state_dict(path)
    torch.save({"a": Evil()}, path)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        read_state_dict(path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(1)], {"state_dict": {}}])
def test_no_state_dict(tmp_path, content):
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_state_dict(save(content, tmp_path / "w.pt"))


def test_a_whole_model_is_refused_in_our_words(tmp_path):
    """torch advises to load again with code allowed, in colour."""
    torch.save(network(), tmp_path / "g.pt")
    with pytest.raises(WeightsError, match=r"never unpickles code.*torch.save\(model.state_dict\(\)") as caught:
        read_state_dict(tmp_path / "g.pt")
    assert not re.search(r"weights_only|\x1b|\n", str(caught.value))


def test_absent(tmp_path):
    with pytest.raises(WeightsError, match="no such weight file"):
        read_state_dict(tmp_path / "absent.pt")
