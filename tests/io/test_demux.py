"""Damaged and strange files: what `mediakit.io` says of them, and what it still reads."""

import socket
import warnings
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from mediakit.errors import MediaError, NoStreamError
from mediakit.io import load_video, prefetch, probe, read_audio, read_video, scan_packets
from mediakit.io.demux import origin

READERS = [probe, scan_packets, load_video, read_audio]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, encode_with_av, clip_pixels):
    """Three seconds of pictures and sound in some containers; MP4 with its index first."""
    folder = tmp_path_factory.mktemp("whole")
    sound = {"samples": 0.3 * np.sin(np.arange(3 * 16000) / 9)[None].astype(np.float32), "rate": 16000}
    for suffix in ("mp4", "mkv", "avi", "flv"):
        video = {"pixels": clip_pixels(count=75), "options": {"crf": "10", "bf": "0", "g": "25"}}
        encode_with_av(
            folder / f"late.{suffix}", [video], [sound | ({"codec": "pcm_s16le"} if suffix == "avi" else {})]
        )
        if suffix == "mp4":
            encode_with_av(folder / "a.mp4", [video], [sound], movflags="faststart")
    return folder


def cut(path, target, share):
    data = path.read_bytes()
    target.write_bytes(data[: int(share * len(data))])
    return target


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        ("Guten Tag, schöne Welt!\n".encode() * 300, "not a media file"),
        (b"ok", "not a media file"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n", "looks like text"),
        (b"ffconcat version 1.0\nfile 'late.mp4'\n", "looks like text"),
        (bytes(range(256)) * 40, "cannot be read as media"),
    ],
)
def test_no_media_at_all(tmp_path, reader, content, message):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=message) as caught:
        reader(path)
    assert caught.value.path == str(path)


def test_a_playlist_does_not_make_us_call_anyone(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"
        path = tmp_path / "a.m3u8"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(MediaError, match="looks like text"):
            probe(path)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("start", "video", "expected"),
    [(None, 0, 0), (1.4, 1.5, 1.4), (-0.023, 0, 0), (-0.1, -0.1, -0.1), (-0.5, -0.1, -0.1)],
)
def test_time_zero(start, video, expected):
    """Negative stamps of sound are what its codec puts in front; negative stamps of pictures are real."""
    picture = SimpleNamespace(start_time=round(video * 1000), time_base=Fraction(1, 1000), average_rate=25)
    streams = SimpleNamespace(video=[picture])
    container = SimpleNamespace(start_time=None if start is None else round(start * 1e6), streams=streams)
    assert origin(container) == pytest.approx(expected)


def test_a_text_file_is_not_drawn(tmp_path):
    (tmp_path / "a.txt").write_text("FFmpeg would make a film of it\n" * 50)
    with pytest.raises(MediaError, match="looks like text"):
        probe(tmp_path / "a.txt")


@pytest.mark.parametrize("reader", READERS)
def test_a_recording_without_its_index(tmp_path, whole, reader):
    path = cut(whole / "late.mp4", tmp_path / "a.mp4", 0.6)
    with pytest.raises(MediaError, match="was cut off: its index"):
        reader(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "flv"])
def test_a_truncated_file_gives_what_is_there_and_one_warning(tmp_path, whole, suffix):
    source = whole / ("a.mp4" if suffix == "mp4" else f"late.{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures, sound = load_video(source), read_audio(source)
    path = cut(source, tmp_path / f"cut.{suffix}", 0.5)
    with pytest.warns(
        UserWarning, match=rf"cut\.{suffix}: the video is incomplete: .*(cut off|damaged) at .*[12]\.\d+ s"
    ) as caught:
        half = load_video(path)
    assert len(caught) == 1
    count = len(half.time)
    assert 20 < count < 60
    assert (half.images[: count - 1] == pictures.images[: count - 1]).all()
    assert half.time.tolist() == pytest.approx(pictures.time[:count].tolist())
    with pytest.warns(UserWarning, match="the audio is incomplete"):
        part = read_audio(path).waveform
    kept = part.shape[1] - 2048
    assert 16000 < kept < 40000
    assert (part[:, :kept] == sound.waveform[:, :kept]).all()
    with pytest.warns(UserWarning, match="the video is incomplete"):
        assert abs(scan_packets(path).frames - count) <= 2


def test_no_warning_before_the_damage(tmp_path, whole):
    path = cut(whole / "a.mp4", tmp_path / "cut.mp4", 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_video(path, stop=0.5).time) == 13
        assert read_audio(path, stop=0.5).waveform.shape == (1, 8000)


def test_the_warning_comes_through_a_background_thread_in_its_place(tmp_path, whole):
    path = cut(whole / "a.mp4", tmp_path / "cut.mp4", 0.5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        heard = [len(caught) for _ in prefetch(read_video(path), depth=100)]
    assert len(heard) > 20
    assert set(heard) == {0}
    assert len(caught) == 1
    assert "incomplete" in str(caught[0].message)


def test_garbage_in_the_middle_is_passed_over(tmp_path, whole):
    data = bytearray((whole / "late.mkv").read_bytes())
    at = len(data) // 2
    data[at : at + 600] = np.random.default_rng(0).bytes(600)
    path = tmp_path / "a.mkv"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FFmpeg may or may not notice
        clip = load_video(path)
    good = load_video(whole / "late.mkv")
    assert len(clip.time) > 40
    assert (clip.images[:25] == good.images[:25]).all()
    assert (clip.images[-25:] == good.images[-25:]).all()  # from the next keyframe on
    assert clip.time[-1] == good.time[-1]


def test_pictures_that_cannot_be_decoded_at_all(tmp_path, whole):
    data = bytearray((whole / "a.mp4").read_bytes())
    at = data.index(b"mdat") + 4
    data[at:] = bytes(len(data) - at)
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(MediaError, match="no video can be read"):
        load_video(path)


def test_a_track_with_nothing_in_it(tmp_path, encode_with_av, clip_pixels):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        container.add_stream("aac", rate=16000)
        for pixels in clip_pixels(count=3):
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
    assert len(load_video(path).time) == 3
    with pytest.raises(NoStreamError, match="place for audio, but nothing is in it"):
        read_audio(path)


def test_names_that_look_like_addresses(tmp_path, whole, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("12:30.mp4", "http:a.mp4", "-a.mp4", "%03d.mp4", "ä ö.mp4"):
        (tmp_path / name).write_bytes((whole / "a.mp4").read_bytes())
        assert probe(name).video[0].width == 64


def test_ffmpeg_keeps_silent(tmp_path, whole, capfd):
    path = cut(whole / "a.mp4", tmp_path / "cut.mp4", 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_video(path)
    with pytest.raises(MediaError):
        load_video(cut(whole / "late.mp4", path, 0.6))
    assert capfd.readouterr() == ("", "")
