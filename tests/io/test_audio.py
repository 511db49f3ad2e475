"""`mediakit.io.audio` against libsndfile, soxr and closed forms."""

from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
import torch

from mediakit.errors import NoStreamError
from mediakit.io import load_video, read_audio, read_audio_blocks, resample


def noise(channels, count, rate, below, seed=0):
    """Random sound with no energy from `below` hertz on, in [-0.9, 0.9]."""
    random = np.random.default_rng(seed)
    spectrum = random.normal(size=(channels, count // 2 + 1)) + 1j * random.normal(size=(channels, count // 2 + 1))
    spectrum[:, np.fft.rfftfreq(count, 1 / rate) >= below] = 0
    wave = np.fft.irfft(spectrum, count)
    return (0.9 * wave / np.abs(wave).max()).astype(np.float32)


@pytest.fixture(scope="module")
def stereo(tmp_path_factory):
    """Five seconds of stereo at 44.1 kHz in a float WAV file, and the samples."""
    samples = noise(2, 5 * 44100, 44100, 3000)
    path = tmp_path_factory.mktemp("stereo") / "a.wav"
    soundfile.write(path, samples.T, 44100, subtype="FLOAT")
    return path, samples


def test_vorbis_equals_libsndfile(shared_data):
    paths = sorted((shared_data / "esc10").glob("*/*.ogg"))[::13]
    assert len(paths) > 10
    for path in paths:
        theirs, rate = soundfile.read(path, dtype="float32", always_2d=True)
        ours = read_audio(path)
        assert (ours.rate, ours.start) == (rate, 0.0)
        assert ours.waveform.shape == theirs.T.shape
        assert np.abs(ours.waveform.numpy() - theirs.T).max() < 1e-6


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("wav", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")]
    + [("flac", "PCM_16"), ("flac", "PCM_24"), ("aiff", "PCM_16")],
)
def test_lossless_equals_libsndfile_exactly(tmp_path, suffix, subtype):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(2, 8000, 8000, 3000).T, 8000, subtype=subtype)
    theirs = soundfile.read(path, dtype="float32")[0].T
    audio = read_audio(path)
    assert audio.waveform.dtype == torch.float32
    assert np.array_equal(audio.waveform.numpy(), theirs)


@pytest.mark.parametrize(
    ("source", "rate"), [(44100, 16000), (48000, 16000), (16000, 44100), (44100, 48000), (8000, 16000)]
)
def test_resampling_agrees_with_soxr(source, rate):
    soxr = pytest.importorskip("soxr")
    samples = noise(1, 2 * source, source, 0.4 * min(source, rate))
    ours = resample(torch.from_numpy(samples), source, rate)[0].numpy()
    theirs = soxr.resample(samples[0], source, rate, quality="VHQ")
    assert len(ours) == 2 * rate
    inner = slice(rate // 20, -rate // 20)  # at the ends, one mirrors and the other takes silence
    assert np.abs(ours - theirs)[inner].max() < 1e-4


@pytest.mark.parametrize("rate", [16000, 48000])
def test_resampling_keeps_a_sine_where_it_is(rate):
    time = np.arange(44100) / 44100
    wave = torch.from_numpy(0.5 * np.sin(2 * np.pi * 1000 * time)[None].astype(np.float32))
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    assert np.abs(resample(wave, 44100, rate)[0].numpy() - expected)[100:-100].max() < 1e-4


def test_resampling_removes_what_does_not_fit():
    time = np.arange(44100) / 44100
    wave = torch.from_numpy(np.sin(2 * np.pi * 10000 * time)[None].astype(np.float32))
    assert resample(wave, 44100, 16000)[0, 200:-200].abs().max() < 1e-3


@pytest.mark.parametrize("rate", [None, 16000, 48000, 22050])
@pytest.mark.parametrize(
    "window", [(0.0, 0.5), (0.123, 1.0), (2.0001, 2.7), (3.21, 4.9), (4.5, 99.0), (2.5, 2.5), (7.0, 8.0)]
)
def test_a_window_equals_the_same_part_of_the_whole(stereo, rate, window):
    path, _ = stereo
    start, stop = window
    whole = read_audio(path, rate=rate)
    part = read_audio(path, rate=rate, start=start, stop=stop)
    expected = whole.waveform[:, round(start * whole.rate) : round(stop * whole.rate)]
    assert part.rate == whole.rate
    assert part.start == round(start * whole.rate) / whole.rate
    assert part.waveform.shape == expected.shape
    if rate is None:
        assert torch.equal(part.waveform, expected)
    else:
        assert not expected.numel() or (part.waveform - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["friday", "nasa_13013", "chaplin"])  # AAC and MP3 beside pictures
def test_windows_of_lossy_sound(shared_data, name):
    path = shared_data / "media" / f"{name}.mp4"
    whole = read_audio(path)
    for start, stop in [(0.5, 0.7), (3.003, 5.1)]:
        part = read_audio(path, start=start, stop=stop).waveform
        assert torch.equal(part, whole.waveform[:, round(start * whole.rate) : round(stop * whole.rate)])


@pytest.mark.parametrize("options", [{}, {"rate": 16000, "channels": 1}, {"rate": 48000, "start": 1.3, "stop": 4.01}])
@pytest.mark.parametrize("block", [0.3, 1.0, 60.0])
def test_blocks_join_to_the_whole(stereo, options, block):
    path, _ = stereo
    whole = read_audio(path, **options)
    blocks = list(read_audio_blocks(path, block=block, **options))
    assert torch.equal(torch.cat([b.waveform for b in blocks], dim=1), whole.waveform)
    length = round(block * whole.rate)
    assert all(b.waveform.shape[1] == length for b in blocks[:-1])
    assert [b.start for b in blocks] == pytest.approx(
        [whole.start + n * length / whole.rate for n in range(len(blocks))]
    )


def test_a_window_beyond_the_end_is_empty(stereo):
    assert read_audio(stereo[0], start=100, stop=101).waveform.shape == (2, 0)


def test_blocks_of_nothing_are_one_empty_block(stereo):
    (block,) = read_audio_blocks(stereo[0], start=9.0)
    assert block.waveform.shape == (2, 0)


def test_channels(stereo, tmp_path):
    path, samples = stereo
    assert np.allclose(read_audio(path, channels=1).waveform.numpy(), samples.mean(axis=0, keepdims=True), atol=1e-6)
    assert np.array_equal(read_audio(path, channels=2).waveform.numpy(), samples)
    soundfile.write(tmp_path / "mono.wav", samples[0], 44100, subtype="FLOAT")
    assert np.array_equal(read_audio(tmp_path / "mono.wav", channels=2).waveform.numpy(), samples[[0, 0]])


def test_surround_folds_down_to_stereo(tmp_path):
    """Coefficients of ITU-R BS.775 for 3/2 to 2/0: left + 0.7071 centre + 0.7071 left surround."""
    six = noise(6, 4800, 48000, 20000)  # FL FR FC LFE BL BR, the order of WAV files
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(six.T.reshape(1, -1)), format="flt", layout="5.1")
    frame.sample_rate = 48000
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=48000)
        stream.codec_context.layout = "5.1"
        container.mux([*stream.encode(frame), *stream.encode(None)])
    half = 0.5**0.5
    left = six[0] + half * six[2] + half * six[4]
    right = six[1] + half * six[2] + half * six[5]
    ours = read_audio(tmp_path / "a.wav", channels=2).waveform.numpy()
    assert np.allclose(ours, np.stack([left, right]) / (1 + 2 * half), atol=1e-6)
    assert np.abs(ours).max() <= 1
    assert np.allclose(read_audio(tmp_path / "a.wav", channels=1).waveform.numpy(), six.mean(axis=0), atol=1e-6)


