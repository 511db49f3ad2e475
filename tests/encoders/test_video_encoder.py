"""Frame and clip encoders against Pillow, timm and torchvision's own preprocessing."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mediakit.encoders import ClipEncoder, FrameEncoder
from mediakit.encoders.backbones import import_timm, import_torchvision
from mediakit.encoders.video import resize_frames, unit_range


def frames(*shape, seed=0):
    """Smooth random pictures, so that resizing is not all noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(int(np.prod(shape[:-2])), 1, 6, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, shape[-2:], mode="bicubic").clamp(0, 1)
    return (smooth * 255).round().to(torch.uint8).reshape(shape)


@pytest.fixture(scope="module")
def encoder():
    return FrameEncoder("test_resnet")


@pytest.fixture(scope="module")
def clip_encoder():
    return ClipEncoder("mc3_18", frames_per_clip=4)


@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90), (64, 64), (20, 31), (48, 48)])
def test_resizing_is_pillows(height, width):
    picture = frames(1, 3, height, width) // 2 + 64  # Pillow clips between its two passes, so keep away from the ends
    image = Image.fromarray(picture[0].permute(1, 2, 0).numpy())
    short = min(height, width)
    wide, tall = 48 * width // short, 48 * height // short
    left, top = round((wide - 48) / 2), round((tall - 48) / 2)
    box = (left, top, left + 48, top + 48)
    for mode, expected in {
        "squash": image.resize((48, 48), Image.BICUBIC),
        "shortest": image.resize((wide, tall), Image.BICUBIC).crop(box),
    }.items():
        ours = resize_frames(unit_range(picture), 48, mode)[0].permute(1, 2, 0) * 255
        assert np.abs(ours.numpy() - np.asarray(expected)).max() < 1.15  # Pillow rounds twice


def test_overshoot_is_clipped():
    edge = torch.zeros(1, 3, 64, 64)
    edge[..., 32:] = 1.0
    for size in (40, 100):
        resized = resize_frames(edge, size)
        assert resized.min() == 0.0
        assert resized.max() == 1.0


def test_features_are_timms_on_its_own_normalisation(encoder):
    timm = import_timm()
    network = timm.create_model("test_resnet", num_classes=0).eval()
    network.load_state_dict(encoder.backbone.state_dict())
    config = timm.data.resolve_model_data_config(network)
    picture = frames(1, 2, 3, 160, 160)  # the network's own size: nothing to resize
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    expected = network((picture[0] / 255 - mean) / std)
    found = encoder(picture)
    assert found.shape == (1, 2, encoder.dim)
    assert torch.allclose(found[0], expected, atol=1e-5)


def test_bytes_and_floats_agree(encoder):
    picture = frames(1, 2, 3, 50, 70)
    assert torch.equal(encoder(picture), encoder(picture / 255))


def test_items_do_not_meet_and_chunks_change_nothing(encoder):
    both = frames(2, 5, 3, 60, 80)
    features = encoder(both)
    assert torch.allclose(features, torch.cat([encoder(both[:1]), encoder(both[1:])]), atol=1e-5)
    in_chunks = FrameEncoder("test_resnet", chunk=3)
    sizes = []
    in_chunks.backbone.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    assert torch.allclose(in_chunks(both), features, atol=1e-5)
    assert sizes == [3, 3, 3, 1]


def test_training_sees_all_frames_at_once():
    encoder = FrameEncoder("test_resnet", frozen=False, chunk=2)
    sizes = []
    encoder.backbone.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    encoder(frames(1, 5, 3, 40, 40)).sum().backward()
    assert sizes == [5]


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_size_and_default_size(model):
    seen = []
    for size in (None, 96):
        encoder = FrameEncoder(model, size=size)
        encoder.backbone.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape)))
        encoder(frames(1, 1, 3, 40, 60))
    assert seen == [(1, 3, 160, 160), (1, 3, 96, 96)]


