"""The detector and its baseline: one interface, no glance beyond what is valid, and evidence that adds up."""

import pytest
import torch

from mediakit.deepfake.evidence import dempster_combine, masses_from_logits
from mediakit.deepfake.lrnet import LRNet
from mediakit.deepfake.model import STREAMS, DeepfakeModel, Standardize, Tokens
from mediakit.deepfake.phase import delay_embed
from mediakit.deepfake.signals import EXPRESSION, HEAD, Signals


def windows(count: int = 3, frames: int = 96, seed: int = 0) -> Signals:
    draw = torch.Generator().manual_seed(seed)
    head, face = (torch.randn(count, frames, n, generator=draw) for n in (HEAD, EXPRESSION))
    return Signals(head, face, torch.ones(count, frames, dtype=torch.bool))


NETWORKS = {
    "delay": lambda: DeepfakeModel(),
    "plane": lambda: DeepfakeModel(phase="plane"),
    "none": lambda: DeepfakeModel(phase="none"),
    "mean": lambda: DeepfakeModel(rule="mean"),
    "two streams": lambda: DeepfakeModel(streams=("head", "expression")),
    "lrnet": lambda: LRNet(),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return NETWORKS[request.param]().eval()


def test_interface(network):
    out = network(windows())
    assert out.logits.shape == (3, len(network.streams), 2)
    assert out.masses.shape == (3, len(network.streams), 3)
    torch.testing.assert_close(out.mass.sum(-1), torch.ones(3))
    assert ((out.conflict >= 0) & (out.conflict <= 1)).all()


def test_a_window_is_read_by_itself(network):
    both, one = network(windows()), network(Signals(*(part[1:2] for part in windows())))
    torch.testing.assert_close(both.mass[1:2], one.mass, rtol=0, atol=1e-6)


def test_what_is_not_valid_is_not_read(network):
    signals = windows()
    signals.valid[:, 60:] = False
    plain = network(signals)
    changed = network(Signals(signals.head.clone().index_fill(1, torch.arange(60, 96), 7.0), *signals[1:]))
    torch.testing.assert_close(plain.mass, changed.mass)
    assert not torch.allclose(plain.mass, network(windows()).mass)


def test_quality_discounts(network):
    poor = network(windows(), torch.tensor([0.0, 0.5, 1.0]))
    full = network(windows())
    assert poor.mass[0].tolist() == [0, 0, 1]
    assert poor.mass[1, 2] > full.mass[1, 2]
    torch.testing.assert_close(poor.mass[2], full.mass[2])


def test_nothing_seen_is_nothing_known(network):
    signals = windows()
    signals.valid[0] = False
    out = network(signals)
    assert out.mass[0].tolist() == [0, 0, 1]
    assert torch.isfinite(out.mass).all()


def test_gradients_reach_every_parameter(network):
    network.train()
    out = network(windows())
    (out.mass[:, 0] - out.mass[:, 1]).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_streams_are_fused_by_dempster():
    torch.manual_seed(0)
    model = DeepfakeModel(streams=("head", "coherence")).eval()
    out = model(windows())
    mass, conflict = dempster_combine(*masses_from_logits(out.logits).unbind(1))
    torch.testing.assert_close(out.mass, mass)
    torch.testing.assert_close(out.conflict, conflict)


def test_streams_read_what_they_are_called():
    torch.manual_seed(0)
    model, plain = DeepfakeModel().eval(), windows()
    face = Signals(plain.head, torch.randn_like(plain.expression), plain.valid)
    trembling = Signals(plain.head.clone(), *plain[1:])
    trembling.head[..., 10:] += 1
    before, other_face, jitter = (model(s).logits for s in (plain, face, trembling))
    changed = lambda other: [not torch.equal(before[:, n], other[:, n]) for n in range(3)]  # noqa: E731
    assert model.streams == STREAMS
    assert changed(other_face) == [False, True, True]
    assert changed(jitter) == [True, False, True]


def test_tokens_are_phase_space_points():
    tokens = Tokens(2, "delay", dim=3, lag=6, patch=4, inner=6, width=24)
    torch.nn.init.eye_(tokens.embed.weight)
    torch.nn.init.eye_(tokens.project.weight)
    torch.nn.init.zeros_(tokens.embed.bias)
    torch.nn.init.zeros_(tokens.project.bias)
    x = torch.randn(2, 40, 2)
    found, seen = tokens(x, torch.ones(2, 40, dtype=torch.bool))
    rows = torch.stack([delay_embed(one, 3, 6) for one in x])
    torch.testing.assert_close(found.reshape(2, 28, 6), torch.nn.functional.gelu(rows))
    assert seen.shape == (2, 7)
    assert seen.all()


def test_standardize_takes_valid_frames_only():
    x = torch.randn(5, 20, 4, dtype=torch.float64).float() * 3 + 2
    valid = torch.ones(5, 20, dtype=torch.bool)
    valid[:, 15:] = False
    x[:, 15:] = 1e6
    norm = Standardize(4)
    norm.fit(x, valid)
    y = norm(x, valid)[valid]
    torch.testing.assert_close(y.mean(0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.std(0), torch.ones(4), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"streams": ()}, "streams must be some of head, expression, coherence"),
        ({"streams": ("head", "hands")}, "streams must be some of"),
        ({"phase": "moon"}, "phase must be"),
        ({"rule": "vote"}, "rule must be"),
        ({"lag": 0.01}, "at least one frame"),
        ({"window": 14}, "fewer than a token"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        DeepfakeModel(**settings)
