"""The network against what its parts must do by definition."""

import math

import pytest
import torch
from torch.nn import functional as F

from mediakit.colorize.model import AB_RANGE, ColorizationModel, modulate
from mediakit.errors import MediakitError


def small(**options):
    torch.manual_seed(0)
    model = ColorizationModel(
        "resnet10t", "reference", "reference", dim=16, width=8, audio_mels=16, audio_hop=800, **options
    )
    return model.eval()


@pytest.fixture(scope="module")
def model():
    """With guidance that does something: at its start it is the identity for a centred map."""
    found = small()
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if "scale_and_shift" in name or name.startswith("to_ab"):
                parameter.normal_(0, 0.3)
    return found


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def gray(*shape, seed=1):
    return 100 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_full_guidance_is_adaptive_instance_normalisation():
    x = torch.randn(2, 3, 5, 7, dtype=torch.double)
    gamma, beta = torch.rand(2, 3, dtype=torch.double) + 0.5, torch.randn(2, 3, dtype=torch.double)
    ones = torch.ones(2, dtype=torch.double)
    expected = F.instance_norm(x) * gamma[..., None, None] + beta[..., None, None]
    torch.testing.assert_close(modulate(x, gamma, beta, ones, ones), expected)
    # Whatever the statistics before, those afterwards are beta and |gamma|.
    found = modulate(7 * x + 3, gamma, beta, ones, ones)
    torch.testing.assert_close(found.mean((2, 3)), beta)
    torch.testing.assert_close(found.std((2, 3), correction=0), gamma, rtol=1e-4, atol=0)


def test_guidance_is_mixed_in_by_relevance_times_presence():
    x, gamma, beta = torch.randn(2, 3, 4, 4), torch.rand(2, 3), torch.randn(2, 3)
    full = modulate(x, gamma, beta, torch.ones(2), torch.ones(2))
    found = modulate(x, gamma, beta, torch.tensor([0.5, 0.25]), torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(found, 0.25 * full + 0.75 * x)


def test_absent_guidance_changes_no_bit_whatever_it_is():
    x = torch.randn(3, 2, 4, 4)
    x[0, 0, 0, 0] = -0.0
    wild = torch.tensor([[math.nan, 1e30], [math.inf, -1e30], [0.0, 0.0]])
    found = modulate(x, wild, wild, torch.tensor([math.nan, 1.0, 0.5]), torch.zeros(3))
    assert found.view(torch.int32).equal(x.view(torch.int32))


def test_one_pixel_is_guided_too():
    found = modulate(
        torch.randn(1, 2, 1, 1), torch.ones(1, 2), torch.tensor([[3.0, -1.0]]), torch.ones(1), torch.ones(1)
    )
    assert found.flatten().tolist() == [3.0, -1.0]


@torch.inference_mode()
def test_the_path_without_sound_is_the_same_to_the_bit(model):
    lightness = gray(3, 1, 40, 56)
    silent = model(lightness)
    wild = unit(3, 16).masked_fill(torch.tensor([[True], [False], [False]]), math.nan)
    for semantics in (unit(3, 16), wild):
        found = model(lightness, semantics, torch.zeros(3))
        assert found.ab.view(torch.int32).equal(silent.ab.view(torch.int32))
        assert found.relevance.tolist() == [0, 0, 0]
    mixed = model(lightness, unit(3, 16), torch.tensor([0.0, 1.0, 0.0]))
    assert (mixed.ab[1] - silent.ab[1]).abs().max() > 1
    torch.testing.assert_close(mixed.ab[::2], silent.ab[::2])


@torch.inference_mode()
def test_half_the_weight_is_half_the_relevance(model):
    lightness, semantics = gray(2, 1, 32, 32), unit(2, 16)
    full, half = (model(lightness, semantics, torch.full((2,), w)) for w in (1.0, 0.5))
    torch.testing.assert_close(half.relevance, full.relevance / 2)
    torch.testing.assert_close(full.relevance, full.relevance_logit.sigmoid())
    assert (half.ab - full.ab).abs().max() > 0.1


@pytest.mark.parametrize("size", [(1, 1), (5, 400), (37, 50), (64, 64)])
@torch.inference_mode()
def test_any_size_keeps_its_size_and_stays_in_range(model, size):
    found = model(gray(2, 1, *size), unit(2, 16)).ab
    assert found.shape == (2, 2, *size)
    assert found.abs().max() <= AB_RANGE
    assert found.isfinite().all()


@torch.inference_mode()
def test_a_picture_does_not_depend_on_its_batch(model):
    lightness, semantics = gray(3, 1, 48, 48), unit(3, 16)
    together = model(lightness, semantics)
    alone = model(lightness[1:2], semantics[1:2])
    torch.testing.assert_close(together.ab[1:2], alone.ab, rtol=1e-4, atol=1e-3)


@torch.inference_mode()
def test_semantics_are_unit_vectors(model):
    wave = torch.randn(2, 32000, generator=torch.Generator().manual_seed(0)) / 10
    for found in (model.semantics(torch.rand(2, 3, 50, 40)), model.hear(wave)):
        assert found.shape == (2, 16)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    assert model.hear(torch.zeros(1, 16000)).isfinite().all()


def test_everything_that_colours_gets_a_gradient():
    model = small().train()
    found = model(gray(2, 1, 64, 64), unit(2, 16))
    (found.ab.square().sum() + found.relevance_logit.sum() + found.expected.sum()).backward()
    sound_or_teacher = ("audio", "semantic")
    missing = [name for name, p in model.named_parameters() if p.grad is None and not name.startswith(sound_or_teacher)]
    assert missing == []


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="no maps of several sizes"):
        ColorizationModel("reference", "reference", "reference")
    with pytest.raises(MediakitError, match="no model 'resnet35'"):
        ColorizationModel("resnet35")
    with pytest.raises(ValueError, match="must be positive"):
        ColorizationModel(width=0)


def test_gray_weights_come_from_a_local_file(tmp_path):
    from safetensors.torch import save_file

    source = small()
    with torch.no_grad():
        for parameter in source.gray_encoder.parameters():
            parameter.add_(0.5)
    save_file(
        {name: t.contiguous() for name, t in source.gray_encoder.state_dict().items()}, tmp_path / "gray.safetensors"
    )
    loaded = small(gray_weights=str(tmp_path / "gray.safetensors"))
    for name, tensor in loaded.gray_encoder.state_dict().items():
        assert tensor.equal(source.gray_encoder.state_dict()[name]), name