def write_pcm(path, pieces, rate=8000, pictures=()):
    """Writes mono PCM in pieces (start in samples, samples) to a container that keeps their stamps."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate)
        stream.codec_context.layout = "mono"
        if len(pictures):
            video = container.add_stream("libx264", rate=25)
            video.height, video.width = pictures.shape[1:3]
            frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures]
            container.mux([packet for frame in [*frames, None] for packet in video.encode(frame)])
        for start, samples in pieces:
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_late_sound_is_preceded_by_silence(tmp_path, clip_pixels):
    piece = np.arange(1, 801, dtype=np.int16)
    path = write_pcm(tmp_path / "a.mkv", [(4000, piece)], pictures=clip_pixels(count=12))
    audio = read_audio(path)
    assert audio.start == 0
    expected = np.concatenate([np.zeros(4000), piece / 32768])
    assert np.array_equal(audio.waveform[0].numpy(), expected.astype(np.float32))
    window = read_audio(path, start=0.49, stop=0.51).waveform[0].numpy()
    assert np.array_equal(window, expected[3920:4080].astype(np.float32))
    assert load_video(path).time[0] == 0  # one clock


def test_gaps_are_filled_and_overlaps_trimmed(tmp_path):
    one, two, three = (np.full(800, value, np.int16) for value in (1000, 2000, 3000))
    path = write_pcm(tmp_path / "a.mkv", [(0, one), (2400, two), (3200 - 480, three)])
    wave = (read_audio(path).waveform[0] * 32768).numpy()
    expected = np.zeros(2720 + 800)
    expected[:800], expected[2400:3200], expected[3200:] = 1000, 2000, 3000
    assert np.array_equal(wave, expected)


def test_small_jitter_of_stamps_is_no_gap(tmp_path):
    random = np.random.default_rng(0)
    pieces = [(800 * n + int(random.integers(0, 80)) * (n > 0), np.full(800, n + 1, np.int16)) for n in range(20)]
    wave = (read_audio(write_pcm(tmp_path / "a.mkv", pieces)).waveform[0] * 32768).numpy()
    assert np.array_equal(wave, np.repeat(np.arange(1, 21), 800))


def test_rounding_of_the_first_stamp_is_no_silence(tmp_path, clip_pixels):
    piece = np.arange(1, 801, dtype=np.int16)
    path = write_pcm(tmp_path / "a.mkv", [(5, piece)], pictures=clip_pixels(count=12))  # 0.6 ms, stored as 1 ms
    assert read_audio(path).waveform[0, 0] == 1 / 32768


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts", "flv"])
def test_pictures_and_sound_stay_together(tmp_path, encode_with_av, suffix):
    """A flash and a click at 1 s come out at 1 s of our clock, whatever the codec puts before the first sample."""
    pixels = np.zeros((50, 16, 16, 3), np.uint8)
    pixels[25:] = 255
    samples = np.zeros((1, 2 * 44100), np.float32)
    samples[0, 44100:] = 0.5 * np.sin(np.arange(44100) / 5)
    path = encode_with_av(tmp_path / f"a.{suffix}", [{"pixels": pixels}], [{"samples": samples, "rate": 44100}])
    clip, audio = load_video(path), read_audio(path)
    flash = clip.time[clip.images.float().mean(dim=(1, 2, 3)) > 128][0].item()
    click = (audio.waveform[0].abs() > 0.1).nonzero()[0].item() / audio.rate
    assert flash == pytest.approx(click, abs=0.005)


def test_streams_count_from_zero(shared_data):
    path = shared_data / "media" / "nasa_13013.mp4"
    assert read_audio(path, stop=0.1).rate == 8000
    assert read_audio(path, stop=0.1, stream=1).rate == 16000
    with pytest.raises(NoStreamError, match="no audio stream 2"):
        read_audio(path, stream=2)


def test_pictures_alone_have_no_sound(tmp_path, encode_with_av, clip_pixels):
    path = encode_with_av(tmp_path / "a.mp4", [{"pixels": clip_pixels(count=2)}])
    with pytest.raises(NoStreamError, match=r"a\.mp4: has no audio stream"):
        read_audio(path)


@pytest.mark.parametrize("options", [{"rate": 0}, {"channels": 3}, {"start": -1}, {"start": 2, "stop": 1}])
def test_bad_options_are_refused_at_once(stereo, options):
    for read in (read_audio, read_audio_blocks):
        with pytest.raises(ValueError, match=next(iter(options))):
            read(stereo[0], **options)


def test_a_block_must_be_positive(stereo):
    with pytest.raises(ValueError, match="block"):
        read_audio_blocks(stereo[0], block=0)
