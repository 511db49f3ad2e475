"""Our network and losses against the method written a second time, class by class: `benchmarks/mmcse_loop.py`."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from mediakit.parsing import ParsingModel, load_official, mmcse_loss, official_state

SMALL = {"audio_dim": 40, "frames_dim": 36, "clips_dim": 28, "hidden": 64, "classes": 7, "heads": 4, "layers": 2}
CLAP = SMALL | {"audio_dim": 768}
RESNET = SMALL | {"frames_dim": 2048}
PAPER = {"audio_dim": 768, "frames_dim": 768, "clips_dim": 512, "hidden": 256, "classes": 25, "heads": 8, "layers": 4}
# settings, videos, segments, rows of audio and of frames for each video, type
CASES = {
    "paper": (PAPER, 2, 10, 10, 10, torch.float32),
    "paper, more than one chunk": (PAPER, 11, 10, 10, 10, torch.float32),
    "7 classes, 5 segments": (SMALL, 3, 5, 5, 5, torch.float32),
    "one video of one segment": (SMALL, 1, 1, 1, 1, torch.float32),
    "CLAP map": (CLAP, 2, 10, 64, 10, torch.float32),
    "CLAP map, 5 segments": (CLAP, 2, 5, 64, 5, torch.float32),
    "8 ResNet frames a segment": (RESNET, 2, 10, 10, 80, torch.float32),
    "float64": (SMALL, 3, 5, 5, 5, torch.float64),
    "paper, float64": (PAPER, 2, 4, 4, 4, torch.float64),
}


@pytest.fixture(scope="module")
def loop():
    """The module `benchmarks/mmcse_loop.py`."""
    path = Path(__file__).parents[2] / "benchmarks" / "mmcse_loop.py"
    spec = importlib.util.spec_from_file_location("mmcse_loop", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def shaken(network, by):
    """Every weight moved, so that no layer equals another, no bias is 0 and no gain is 1."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight += by * torch.randn(weight.shape, generator=draw)
    return network


def pair(loop, settings, dropout=0.0, dtype=torch.float32, shake=0.02):
    """The loop, and ours with its weights, both in training mode."""
    torch.manual_seed(0)
    theirs = shaken(loop.MMCSELoop(**settings, dropout=dropout), shake)
    ours = ParsingModel(**settings, dropout=dropout)
    ours.load_state_dict(load_official(theirs.state_dict(), heads=settings["heads"]).state_dict())
    return theirs.to(dtype).train(), ours.to(dtype).train()


def inputs_of(settings, videos, segments, audio_rows, frame_rows, dtype=torch.float32, seed=2):
    draw = torch.Generator().manual_seed(seed)
    shapes = (
        (audio_rows, settings["audio_dim"]),
        (frame_rows, settings["frames_dim"]),
        (segments, settings["clips_dim"]),
    )
    return [torch.randn(videos, *shape, generator=draw, dtype=dtype).requires_grad_() for shape in shapes]


def labels_of(settings, videos, segments, dtype=torch.float32):
    draw = torch.Generator().manual_seed(3)
    shape = (videos, segments, settings["classes"])
    heard, seen = (torch.rand(shape, generator=draw).lt(0.3).to(dtype) for _ in range(2))
    return torch.maximum(heard, seen).amax(1), heard, seen


def named(output):
    """All tensors of an output of either network, by name."""
    names = ("frame_logits", "video_prob", "audio_prob", "visual_prob")
    found = {name: getattr(output, name) for name in names}
    maps = output.maps if hasattr(output, "maps") else output.cooccurrence
    found |= dict(zip(("aa", "av", "vv", "va"), maps, strict=True))
    for name in ("holistic", "reconstructed", "decoupled"):
        for modality, tensor in zip(("audio", "visual"), getattr(output, name), strict=True):
            found[f"{name} {modality}"] = tensor
    return found


