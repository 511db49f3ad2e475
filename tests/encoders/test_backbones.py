"""Networks by name: the torchvision shim, seeds, published weights from a cache, and failing fast without a network."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from safetensors.torch import save_file

from mediakit.encoders import backbones
from mediakit.encoders.backbones import create_image_backbone, create_video_backbone
from mediakit.encoders.identity import weight_hash
from mediakit.errors import MediakitError, WeightsError


def python(code, **environment):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_importing_the_encoders_is_light():
    modules = "audio, backbones, identity, video, weight_files"
    loaded = python(f"import sys; from mediakit.encoders import {modules}; print(*sys.modules)").split()
    assert "mediakit.encoders.video" in loaded
    assert not {"timm", "torchvision", "librosa", "huggingface_hub"} & set(loaded)


def test_torchvision_imports_plainly_after_the_shim():
    code = (
        "from mediakit.encoders.backbones import import_timm as f; f(); import torchvision, timm; print(timm.__name__)"
    )
    assert python(code) == "timm"


FAKES = {
    "broken": "import torch, torchvision.half\ntorch.library.register_fake('torchvision::nms')(lambda d, s, t: d)\n",
    "healthy": "",
    "other": "raise RuntimeError('compiled with different CUDA major versions')\n",
}


@pytest.mark.parametrize(
    ("kind", "expected"), [("broken", "imported nms True"), ("healthy", "imported nms False"), ("other", "compiled")]
)
def test_shim_only_where_the_operator_is_missing(tmp_path, kind, expected):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(FAKES[kind])
    (package / "half.py").write_text("")
    code = """
import torch
from mediakit.encoders.backbones import import_torchvision
try:
    import_torchvision(), import_torchvision()
    print("imported nms", hasattr(torch.ops.torchvision, "nms"))
except RuntimeError as error:
    print(error)