def test_clip_tower_gives_the_embedding_shared_with_text():
    encoder = FrameEncoder("vit_xsmall_patch16_clip_224.tinyclip_yfcc15m", resize="shortest", projection=True)
    assert encoder(frames(1, 1, 3, 90, 160)).shape == (1, 1, encoder.dim) == (1, 1, 512)
    assert encoder.card()["name"] == "FrameEncoder(vit_xsmall_patch16_clip_224.tinyclip_yfcc15m)"


def test_round_trip_through_a_file(tmp_path):
    source = FrameEncoder("test_vit", seed=2)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    loaded = FrameEncoder("test_vit", weights=str(tmp_path / "w.safetensors"))
    assert loaded.card()["sha256"] == source.card()["sha256"]


def test_clip_preprocessing_is_torchvisions(clip_encoder):
    preset = import_torchvision().models.get_model_weights("r2plus1d_18").KINETICS400_V1.transforms()
    clip = frames(2, 4, 3, 90, 160)
    ours = clip_encoder.clips(clip)
    assert ours.shape == (2, 3, 4, 112, 112)
    assert (ours - preset(clip)).abs().max() < 0.51 / 255 / 0.216  # the preset rounds to bytes in between


def test_a_short_last_clip_repeats_its_last_frame(clip_encoder):
    video = frames(1, 5, 3, 32, 40)
    filled = torch.cat([video, video[:, -1:].expand(-1, 3, -1, -1, -1)], dim=1)
    features = clip_encoder(video)
    assert features.shape == (1, 2, 512)
    assert torch.equal(features, clip_encoder(filled))
    assert torch.allclose(features[:, :1], clip_encoder(video[:, :4]), atol=1e-5)


def test_clips_do_not_meet(clip_encoder):
    both = frames(2, 4, 3, 32, 40)
    expected = torch.cat([clip_encoder(both[:1]), clip_encoder(both[1:])])
    assert torch.allclose(clip_encoder(both), expected, atol=1e-5)
    clip_encoder.chunk = 1
    assert torch.allclose(clip_encoder(both), expected, atol=1e-5)


def test_clips_see_motion(clip_encoder):
    video = frames(1, 4, 3, 32, 40)
    assert not torch.allclose(clip_encoder(video), clip_encoder(video.flip(1)), atol=1e-4)


def test_r2plus1d_is_the_default():
    encoder = ClipEncoder(frames_per_clip=2)
    assert encoder(frames(1, 3, 3, 16, 16)).shape == (1, 2, 512)
    assert sum(p.numel() for p in encoder.parameters()) == 31_505_325 - (
        512 * 400 + 400
    )  # torchvision's, less its head


def test_export_works_on_floats(encoder):
    picture = frames(1, 2, 3, 40, 50) / 255
    exported = torch.export.export(encoder, (picture,)).module()
    assert torch.allclose(exported(picture), encoder(picture), atol=1e-5)


def test_errors(encoder, clip_encoder):
    for wrong in (torch.zeros(2, 3, 8, 8), torch.zeros(1, 2, 1, 8, 8), torch.zeros(1, 0, 3, 8, 8)):
        with pytest.raises(ValueError, match=r"FrameEncoder takes frames \(B, T >= 1, 3, H, W\)"):
            encoder(wrong)
        with pytest.raises(ValueError, match="ClipEncoder takes frames"):
            clip_encoder(wrong)
    with pytest.raises(ValueError, match="uint8 or float"):
        encoder(torch.zeros(1, 1, 3, 8, 8, dtype=torch.int64))
    nan = torch.full((1, 4, 3, 8, 8), torch.nan)
    for wrong in (torch.rand(1, 4, 3, 8, 8) * 255, torch.rand(1, 4, 3, 8, 8) * 2 - 1, nan):
        for network in (encoder, clip_encoder):
            with pytest.raises(ValueError, match=r"float frames must be in \[0, 1\]; uint8 in 0..255"):
                network(wrong)
    with pytest.raises(ValueError, match="'squash' or 'shortest'"):
        FrameEncoder("test_resnet", resize="longest")
