"""Log-mel against librosa, and the sound encoder against timm and its own definition."""

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mediakit.encoders import AudioEncoder, log_mel, mel_power
from mediakit.encoders.audio import power_to_db
from mediakit.encoders.backbones import import_timm
from mediakit.errors import WeightsError
from mediakit.io import Audio

RATE = 16000
SETTINGS = [
    {},
    {"rate": 22050, "n_fft": 2048, "hop_length": 512, "n_mels": 64, "fmin": 50.0, "fmax": 8000.0},
    {"n_fft": 400, "hop_length": 100, "n_mels": 40, "power": 1.0},
]


def noise(*shape, seed=0, level=0.1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * level


def tone(frequency, seconds=1.0, rate=RATE):
    return 0.5 * torch.sin(2 * torch.pi * frequency * torch.arange(int(seconds * rate)) / rate)


def reference(waveform, rate=RATE, n_fft=1024, hop_length=160, **settings):
    mel = librosa.feature.melspectrogram(
        y=waveform.numpy(), sr=rate, n_fft=n_fft, hop_length=hop_length, **({"n_mels": 128} | settings)
    )
    return torch.from_numpy(mel)


def worst(ours, theirs):
    assert ours.shape == theirs.shape
    return ((ours - theirs).abs() / theirs.amax(-2, keepdim=True).clamp(min=1e-20)).max().item()


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    "waveform",
    [
        noise(16000),
        noise(2, 3, 5003),
        noise(16000, level=1e-4),
        tone(440),
        tone(5500),
        tone(30) + tone(3000),
        noise(100),
    ],
    ids=["noise", "batch", "quiet", "a4", "high", "two", "short"],
)
def test_mel_power_is_librosas(waveform, settings):
    assert worst(mel_power(waveform, **settings), reference(waveform, **settings)) < 1e-4


@pytest.mark.filterwarnings("ignore::DeprecationWarning:audioread.*")
def test_mel_power_is_librosas_on_real_sound(shared_data):
    for path in sorted((shared_data / "esc10").glob("*/*.ogg"))[::15]:
        waveform = torch.from_numpy(librosa.load(path, sr=RATE)[0])
        assert worst(mel_power(waveform), reference(waveform)) < 1e-4


@pytest.mark.parametrize("top_db", [None, 60.0])
def test_decibels_are_librosas(top_db):
    power = torch.tensor([[0.0, 1e-12, 1e-10, 3e-5], [0.5, 1.0, 2.0, 1e4]])
    for ref in (1.0, 0.02):
        expected = librosa.power_to_db(power.numpy(), ref=ref, amin=1e-10, top_db=top_db)
        assert np.allclose(power_to_db(power, ref=ref, top_db=top_db).numpy(), expected, atol=1e-4)


def test_silence_is_the_floor_and_loudness_shifts():
    assert torch.equal(log_mel(torch.zeros(4000)), torch.full((128, 26), -100.0))
    loud, quiet = log_mel(noise(8000, level=0.5)), log_mel(noise(8000, level=0.05))
    assert torch.allclose(loud - quiet, torch.tensor(20.0), atol=1e-2)


def test_frame_is_centred_on_its_hop():
    click = torch.zeros(4000)
    click[1600] = 1.0
    assert mel_power(click).sum(0).argmax() == 10


def test_gradient_is_exact():
    waveform = noise(80).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mel_power(x, n_fft=32, hop_length=16, n_mels=4), waveform)
    silent = torch.zeros(2000, requires_grad=True)
    log_mel(silent).sum().backward()
    assert torch.equal(silent.grad, torch.zeros(2000))


def test_autocast_changes_nothing():
    waveform = noise(2, 4000)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = log_mel(waveform)
    assert torch.equal(mixed, log_mel(waveform))


@pytest.mark.parametrize("waveform", [torch.zeros(2, 0), torch.zeros(3, dtype=torch.int16), torch.tensor(0.0)])
def test_bad_waveforms(waveform):
    with pytest.raises(ValueError, match="waveform must be"):
        mel_power(waveform)


@pytest.fixture(scope="module")
def encoder():
    return AudioEncoder("test_resnet")


@pytest.mark.parametrize(
    ("samples", "count"), [(1, 1), (700, 1), (16000, 1), (16800, 1), (16801, 2), (80016, 5), (160000, 10)]
)
def test_one_vector_per_begun_segment(encoder, samples, count):
    assert encoder(noise(1, samples)).shape == (1, count, encoder.dim)


def test_a_short_remainder_is_heard_only_by_the_windows_that_reach_it(encoder):
    waveform = noise(1, 16500)
    expected = (log_mel(waveform)[..., :100] + 27.2) / 22.4
    assert torch.allclose(encoder.images(waveform)[:, 0, 0], expected.transpose(1, 2), atol=1e-6)


def test_segments_are_slices_of_one_spectrogram(encoder):
    waveform = noise(2, 40000)
    padded = torch.cat([waveform, torch.zeros(2, 8000)], dim=1)
    images = encoder.images(waveform)
    assert images.shape == (2, 3, 1, 100, 128)
    whole = (log_mel(padded)[..., :300] + 27.2) / 22.4
    assert torch.allclose(images, whole.transpose(1, 2).reshape(2, 3, 1, 100, 128), atol=1e-6)