"""
    assert python(code, PYTHONPATH=str(tmp_path)).startswith(expected)


@pytest.mark.parametrize(("create", "name"), [(create_image_backbone, "test_vit"), (create_video_backbone, "mc3_18")])
def test_seed_is_reproducible_and_alone(create, name):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    first = weight_hash(create(name, seed=4)[0])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(321)
    assert weight_hash(create(name, seed=4)[0]) == first
    assert weight_hash(create(name, seed=5)[0]) != first


@pytest.mark.parametrize(
    "name",
    ["test_resnet", "test_vit", "test_efficientnet", "test_convnext", "mobilenetv3_small_050", "resnet10t.c3_in1k"],
)
def test_dim_and_size_are_true(name):
    network, config = create_image_backbone(name, in_chans=1)
    assert network.eval()(torch.zeros(1, 1, *config.size)).shape == (1, config.dim)


def test_clip_tower_and_its_projection():
    name = "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m"
    network, config = create_image_backbone(name)
    assert (config.dim, config.size, config.fixed_size) == (256, (224, 224), True)
    assert config.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))  # Radford et al., 2021
    projected, wide = create_image_backbone(name, projection=True)
    assert wide.dim == 512
    x = torch.rand(1, 3, 224, 224)
    assert network.eval()(x).shape == (1, 256)
    assert projected.eval()(x).shape == (1, 512)


@pytest.mark.parametrize(("tag", "norm"), [("", "norm"), (".audiomae_as2m_ft_as20k", "fc_norm")])
def test_audiomae_has_its_published_shape(tag, norm):
    network, config = create_image_backbone(f"vit_base_patch16_1024_128{tag}", in_chans=1)
    state = network.state_dict()
    assert state["pos_embed"].shape == (1, 1 + 64 * 8, 768)
    assert state["patch_embed.proj.weight"].shape == (768, 1, 16, 16)
    assert [key for key in state if "norm.weight" in key and "block" not in key] == [f"{norm}.weight"]
    assert (config.dim, config.size, config.fixed_size) == (768, (1024, 128), True)


def test_size_of_a_fixed_network():
    network, config = create_image_backbone("test_vit", size=96)
    assert config.size == (96, 96)
    assert network.eval()(torch.rand(1, 3, 96, 96)).shape == (1, config.dim)


def test_positions_are_resampled_for_another_size(tmp_path):
    source, _ = create_image_backbone("test_vit", seed=1)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    network, _ = create_image_backbone("test_vit", str(tmp_path / "w.safetensors"), size=96)
    assert torch.equal(network.patch_embed.proj.weight, source.patch_embed.proj.weight)
    assert network.pos_embed.shape[1] < source.pos_embed.shape[1]


def test_unknown_names_say_what_exists():
    with pytest.raises(MediakitError, match=r"FrameEncoder: timm has no model 'resnet18x'. See: resnet18,"):
        create_image_backbone("resnet18x", owner="FrameEncoder")
    with pytest.raises(
        WeightsError, match=r"test_resnet has no weights 'imagenet'. Take one of r160_in1k, or a local file"
    ):
        create_image_backbone("test_resnet", "imagenet")
    with pytest.raises(WeightsError, match="has no weights 'a9'"):
        create_image_backbone("resnet18.a9")
    with pytest.raises(MediakitError, match="no video model 's3d'"):
        create_video_backbone("s3d")
    with pytest.raises(WeightsError, match="Take one of KINETICS400_V1"):
        create_video_backbone("r2plus1d_18", "KINETICS600")


@pytest.fixture
def no_network(monkeypatch):
    def refuse(url, seconds=10.0):
        raise urllib.error.URLError(OSError("no network here"))

    monkeypatch.setattr(backbones, "reach", refuse)


@pytest.mark.parametrize("weights", ["pretrained", "r160_in1k", "test_resnet.r160_in1k"])
def test_published_weights_from_the_cache(tmp_path, monkeypatch, no_network, weights):
    timm = backbones.import_timm()
    torch.manual_seed(9)
    source = timm.create_model("test_resnet")
    snapshot = tmp_path / "models--timm--test_resnet.r160_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    save_file(source.state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    network, config = create_image_backbone("test_resnet", weights)
    assert config.weights == "r160_in1k"
    source.reset_classifier(0)
    assert weight_hash(network) == weight_hash(source)


def test_video_weights_from_the_cache(tmp_path, monkeypatch, no_network):
    source, _ = create_video_backbone("mc3_18", seed=3)
    source.fc = torch.nn.Linear(512, 400)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(source.state_dict(), tmp_path / "hub" / "checkpoints" / "mc3_18-a90a0ba3.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network, config = create_video_backbone("mc3_18", "pretrained")
    assert config.weights == "KINETICS400_V1"
    source.fc = torch.nn.Identity()
    assert weight_hash(network) == weight_hash(source)


@pytest.mark.parametrize("create", [create_image_backbone, create_video_backbone])
def test_unreachable_weights_name_the_way_out(tmp_path, monkeypatch, no_network, create):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = "resnet18" if create is create_image_backbone else "r2plus1d_18"
    with pytest.raises(WeightsError) as error:
        create(name, "pretrained", owner="AnEncoder")
    text = str(error.value)
    assert f"AnEncoder: the weights {name}." in text
    assert "no network here" in text
    assert "AnEncoder(..., weights='path/to/file.safetensors')" in text
    assert "command line" in text


def test_any_failure_of_the_downloader_is_one_error(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    timm = backbones.import_timm()
    monkeypatch.setattr(backbones, "reach", lambda url: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(WeightsError, match=r"weights test_resnet.r160_in1k cannot be fetched \(disk full\)"):
        create_image_backbone("test_resnet", "pretrained")


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Missing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.server.asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Missing)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/weights", server.asked
    server.shutdown()
    server.server_close()


def test_a_host_that_answers_is_reached(host):
    url, asked = host
    backbones.reach(url)
    assert asked == ["/weights"]


def test_a_host_that_is_away_or_mute_fails_in_time(host):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        started = time.monotonic()
        with pytest.raises(OSError, match="refused"):
            backbones.reach(f"http://127.0.0.1:{mute.getsockname()[1]}/weights")
        mute.listen()
        with pytest.raises(OSError, match="timed out"):
            backbones.reach(f"http://127.0.0.1:{mute.getsockname()[1]}/weights", seconds=0.2)
        assert time.monotonic() - started < 5.0
