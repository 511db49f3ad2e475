"""The teachers give what the networks give that they are made of, and refuse what they cannot trust."""

import json
import os
import pickle
import shutil
import sys

import numpy as np
import pytest
import torch
from tiny_teachers import CLIP, MEAN, STD, write_clap_teacher, write_clip_teacher

from mediakit.encoders.backbones import import_torchvision
from mediakit.errors import MediakitError, MissingPackageError, WeightsError
from mediakit.parsing.pseudo_labels import teacher_files
from mediakit.parsing.pseudo_labels.recipe import similarity
from mediakit.parsing.pseudo_labels.zero_shot import ClapTeacher, ClipTeacher

SENTENCES = ["a photo of a dog.", "a photo of a blender.", "this is a sound of rain"]


def package(name: str):
    import_torchvision()
    return pytest.importorskip(name, reason=f"{name} is not installed (extra pseudo)")


@pytest.fixture(scope="module")
def open_clip():
    return package("open_clip")


@pytest.fixture(scope="module")
def transformers():
    return package("transformers")


@pytest.fixture(scope="module")
def clip_folder(open_clip, tmp_path_factory):
    return write_clip_teacher(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module", params=[True, False], ids=["fusion", "plain"])
def clap_folder(transformers, tmp_path_factory, request):
    return write_clap_teacher(tmp_path_factory.mktemp("models") / "clap", fusion=request.param)


@pytest.fixture(scope="module")
def fused_folder(transformers, tmp_path_factory):
    return write_clap_teacher(tmp_path_factory.mktemp("models") / "clap")


def pictures(count: int, height: int = 32, width: int = 32) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (1, count, 3, height, width), dtype=torch.uint8, generator=draw)


def noise(seconds: float, rate: int = 48_000) -> torch.Tensor:
    return 0.2 * torch.randn(1, round(seconds * rate), generator=torch.Generator().manual_seed(2))


def test_clip_gives_the_logits_of_its_network(open_clip, clip_folder):
    from safetensors.torch import load_file

    teacher = ClipTeacher(str(clip_folder))
    found = similarity(teacher(pictures(5)), teacher.embed_text(SENTENCES), teacher.scale, teacher.bias)
    # pictures of the network's own size need no resizing
    network = open_clip.CLIP(**CLIP).eval()
    network.load_state_dict(load_file(clip_folder / "open_clip_model.safetensors"))
    pixels = (pictures(5)[0].permute(0, 2, 3, 1).numpy() / 255.0 - np.array(MEAN)) / np.array(STD)
    with torch.no_grad():
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        logits, _ = network.get_logits(images, open_clip.tokenize(SENTENCES))
    torch.testing.assert_close(found[0], logits, rtol=0, atol=1e-4)
    assert found.std() > 0.1
    assert teacher.scale == pytest.approx(1 / 0.07)


def test_clip_sees_the_sides_of_a_wide_picture(clip_folder):
    teacher = ClipTeacher(str(clip_folder))
    wide = pictures(1, 32, 128)
    other = wide.clone()
    other[..., :40] = 255  # outside of the square in the middle
    assert (teacher(wide) - teacher(other)).abs().max() > 0.01


def test_clip_by_name_with_a_local_file(open_clip, clip_folder, tmp_path):
    (tmp_path / "tiny-vit.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(tmp_path / "tiny-vit.json")
    state = ClipTeacher(str(clip_folder)).network.state_dict()
    torch.save(state, tmp_path / "weights.pt")
    named = ClipTeacher("tiny-vit", str(tmp_path / "weights.pt"))
    assert named.card()["sha256"] == ClipTeacher(str(clip_folder)).card()["sha256"]
    assert named.card()["name"] == "ClipTeacher(tiny-vit)"
    assert named.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))  # OpenAI's, where nothing says otherwise
    state.popitem()
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match=r"weights.pt: does not fit CLIP tiny-vit: 1 missing"):
        ClipTeacher("tiny-vit", str(tmp_path / "weights.pt"))
    with pytest.raises(MediakitError, match="tiny-vit needs weights: a local file or a tag"):
        ClipTeacher("tiny-vit")
    with pytest.raises(MediakitError, match=r"'tiny-vti' is neither a folder nor a model of open_clip. See: tiny-vit"):
        ClipTeacher("tiny-vti", "openai")
    with pytest.raises(WeightsError, match=r"has no weights 'openai'. Take a local file or one of \(none\)"):
        ClipTeacher("tiny-vit", "openai")