def test_segments_of_no_whole_hops_stay_in_place():
    encoder = AudioEncoder("test_resnet", rate=22050, segment=0.1)  # 13.78 hops
    clicks = torch.zeros(1, 2205 * 60)
    clicks[0, 2205 // 2 :: 2205] = 1.0
    images = encoder.images(clicks)
    assert images.shape == (1, 60, 1, 14, 128)
    assert set(images.sum(-1).squeeze().argmax(-1).tolist()) <= {6, 7}


def test_features_are_timms(encoder):
    timm = import_timm()
    network = timm.create_model("test_resnet", in_chans=1, num_classes=0).eval()
    network.load_state_dict(encoder.backbone.state_dict())
    images = encoder.images(noise(2, 32000))
    expected = torch.stack([network(images[:, t]) for t in range(2)], dim=1)
    assert torch.allclose(encoder(noise(2, 32000)), expected, atol=1e-5)


def test_items_do_not_meet(encoder):
    a, b = noise(1, 32000, seed=1), noise(1, 32000, seed=2, level=1.0)
    both = encoder(torch.cat([a, b]))
    assert torch.allclose(both, torch.cat([encoder(a), encoder(b)]), atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-2)


def test_fixed_size_network_sees_the_resized_spectrogram():
    encoder = AudioEncoder("test_vit", segment=2.0)
    seen = []
    encoder.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    images = torch.linspace(-1, 1, 200).view(1, 1, 1, 200, 1).expand(1, 1, 1, 200, 128)
    encoder.images = lambda waveform: images
    assert encoder(noise(1, 32000)).shape == (1, 1, encoder.dim)
    assert seen[0].shape == (1, 1, 160, 160)
    inner = seen[0][0, 0, 2:-2]  # a ramp along time stays one, sampled at the centres; constant along the mels
    ramp = ((torch.arange(160) + 0.5) * 200 / 160 - 0.5) / 199 * 2 - 1
    assert torch.allclose(inner, ramp[2:-2, None].expand_as(inner), atol=2e-3)


def test_frozen_lets_only_the_input_learn(encoder):
    waveform = noise(1, 16000).requires_grad_()
    encoder(waveform).sum().backward()
    assert waveform.grad.abs().sum() > 0
    assert all(p.grad is None for p in encoder.parameters())
    trainable = AudioEncoder("test_resnet", frozen=False)
    trainable(noise(2, 16000)).sum().backward()
    assert all(p.grad is not None for p in trainable.parameters())


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_round_trip_through_a_file(tmp_path, ending, encoder):
    source = AudioEncoder("test_resnet", seed=5)
    path = tmp_path / f"sound.{ending}"
    save_file(source.state_dict(), path) if ending == "safetensors" else torch.save(source.state_dict(), path)
    loaded = AudioEncoder("test_resnet", weights=str(path))
    assert torch.equal(loaded(noise(1, 16000)), source(noise(1, 16000)))
    assert loaded.card() == source.card() | {"weights": f"sound.{ending}", "seed": None}
    assert loaded.card()["sha256"] != encoder.card()["sha256"]


def test_picture_weights_with_their_head_fit_one_channel(tmp_path):
    timm = import_timm()
    pictures = timm.create_model("test_resnet").eval()
    torch.save({"model": pictures.state_dict()}, tmp_path / "pictures.pth")
    encoder = AudioEncoder("test_resnet", weights=str(tmp_path / "pictures.pth"))
    images = encoder.images(noise(1, 16000))[:, 0]
    expected = pictures.forward_head(pictures.forward_features(images.expand(-1, 3, -1, -1)), pre_logits=True)
    assert torch.allclose(encoder(noise(1, 16000))[:, 0], expected, atol=1e-5)


def test_errors(tmp_path, encoder):
    save_file(encoder.state_dict(), tmp_path / "resnet.safetensors")
    with pytest.raises(WeightsError, match=r"resnet.safetensors: does not fit test_vit: \d+ missing"):
        AudioEncoder("test_vit", weights=str(tmp_path / "resnet.safetensors"))
    with pytest.raises(ValueError, match="shorter than one frame"):
        AudioEncoder("test_resnet", segment=0.005)
    for bad in (torch.zeros(16000), torch.zeros(1, 2, 16000), torch.zeros(1, 0)):
        with pytest.raises(ValueError, match=r"waveform \(B, N >= 1\)"):
            encoder(bad)
    with pytest.raises(
        ValueError, match=r"not Audio; pass audio.waveform of read_audio\(..., rate=16000, channels=1\)"
    ):
        encoder(Audio(torch.zeros(1, 16000), 16000, 0.0))
    hole = noise(1, 16000)
    hole[0, 7] = torch.nan
    for bad in (noise(1, 16000, level=30000.0), hole, torch.ones(1, 16000, dtype=torch.int16)):
        with pytest.raises(ValueError, match=r"float samples in \[-1, 1\].*waveform / 32768"):
            encoder(bad)


def test_decoded_sound_may_overshoot_and_export_works(encoder):
    waveform = noise(1, 32000).clamp(-1, 1) * 2
    exported = torch.export.export(encoder, (waveform,)).module()
    assert torch.allclose(exported(waveform), encoder(waveform), atol=1e-5)


@pytest.mark.slow
def test_default_normalisation_is_that_of_esc10(shared_data):
    decibels = torch.cat(
        [
            log_mel(torch.from_numpy(librosa.load(path, sr=RATE)[0])).flatten()
            for path in sorted((shared_data / "esc10").glob("*/*.ogg"))
        ]
    ).double()
    heard = decibels[decibels > -99.9]
    assert heard.mean() == pytest.approx(-27.2, abs=0.05)
    assert heard.std() == pytest.approx(22.4, abs=0.05)


@pytest.mark.slow
def test_audiomae_takes_ten_seconds_at_once():
    encoder = AudioEncoder("vit_base_patch16_1024_128", segment=10.0)
    assert encoder(noise(1, 160000)).shape == (1, 1, 768)