@pytest.mark.parametrize("case", CASES)
def test_outputs_losses_and_gradients(loop, case):
    settings, videos, segments, audio_rows, frame_rows, dtype = CASES[case]
    theirs, ours = pair(loop, settings, dtype=dtype)
    inputs = inputs_of(settings, videos, segments, audio_rows, frame_rows, dtype)
    again = [x.detach().clone().requires_grad_() for x in inputs]
    labels = labels_of(settings, videos, segments, dtype)
    near, near_gradient, share = (1e-5, 1e-4, 1e-2) if dtype == torch.float32 else (1e-6, 1e-7, 1e-5)

    expected, output = theirs(*inputs), ours(*again)
    for name, tensor in named(expected).items():
        assert named(output)[name].shape == tensor.shape, name
        assert (named(output)[name] - tensor).abs().max() <= near, name

    expected_losses, losses = loop.loop_losses(expected, *labels), mmcse_loss(output, *labels)
    assert losses.keys() == expected_losses.keys()
    for name, loss in expected_losses.items():
        assert abs(losses[name] - loss) <= near, name

    expected_losses["total"].backward()
    losses["total"].backward()
    for name, x, y in zip(("audio", "frames", "clips"), inputs, again, strict=True):
        assert_gradient(name, y.grad, x.grad, near_gradient, share)
    # Ours may lay its weights out as it likes: loading the gradients like weights tells where each belongs.
    gradients = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in theirs.named_parameters()
    }
    placed = load_official(gradients, heads=settings["heads"]).to(dtype)
    compared = 0
    for (name, weight), expected_gradient in zip(ours.named_parameters(), placed.parameters(), strict=True):
        if weight.grad is None:
            assert not expected_gradient.any(), name
        else:
            assert_gradient(name, weight.grad, expected_gradient, near_gradient, share)
            compared += weight.numel()
    assert compared == sum(w.numel() for n, w in theirs.named_parameters() if "final_norm" not in n)


def assert_gradient(name, ours, expected, near, share):
    """Within ``near`` outright, and within a share of the largest too, so that gradients that are all small count."""
    worst = (ours - expected).abs().max()
    assert worst <= near, name
    assert worst <= share * expected.abs().max(), name


@pytest.mark.parametrize("case", ["paper", "7 classes, 5 segments", "CLAP map", "8 ResNet frames a segment"])
def test_inference(loop, case):
    settings, videos, segments, audio_rows, frame_rows, dtype = CASES[case]
    theirs, ours = pair(loop, settings, dropout=0.1)
    inputs = inputs_of(settings, videos, segments, audio_rows, frame_rows, dtype)
    with torch.inference_mode():
        expected, output = theirs.eval()(*inputs), ours.eval()(*inputs)
    for name, tensor in named(expected).items():
        assert (named(output)[name] - tensor).abs().max() <= 1e-5, name


def test_official_names_lead_there_and_back(loop):
    theirs, ours = pair(loop, SMALL)
    expected, found = theirs.state_dict(), official_state(ours)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


def test_number_of_weights(loop):
    theirs, ours = pair(loop, PAPER)
    idle = ("a_recon", "v_recon", "av_enhance.final_norm")
    assert sum(w.numel() for w in theirs.parameters()) == 6_160_845
    assert sum(w.numel() for n, w in theirs.named_parameters() if not n.startswith(idle)) == 4_324_301
    assert sum(w.numel() for w in ours.parameters()) == 6_160_845
    output = ours(*inputs_of(PAPER, 1, 2, 2, 2), reconstruct=False)
    (output.frame_logits.sum() + output.video_prob.sum()).backward()
    assert sum(w.numel() for w in ours.parameters() if w.grad is not None) == 4_324_301


def test_layers_of_a_fresh_network_are_equal_copies(loop):
    for first, *others in (loop.MMCSELoop(**SMALL).av_enhance.layers, ParsingModel(**SMALL).fgse.layers):
        for other in others:
            assert all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("part", ["decoupling", "enhancement", "both"])
def test_dropout_has_the_same_mean_and_spread(loop, part):
    """One video many times over: each copy draws its own dropout."""
    settings, copies = SMALL | {"layers": 1}, 600
    theirs, ours = pair(loop, settings, dropout=0.3, shake=0.1)
    if part == "decoupling":
        theirs.av_enhance.eval()
        ours.fgse.eval()
    elif part == "enhancement":
        theirs.eval().av_enhance.train()
        ours.eval().fgse.train()
    inputs = [x.detach().expand(copies, -1, -1) for x in inputs_of(settings, 1, 4, 4, 4)]
    torch.manual_seed(5)
    with torch.no_grad():
        expected, output = (named(network(*inputs)) for network in (theirs, ours))
    varied = set()
    for name, tensor in expected.items():
        spread, ours_spread = tensor.std(0), output[name].std(0)
        error = ((spread**2 + ours_spread**2) / copies).sqrt()
        assert ((tensor.mean(0) - output[name].mean(0)).abs() <= 5.5 * error + 1e-6).all(), name
        assert float(ours_spread.mean()) == pytest.approx(float(spread.mean()), rel=0.07, abs=1e-6), name
        varied |= {name} if spread.mean() > 1e-4 else set()
    assert {"frame_logits", "aa", "vv"} <= varied
    assert ("decoupled visual" in varied) == (part != "enhancement")