def test_clap_gives_the_logits_of_its_network(transformers, clap_folder):
    teacher = ClapTeacher(str(clap_folder))
    sound = noise(3.0)
    found = similarity(teacher(sound), teacher.embed_text(SENTENCES), teacher.scale, teacher.bias)
    network = transformers.ClapModel.from_pretrained(clap_folder).eval()
    processor = transformers.ClapProcessor.from_pretrained(clap_folder)
    seconds = list(sound.reshape(3, 48_000).numpy())
    heard = processor.feature_extractor(seconds, sampling_rate=48_000, return_tensors="pt")
    words = processor.tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = network(
            input_ids=words["input_ids"],
            attention_mask=words["attention_mask"],
            input_features=heard["input_features"].float(),
            is_longer=torch.zeros(3, 1, dtype=torch.bool),
        ).logits_per_audio
    torch.testing.assert_close(found[0], logits, rtol=0, atol=1e-4)
    assert found.std() > 0.01


def test_clap_hears_each_second_alone_and_nothing_by_chance(clap_folder):
    teacher = ClapTeacher(str(clap_folder))
    sound = noise(3.0)
    whole = teacher(sound)
    np.random.seed(0)  # noqa: NPY002  # the generator that the feature extractor draws from
    torch.testing.assert_close(teacher(sound), whole, rtol=0, atol=0)
    torch.testing.assert_close(teacher(sound[:, 48_000:96_000])[0, 0], whole[0, 1], rtol=0, atol=1e-5)
    torch.testing.assert_close(whole.norm(dim=-1), torch.ones(1, 3))
    assert (whole[0, 0] - whole[0, 1]).abs().max() > 1e-4


def test_clap_counts_seconds_as_the_encoders_do(fused_folder):
    teacher = ClapTeacher(str(fused_folder))
    for length, count in ((0.5, 1), (1.0, 1), (1.04, 1), (1.2, 2), (2.0, 2)):
        assert teacher(noise(length)).shape == (1, count, 16)
    filled = torch.cat([noise(0.5), torch.zeros(1, 24_000)], dim=1)
    torch.testing.assert_close(teacher(noise(0.5)), teacher(filled))
    with pytest.raises(ValueError, match=r"must be \(B, N >= 1\)"):
        teacher(torch.zeros(48_000))
    with pytest.raises(ValueError, match="float in"):
        teacher(1000 * noise(1.0))


def test_clap_from_plain_tensors(fused_folder, tmp_path):
    from safetensors.torch import load_file

    folder = tmp_path / "clap"
    shutil.copytree(fused_folder, folder)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"holds none of model.safetensors, pytorch_model.bin"):
        ClapTeacher(str(folder))
    torch.save(state, folder / "pytorch_model.bin")
    assert ClapTeacher(str(folder)).card() == ClapTeacher(str(fused_folder)).card()
    torch.save(
        {name: tensor for name, tensor in state.items() if name != "logit_scale_a"}, folder / "pytorch_model.bin"
    )
    with pytest.raises(WeightsError, match=r"1 tensors are missing or of another shape \(logit_scale_a\)"):
        ClapTeacher(str(folder))
    torch.save(state | {"logit_scale_a": torch.zeros(3)}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"1 tensors are missing or of another shape \(logit_scale_a\)"):
        ClapTeacher(str(folder))
    for name in ("processor_config.json", "preprocessor_config.json"):  # of transformers 5 and 4
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(WeightsError, match="clap cannot be loaded"):
        ClapTeacher(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"holds no config.json"):
        ClapTeacher(str(folder))


class Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_weights_is_never_run(clip_folder, fused_folder, tmp_path):
    shutil.copytree(fused_folder, tmp_path / "clap", ignore=lambda *_: ["model.safetensors"])
    shutil.copytree(clip_folder, tmp_path / "clip", ignore=lambda *_: ["open_clip_model.safetensors"])
    for name in ("clap/pytorch_model.bin", "clip/open_clip_pytorch_model.bin"):
        (tmp_path / name).write_bytes(pickle.dumps({"logit_scale": Evil(str(tmp_path / "run"))}, protocol=2))
    for teacher, name in ((ClapTeacher, "clap"), (ClipTeacher, "clip")):
        with pytest.raises(WeightsError, match="cannot be read as weights"):
            teacher(str(tmp_path / name))
    assert not (tmp_path / "run").exists()


def test_weights_have_one_source(clip_folder, tmp_path):
    with pytest.raises(MediakitError, match="comes with its weights, so 'openai' has no place"):
        ClipTeacher(str(clip_folder), "openai")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(MediakitError, match=r"holds no open_clip_config.json"):
        ClipTeacher(str(tmp_path))


def test_without_network_the_way_out_is_named(open_clip, transformers, monkeypatch):
    def away(url: str) -> None:
        raise OSError(f"no network for {url.split('/')[2]}")

    monkeypatch.setattr(teacher_files, "reach", away)
    for make in (
        lambda: ClapTeacher("mediakit/no-such-clap"),
        lambda: ClipTeacher("hf-hub:mediakit/no-such-clip"),
        lambda: ClipTeacher("RN50x64-quickgelu", "openai"),
    ):
        with pytest.raises(WeightsError, match=r"cannot be fetched \(no network for [\w.]+\)\. .*--clap-model"):
            make()


@pytest.mark.parametrize("online", [True, False])
def test_published_weights_come_through_the_hub(
    open_clip, transformers, clip_folder, fused_folder, monkeypatch, online
):
    import huggingface_hub

    asked = []

    def reach(url: str) -> None:
        if not online:
            raise OSError("no network")

    def snapshot(repository: str, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.append((repository, allow_patterns[-1], local_files_only))
        return str({"toy/clap": fused_folder, "toy/clip": clip_folder}[repository])

    monkeypatch.setattr(teacher_files, "reach", reach)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    clap = ClapTeacher("toy/clap")
    assert clap.card()["name"] == "ClapTeacher(toy/clap)"
    assert clap.card()["sha256"] == ClapTeacher(str(fused_folder)).card()["sha256"]
    hub = ClipTeacher("hf-hub:toy/clip")
    assert hub.mean == pytest.approx(MEAN)
    assert asked == [
        ("toy/clap", "model.safetensors", not online),
        ("toy/clip", "open_clip_model.safetensors", not online),
    ]
    # a tag of open_clip, which says how its network saw pictures, and that it was trained with another GELU
    monkeypatch.setitem(sys.modules["open_clip.factory"]._MODEL_CONFIGS, "toy-vit", CLIP)
    published = {"hf_hub": "toy/clip/", "mean": MEAN, "std": STD, "quick_gelu": True}
    monkeypatch.setitem(sys.modules["open_clip.pretrained"]._PRETRAINED, "toy-vit", {"toy": published})
    tagged = ClipTeacher("toy-vit", "toy")
    assert (tagged.card()["quick_gelu"], hub.card()["quick_gelu"]) == (True, False)
    assert tagged.card() == hub.card() | {"name": "ClipTeacher(toy-vit)", "weights": "toy", "quick_gelu": True}
    assert (tagged(pictures(1)) - hub(pictures(1))).abs().max() > 1e-5


@pytest.mark.parametrize(("teacher", "module"), [(ClipTeacher, "open_clip"), (ClapTeacher, "transformers")])
def test_a_missing_package_is_named(teacher, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=rf"package '{module}'.*pip install \"mediakit\[pseudo\]\""):
        teacher()
