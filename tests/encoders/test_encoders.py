"""The package itself: lazy names that hide no submodule, and one contract for the encoders of sound and sight."""

import pkgutil

import pytest
import torch

from mediakit import encoders
from mediakit.encoders import AudioEncoder, ClipEncoder, FrameEncoder


@pytest.mark.parametrize("name", encoders.__all__)
def test_public_names_resolve(name):
    assert getattr(encoders, name).__doc__
    assert name in dir(encoders)
    assert name not in {module.name for module in pkgutil.iter_modules(encoders.__path__)}


def test_unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'VideoEncoder'"):
        encoders.VideoEncoder  # noqa: B018


@pytest.mark.parametrize(
    ("create", "x"),
    [
        (lambda **k: AudioEncoder("test_resnet", **k), torch.zeros(2, 40000)),
        (lambda **k: FrameEncoder("test_resnet", **k), torch.zeros(2, 3, 3, 32, 32)),
        (lambda **k: ClipEncoder("mc3_18", frames_per_clip=2, **k), torch.zeros(2, 6, 3, 32, 32)),
    ],
    ids=["sound", "frames", "clips"],
)
def test_contract(create, x):
    encoder = create()
    features = encoder(x)
    assert features.shape == (2, 3, encoder.dim)
    assert features.is_floating_point()
    assert not encoder.training
    assert encoder.card() == create().card()
    assert encoder.card()["seed"] == 0
    assert create(seed=1).card()["sha256"] != encoder.card()["sha256"]
    assert set(encoder.state_dict()) == {f"backbone.{key}" for key in encoder.backbone.state_dict()}
    assert create(frozen=False).training
