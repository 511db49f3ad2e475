"""The reference encoders: small, shipped with their weights, and of use on clips of kinds that they have not seen."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mediakit.encoders import AudioEncoder, ClipEncoder, FrameEncoder
from mediakit.encoders.reference import create_reference, reference_file
from mediakit.errors import WeightsError
from mediakit.synthetic import EventClips


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small networks are faster on one thread, much so beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


KINDS = {"audio": AudioEncoder, "frames": FrameEncoder, "clips": ClipEncoder}


@pytest.mark.parametrize(("kind", "cls"), KINDS.items())
def test_small_and_with_weights_in_the_package(kind, cls):
    encoder = cls("reference", weights="pretrained")
    assert encoder.dim == 320
    assert sum(p.numel() for p in encoder.parameters()) <= 2_000_000
    assert reference_file(kind).stat().st_size < 2_500_000
    assert encoder.frozen
    assert not any(p.requires_grad for p in encoder.parameters())
    card = encoder.card()
    assert (card["name"], card["weights"], card["seed"]) == (f"{cls.__name__}(reference)", "synthetic", None)
    assert card["sha256"] == cls("reference", weights="synthetic").card()["sha256"]
    assert card["sha256"] != cls("reference").card()["sha256"]
    stored = load_file(reference_file(kind))
    for name, value in encoder.backbone.state_dict().items():
        assert torch.equal(value.to(stored[name].dtype), stored[name])


def test_random_weights_come_from_the_seed_and_leave_the_generator_alone():
    before = torch.get_rng_state()
    one, same, other = (FrameEncoder("reference", seed=seed).card()["sha256"] for seed in (1, 1, 2))
    assert one == same != other
    assert torch.equal(before, torch.get_rng_state())


def test_shapes_follow_the_inputs():
    assert AudioEncoder("reference")(torch.zeros(2, 48_000)).shape == (2, 3, 320)
    frames = torch.zeros(2, 16, 3, 40, 70, dtype=torch.uint8)
    assert FrameEncoder("reference")(frames).shape == (2, 16, 320)
    assert ClipEncoder("reference")(frames).shape == (2, 2, 320)
    assert FrameEncoder("reference", size=64)(frames[:1, :1]).shape == (1, 1, 320)


def test_the_clip_network_sees_motion():
    encoder = ClipEncoder("reference", weights="pretrained")
    frames = torch.rand(1, 8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    still = frames[:, :1].expand_as(frames)
    assert not torch.allclose(encoder(frames), encoder(frames.flip(1)), atol=1e-3)
    assert torch.allclose(encoder(still), encoder(still.flip(1)))


def test_a_local_file_and_a_wrong_one(tmp_path):
    state = create_reference("frames").state_dict()
    save_file(state, tmp_path / "mine.safetensors")
    encoder = FrameEncoder("reference", weights=str(tmp_path / "mine.safetensors"))
    assert encoder.card()["weights"] == "mine.safetensors"
    assert torch.equal(encoder.backbone.state_dict()["maps.0.0.weight"], state["maps.0.0.weight"])
    with pytest.raises(WeightsError, match="does not fit"):
        ClipEncoder("reference", weights=str(tmp_path / "mine.safetensors"))
    with pytest.raises(WeightsError, match=r"has no weights 'imagenet'.*synthetic"):
        AudioEncoder("reference", weights="imagenet")


@pytest.mark.parametrize(("modality", "kind"), [("audio", "audio"), ("visual", "frames"), ("visual", "clips")])
def test_trained_features_tell_more_than_random_ones(modality, kind, clips):
    """A nearest-mean classifier on seconds with one event, learned on training kinds and tried on kinds of the test."""
    accuracy = {}
    for weights in (None, "pretrained"):
        encoder = KINDS[kind]("reference", weights=weights)
        sets = {}
        for split, rows in clips.items():
            features, labels = [], []
            for wave, frames, truth in rows:
                single = truth[modality].sum(1) == 1
                if not single.any():
                    continue
                seconds = {
                    "audio": wave.reshape(-1, 16_000),
                    "frames": frames[4::8, None],
                    "clips": frames.unflatten(0, (-1, 8)),
                }[kind]
                with torch.inference_mode():
                    features.append(encoder(seconds[single])[:, 0])
                labels.append(truth[modality][single].argmax(1))
            sets[split] = torch.cat(features).numpy(), torch.cat(labels).numpy()
        (x, y), (x_test, y_test) = sets["train"], sets["test"]
        mean, std = x.mean(0), x.std(0) + 1e-6
        x, x_test = (x - mean) / std, (x_test - mean) / std
        present = np.unique(y)
        centres = np.stack([x[y == label].mean(0) for label in present])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        kept = np.isin(y_test, present)
        guess = present[(x_test @ centres.T).argmax(1)]
        accuracy[weights] = (guess == y_test)[kept].mean()
    assert accuracy["pretrained"] > accuracy[None] + 0.15, accuracy


@pytest.fixture(scope="module")
def clips():
    drawn = {}
    for split, count in (("train", 26), ("test", 14)):
        family = EventClips(5, split, fps=8)
        drawn[split] = []
        for index in range(count):
            clip = family.clip(index)
            labels = clip.labels()
            truth = {"audio": labels.audio, "visual": labels.visual}
            drawn[split].append((clip.sound().waveform, torch.stack(list(clip.frames())), truth))
    return drawn
