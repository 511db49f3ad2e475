"""`mediakit.io.encode`: what is written is read back by PyAV and libsndfile, and failures leave nothing."""

import os

import av
import numpy as np
import pytest
import soundfile
import torch

from mediakit.errors import MediaError, NoStreamError
from mediakit.io import (
    Audio,
    Frame,
    VideoClip,
    load_video,
    probe,
    read_audio,
    recompress,
    scan_packets,
    write_audio,
    write_video,
)


@pytest.fixture
def images(clip_pixels):
    return torch.from_numpy(clip_pixels(count=12)).permute(0, 3, 1, 2)


@pytest.fixture
def tone():
    """Half a second of stereo at 44.1 kHz."""
    time = torch.arange(22050) / 44100
    return Audio(
        torch.stack([torch.sin(2 * torch.pi * 440 * time), torch.sin(2 * torch.pi * 660 * time)]) / 2, 44100, 0.0
    )


def difference(ours, theirs):
    """Energy of the difference over that of the sound, without a tenth at either end; as amplitude."""
    length = min(ours.shape[-1], theirs.shape[-1])
    inner = slice(length // 10, -length // 10)
    ours, theirs = ours[..., :length][..., inner], theirs[..., :length][..., inner]
    return ((ours - theirs).norm() / theirs.norm()).item()


def decoded(path):
    """Pixels and times by PyAV alone."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        # The argument makes old releases heed the colour matrix that frames are tagged with; new ones do so anyway.
        return np.stack([f.to_ndarray(format="rgb24", dst_colorspace="ITU601") for f in frames]), [
            f.time for f in frames
        ]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi", "ts"])
def test_pictures_come_back(tmp_path, images, suffix):
    path = tmp_path / f"a.{suffix}"
    write_video(path, list(images), 25, crf=8)
    pixels, times = decoded(path)
    assert np.abs(pixels.astype(int) - images.permute(0, 2, 3, 1).numpy()).mean() < 3.5
    assert np.diff(times) == pytest.approx([0.04] * 11, abs=1.1e-3)
    info = probe(path)
    assert info.video[0].fps == pytest.approx(25)
    if suffix in ("mp4", "mov"):
        assert (info.video[0].frames, info.video[0].duration) == (12, pytest.approx(0.48))
        data = path.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")  # players need not fetch the end first


@pytest.mark.parametrize(
    ("height", "width", "space"), [(64, 96, "smpte170m"), (720, 1280, "bt709"), (720, 960, "bt709")]
)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p10le"])
def test_saturated_colours_come_back(tmp_path, height, width, space, pix_fmt):
    """With the wrong matrix, these come back wrong by up to 40 levels."""
    colours = [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 0),
        (0, 255, 255),
        (255, 0, 255),
        (255, 255, 255),
        (0, 0, 0),
    ]
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    side = width // len(colours)
    for n, colour in enumerate(colours):
        image[:, :, n * side : (n + 1) * side] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    path = tmp_path / "a.mp4"
    write_video(path, [image], 25, crf=1, pix_fmt=pix_fmt, preset="ultrafast")
    pixels, _ = decoded(path)
    for n, colour in enumerate(colours):
        centre = pixels[0, height // 2, n * side + side // 2].astype(int)
        assert np.abs(centre - colour).max() <= 3, (colour, centre)
    assert probe(path).video[0].color_space == space


@pytest.mark.parametrize(("height", "width"), [(33, 48), (32, 47), (1, 1)])
def test_odd_sizes_are_kept(tmp_path, clip_pixels, height, width):
    pixels = clip_pixels(count=3, height=height, width=width)
    write_video(tmp_path / "a.mp4", list(torch.from_numpy(pixels).permute(0, 3, 1, 2)), 25, crf=1)
    assert np.abs(decoded(tmp_path / "a.mp4")[0].astype(int) - pixels).mean() < 2
    assert probe(tmp_path / "a.mp4").video[0].pix_fmt == "yuv444p"


def test_lossless_encoders_are_lossless(tmp_path, images):
    write_video(tmp_path / "a.mkv", list(images), 25, codec="ffv1", pix_fmt="bgr0")
    assert np.array_equal(decoded(tmp_path / "a.mkv")[0], images.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_own_times_are_kept(tmp_path, images, suffix):
    times = [0.0, 0.04, 0.2, 0.21, 0.5, 0.9, 1.0, 1.01, 1.02, 1.5, 2.0, 2.25]
    frames = [Frame(n, time, image) for n, (time, image) in enumerate(zip(times, images, strict=True))]
    write_video(tmp_path / f"a.{suffix}", frames, None)
    assert decoded(tmp_path / f"a.{suffix}")[1] == pytest.approx(times, abs=6e-4 if suffix == "mkv" else 6e-6)
    assert scan_packets(tmp_path / f"a.{suffix}").variable_frame_rate


def test_the_last_frame_of_its_own_time_lasts_as_long_as_the_others(tmp_path, images):
    frames = [Frame(n, n / 8, image) for n, image in enumerate(images)]
    write_video(tmp_path / "a.mp4", frames, None, average_rate=8)
    assert probe(tmp_path / "a.mp4").video[0].duration == pytest.approx(1.5)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_pixels_that_are_not_square_and_tags(tmp_path, images, suffix):
    path = tmp_path / f"a.{suffix}"
    write_video(path, list(images), 25, pixel_aspect=16 / 15, metadata={"title": "Straße", "comment": "guessed"})
    with av.open(str(path)) as container:
        assert float(container.streams.video[0].sample_aspect_ratio) == pytest.approx(16 / 15)
        tags = {name.lower(): text for name, text in container.metadata.items()}
    assert (tags["title"], tags["comment"]) == ("Straße", "guessed")
    assert probe(path).video[0].sample_aspect_ratio == pytest.approx(16 / 15)


@pytest.mark.parametrize("fps", [None, 10])
def test_a_clip_is_written_with_its_own_times_or_a_rate(tmp_path, images, fps):
    times = torch.tensor([0.0, 0.04, 0.2, 0.5], dtype=torch.float64)
    write_video(tmp_path / "a.mp4", VideoClip(images[:4], times), fps)
    pixels, found = decoded(tmp_path / "a.mp4")
    assert found == pytest.approx(times.tolist() if fps is None else [0.0, 0.1, 0.2, 0.3], abs=6e-6)
    assert np.abs(pixels.astype(int) - images[:4].permute(0, 2, 3, 1).numpy()).mean() < 5


@pytest.mark.parametrize("fps", [30000 / 1001, 23.976, 12.5, 0.5])
def test_rates(tmp_path, images, fps):
    write_video(tmp_path / "a.mp4", (Frame(n, 99.0 - n, image) for n, image in enumerate(images)), fps)
    assert decoded(tmp_path / "a.mp4")[1] == pytest.approx((np.arange(12) / fps).tolist(), rel=1e-4)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "aac"), ("avi", "pcm_s16le"), ("mpg", "mp2")])
def test_sound_beside_pictures(tmp_path, images, tone, suffix, codec):
    path = tmp_path / f"a.{suffix}"
    write_video(path, list(images), 25, audio=tone, codec="mpeg2video" if suffix == "mpg" else "libx264")
    assert probe(path).audio[0].codec == codec
    audio = read_audio(path)
    delay = probe(path).video[0].start if suffix == "mpg" else 0.0  # it keeps the encoder's priming, and says so
    ours = audio.waveform[:, round(delay * 44100) :]
    lags = range(-22, 23) if suffix == "mkv" else [0]  # its clock counts milliseconds
    assert min(difference(ours.roll(lag, dims=1), tone.waveform) for lag in lags) < 0.06


def test_late_sound_stays_late(tmp_path, images, tone):
    write_video(tmp_path / "a.mp4", list(images), 25, audio=tone._replace(start=0.25))
    audio = read_audio(tmp_path / "a.mp4")
    loud = (audio.waveform[0].abs() > 0.1).nonzero()[0].item() / 44100
    assert loud == pytest.approx(0.25, abs=0.002)


def test_sound_is_copied_through(shared_data, tmp_path, images):
    source = shared_data / "media" / "friday.mp4"
    for suffix in ("mp4", "mkv"):
        write_video(tmp_path / f"a.{suffix}", list(images), 25, audio_from=source)
        assert torch.equal(read_audio(tmp_path / f"a.{suffix}").waveform, read_audio(source).waveform)


def test_sound_that_does_not_fit_is_encoded_anew(shared_data, tmp_path, images):
    source = shared_data / "media" / "friday.mp4"
    write_video(tmp_path / "a.webm", list(images), 25, audio_from=source, codec="libvpx-vp9")
    assert probe(tmp_path / "a.webm").audio[0].codec == "opus"
    ours, theirs = read_audio(tmp_path / "a.webm").waveform, read_audio(source, rate=48000).waveform
    length = min(ours.shape[1], theirs.shape[1])
    assert torch.corrcoef(torch.stack([ours[0, :length], theirs[0, :length]]))[0, 1] > 0.95


def test_a_source_without_sound_adds_none(tmp_path, images):
    write_video(tmp_path / "silent.mp4", list(images), 25)
    write_video(tmp_path / "a.mp4", list(images), 25, audio_from=tmp_path / "silent.mp4")
    assert probe(tmp_path / "a.mp4").audio == ()


@pytest.mark.parametrize(
    ("suffix", "options", "subtype", "tolerance"),
    [
        ("wav", {}, "PCM_16", 2**-16),
        ("wav", {"bits": 24}, "PCM_24", 2**-24),
        ("wav", {"bits": "32f"}, "FLOAT", 0),
        ("flac", {}, "PCM_16", 2**-16),
        ("flac", {"bits": 24}, "PCM_24", 2**-24),
    ],
)
def test_lossless_sound_by_libsndfile(tmp_path, tone, suffix, options, subtype, tolerance):
    path = tmp_path / f"a.{suffix}"
    write_audio(path, tone, **options)
    info = soundfile.info(path)
    assert (info.subtype, info.samplerate, info.frames) == (subtype, 44100, 22050)
    assert np.abs(soundfile.read(path, dtype="float64")[0].T - tone.waveform.numpy()).max() <= tolerance * 1.0001


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "ogg", "opus"])
@pytest.mark.parametrize("rate", [44100, 16000, 11000])
def test_lossy_sound(tmp_path, suffix, rate):
    wave = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(rate) / rate)
    path = tmp_path / f"a.{suffix}"
    write_audio(path, wave, rate)
    back = read_audio(path, rate=rate).waveform[0]
    assert difference(back, wave) < 0.1
    assert min(range(-3, 4), key=lambda lag: difference(back.roll(lag), wave)) == 0  # not a sample too late or early


def test_what_is_too_loud_is_clipped(tmp_path):
    write_audio(tmp_path / "a.wav", torch.tensor([[-2.0, -1.0, 0.0, 1.0, 2.0]]), 8000)
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [-32768, -32768, 0, 32767, 32767]


@pytest.mark.parametrize("name", ["friday", "nasa_13013"])
def test_recompress(shared_data, tmp_path, name):
    source, target = shared_data / "media" / f"{name}.mp4", tmp_path / "a.mp4"
    recompress(source, target, crf=30, scale=0.5, preset="veryfast")
    before, after = load_video(source, stop=2), load_video(target, stop=2)
    assert torch.allclose(after.time, before.time, atol=1e-6)
    assert after.images.shape[2:] == (before.images.shape[2] // 2, before.images.shape[3] // 2)
    small = load_video(source, stop=2, size=tuple(after.images.shape[2:])).images.float()
    assert (after.images.float() - small).abs().mean() < 6
    assert torch.equal(read_audio(target).waveform, read_audio(source).waveform)
    assert probe(target).video[0].color_space == probe(source).video[0].color_space


def test_recompress_keeps_a_variable_rate_and_may_replace_its_source(tmp_path, images):
    times = [0.0, 0.04, 0.2, 0.21, 0.5, 0.9, 1.0, 1.01, 1.02, 1.5, 2.0, 2.25]
    path = tmp_path / "a.mp4"
    write_video(path, [Frame(0, time, image) for time, image in zip(times, images, strict=True)], None, crf=1)
    recompress(path, path, crf=40)
    assert decoded(path)[1] == pytest.approx(times, abs=6e-6)
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("fps", [25, 30000 / 1001, 12.5])
def test_recompress_keeps_the_average_rate_and_the_length(tmp_path, images, fps):
    """The source counts in small ticks, which say nothing of how long the last picture lasts."""
    write_video(tmp_path / "a.mp4", list(images), fps)
    recompress(tmp_path / "a.mp4", tmp_path / "b.mp4", crf=30)
    before, after = probe(tmp_path / "a.mp4").video[0], probe(tmp_path / "b.mp4").video[0]
    assert after.fps == pytest.approx(fps, rel=1e-5)
    assert after.duration == pytest.approx(before.duration, abs=1e-6)


def test_recompress_refuses_a_factor_out_of_range(tmp_path, images):
    write_video(tmp_path / "a.mp4", list(images), 25)
    with pytest.raises(ValueError, match="crf must be 0 to 51 for libx264, got 60"):
        recompress(tmp_path / "a.mp4", tmp_path / "b.mp4", crf=60)
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_recompress_stores_pictures_upright(tmp_path, encode_with_av, clip_pixels):
    path = encode_with_av(tmp_path / "a.mp4", [{"pixels": clip_pixels(count=3)}])
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    for offset, value in ((0, 0), (4, 65536), (12, -65536), (16, 0)):
        data[at + offset : at + offset + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    recompress(path, tmp_path / "b.mp4", crf=5)
    shown, stored = load_video(path).images, decoded(tmp_path / "b.mp4")[0]
    assert np.abs(stored.astype(int) - shown.permute(0, 2, 3, 1).numpy()).mean() < 2


def test_recompress_of_rgb_and_ten_bits(tmp_path, images, encode_with_av, clip_pixels):
    pixels = clip_pixels(count=3)
    lossless = {"pixels": pixels, "codec": "ffv1", "pix_fmt": "bgr0", "options": {}}
    recompress(encode_with_av(tmp_path / "rgb.mkv", [lossless]), tmp_path / "a.mp4", crf=5)
    assert probe(tmp_path / "a.mp4").video[0].pix_fmt == "yuv420p"
    assert np.abs(decoded(tmp_path / "a.mp4")[0].astype(int) - pixels).mean() < 3
    deep = {"pixels": pixels, "pix_fmt": "yuv420p10le"}
    recompress(encode_with_av(tmp_path / "deep.mkv", [deep]), tmp_path / "a.mp4", crf=5)
    assert probe(tmp_path / "a.mp4").video[0].bit_depth == 10


def test_recompress_without_pictures(tmp_path, tone):
    write_audio(tmp_path / "a.wav", tone)
    with pytest.raises(NoStreamError):
        recompress(tmp_path / "a.wav", tmp_path / "b.mp4", crf=20)
    assert os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize(
    ("frames", "fps", "options", "message"),
    [
        ([], 25, {}, "no frames"),
        ([torch.zeros(3, 8, 8)], 25, {}, "uint8 RGB"),
        ([np.zeros((3, 8, 8), np.uint8)], 25, {}, "must be a torch tensor, got ndarray"),
        ([torch.zeros(3, 8, 8, dtype=torch.uint8)], 25, {"crf": 99}, "crf must be 0 to 51 for libx264, got 99"),
        ([torch.zeros(3, 8, 8, dtype=torch.uint8)], 25, {"crf": -1}, "crf"),
        ([torch.zeros(3, 8, 8, dtype=torch.uint8)], 25, {"crf": 64, "codec": "libvpx-vp9"}, "crf must be 0 to 63"),
        ([torch.zeros(8, 8, 3, dtype=torch.uint8)], 25, {}, r"\(3, H, W\)"),
        (
            [torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 6, dtype=torch.uint8)],
            25,
            {},
            "frame 1 has shape",
        ),
        ([torch.zeros(3, 8, 8, dtype=torch.uint8)], None, {}, "needs `Frame`s"),
        ([Frame(0, t, torch.zeros(3, 8, 8, dtype=torch.uint8)) for t in (0.0, 0.0)], None, {}, "must grow"),
        ([torch.zeros(3, 8, 8, dtype=torch.uint8)], 0, {}, "fps"),
        ([], 25, {"audio": Audio(torch.zeros(1, 9), 8000, 0.0), "audio_from": "a.mp4"}, "not both"),
    ],
)
def test_bad_frames_are_refused(tmp_path, frames, fps, options, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", frames, fps, **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("wave", "rate", "options", "message"),
    [
        (torch.zeros(1, 9), None, {}, "rate"),
        (torch.zeros(1, 0), 8000, {}, "not empty"),
        (torch.zeros(1, 9, dtype=torch.int16), 8000, {}, r"float in \[-1, 1\], got torch.int16.*waveform / 32768"),
        (np.zeros((1, 9), np.float32), 8000, {}, "must be a torch tensor, got ndarray"),
        (Audio(torch.zeros(1, 9), 44100, 0.0), 16000, {}, "audio is at 44100, rate says 16000; resample first"),
        (torch.tensor([[0.0, float("nan")]]), 8000, {}, "finite"),
        (torch.zeros(1, 9), 8000, {"bits": 8}, "bits"),
        (torch.zeros(9, 9), 8000, {}, "channels"),
    ],
)
def test_bad_sound_is_refused(tmp_path, wave, rate, options, message):
    with pytest.raises(ValueError, match=message):
        write_audio(tmp_path / "a.wav", wave, rate, **options)
    with pytest.raises(MediaError, match="no known sound format"):
        write_audio(tmp_path / "a.xyz", torch.zeros(1, 9), 8000)
    assert os.listdir(tmp_path) == []


def test_one_thread_gives_bytes_that_do_not_depend_on_the_machine(tmp_path):
    frames = [torch.full((3, 256, 64), 20 * n, dtype=torch.uint8) for n in range(5)]  # small ones get one thread anyway
    for name, threads in (("one", 1), ("again", 1), ("three", 3)):
        write_video(tmp_path / f"{name}.mp4", frames, 10, threads=threads)
    one, again, three = ((tmp_path / f"{name}.mp4").read_bytes() for name in ("one", "again", "three"))
    assert one == again
    assert b"threads=1 " in one
    assert b"threads=3 " in three  # the encoder writes its settings into the stream
    with pytest.raises(ValueError, match="threads"):
        write_video(tmp_path / "x.mp4", frames, 10, threads=-1)
