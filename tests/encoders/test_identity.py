"""The card and the hash: sensitive to every bit of the weights, to nothing else."""

import hashlib
import json
import struct

import pytest
import torch
from torch import nn

from mediakit.encoders.identity import Encoder, Identity, weight_hash


class Toy(Encoder):
    def __init__(self, weights=None, frozen=True):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.variant, self.weights, self.seed = "tiny", weights, 7
        self.freeze(frozen)


def table(**tensors):
    module = nn.Module()
    for name, tensor in tensors.items():
        module.register_buffer(name, tensor)
    return module


def test_hash_is_the_documented_bytes():
    values = [1.5, -2.0, 3.25]
    expected = hashlib.sha256()
    expected.update(b"a\0int64\0()\0" + struct.pack("<q", 5))
    expected.update(b"b\0float32\0(3,)\0" + struct.pack("<3f", *values))
    assert weight_hash(table(b=torch.tensor(values), a=torch.tensor(5))) == expected.hexdigest()


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool, torch.int8]
)
def test_hash_ignores_layout_and_sees_dtype_and_values(dtype):
    tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    reference = weight_hash(table(x=tensor))
    assert weight_hash(table(x=tensor.t().contiguous().t())) == reference
    assert weight_hash(table(x=tensor.to(torch.complex128))) != reference
    assert weight_hash(table(x=tensor.reshape(3, 2))) != reference
    assert weight_hash(table(y=tensor)) != reference
    assert weight_hash(table(x=~tensor if dtype == torch.bool else tensor + 1)) != reference


def test_hash_changes_with_one_bit():
    toy = Toy()
    before = weight_hash(toy)
    bits = toy.linear.weight.data.view(torch.int32)
    bits[1, 2] ^= 1
    assert weight_hash(toy) != before
    bits[1, 2] ^= 1
    assert weight_hash(toy) == before


def test_hash_of_nothing():
    assert weight_hash(nn.ReLU()) == hashlib.sha256().hexdigest()


@pytest.mark.parametrize(
    ("weights", "shown", "seed"),
    [(None, "none", 7), ("a1_in1k", "a1_in1k", None), ("some/folder/mine.safetensors", "mine.safetensors", None)],
)
def test_card_holds_plain_values(weights, shown, seed):
    toy = Toy(weights)
    card = toy.card()
    assert card == {"name": "Toy(tiny)", "weights": shown, "seed": seed, "sha256": weight_hash(toy)}
    assert json.loads(json.dumps(card)) == card


def test_card_without_weights():
    class Geometry(Identity, nn.Module):
        pass

    assert Geometry().card() | {"sha256": ""} == {"name": "Geometry", "weights": "none", "seed": None, "sha256": ""}


def test_frozen_stays_in_eval_inside_a_training_model():
    model = nn.Sequential(Toy())
    model.train()
    assert model.training
    assert not any(module.training for module in model[0].modules())
    assert not any(p.requires_grad for p in model.parameters())


def test_thawed_trains():
    toy = Toy(frozen=False)
    assert toy.training
    assert toy.norm.training
    assert all(p.requires_grad for p in toy.parameters())
    toy.freeze()
    assert not toy.train().norm.training
    assert toy.freeze(False).train().norm.training
