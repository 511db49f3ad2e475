"""`mediakit.io.probe` and `scan_packets` against OpenCV, full decoding and files made to measure."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from mediakit.errors import NoStreamError
from mediakit.io import load_video, probe, scan_packets

CLIPS = ["friday", "flower", "nasa_13013", "cockatoo", "stream-of-water", "chaplin"]


@pytest.mark.parametrize("name", CLIPS)
def test_headers_agree_with_opencv(shared_data, name):
    path = shared_data / "media" / f"{name}.mp4"
    info = probe(path)
    capture = cv2.VideoCapture(str(path))
    # OpenCV takes the best stream, which is not always the first.
    (video,) = (stream for stream in info.video if stream.width == capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    assert video.height == capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    assert video.fps == pytest.approx(capture.get(cv2.CAP_PROP_FPS))
    assert video.frames == capture.get(cv2.CAP_PROP_FRAME_COUNT)
    assert (video.codec, video.bit_depth, video.rotation, video.start) == ("h264", 8, 0, 0.0)
    assert info.size_bytes == path.stat().st_size
    assert info.duration == pytest.approx(video.frames / video.fps, abs=0.2)
    assert info.bit_rate == pytest.approx(8 * info.size_bytes / info.duration, rel=0.01)


def test_all_streams_are_listed(shared_data):
    info = probe(shared_data / "media" / "nasa_13013.mp4")
    assert [(s.index, s.width, s.height) for s in info.video] == [(0, 320, 180), (3, 480, 270)]
    assert [(s.index, s.rate, s.channels, s.layout) for s in info.audio] == [
        (1, 8000, 2, "stereo"),
        (4, 16000, 2, "stereo"),
    ]
    assert info.other == ("subtitle mov_text", "subtitle mov_text")
    assert info.video[0].color_space == "bt709"
    assert info.metadata["major_brand"] == "isom"


@pytest.mark.parametrize("name", ["friday", "cockatoo", "chaplin"])
def test_a_scan_agrees_with_decoding(shared_data, name):
    path = shared_data / "media" / f"{name}.mp4"
    scan = scan_packets(path)
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.key_frame) for frame in container.decode(video=0)]
    assert scan.frames == len(frames)
    assert scan.keyframes == pytest.approx([time for time, key in frames if key])
    assert scan.fps == pytest.approx(1 / np.diff([time for time, _ in frames]).mean())
    assert not scan.variable_frame_rate
    info = probe(path)
    assert scan.duration == pytest.approx(info.video[0].duration, abs=0.01)
    assert scan.bit_rate == pytest.approx(info.video[0].bit_rate, rel=0.02)
    assert 0.9 * info.size_bytes < sum(scan.stream_bytes.values()) < info.size_bytes


def test_groups_of_pictures(tmp_path, encode_with_av, clip_pixels):
    options = {"g": "8", "sc_threshold": "0", "bf": "2"}
    path = encode_with_av(tmp_path / "a.mp4", [{"pixels": clip_pixels(count=27), "options": options}])
    scan = scan_packets(path)
    assert scan.keyframes == pytest.approx([0, 8 / 25, 16 / 25, 24 / 25])
    assert (scan.gop_median, scan.gop_max) == (8, 8)
    options = {"g": "100", "sc_threshold": "0"}
    scan = scan_packets(encode_with_av(tmp_path / "b.mp4", [{"pixels": clip_pixels(count=27), "options": options}]))
    assert (scan.gop_median, scan.gop_max) == (None, 27)


@pytest.mark.parametrize(
    ("stamps", "variable"),
    [([0, 40, 80, 120, 160], False), ([0, 33, 67, 100, 133], False), ([0, 40, 200, 210, 500], True)],
)
def test_variable_frame_rate(tmp_path, encode_with_av, clip_pixels, stamps, variable):
    video = {"pixels": clip_pixels(count=5), "pts": stamps, "tick": Fraction(1, 1000)}
    scan = scan_packets(encode_with_av(tmp_path / "a.mp4", [video]))
    assert scan.variable_frame_rate is variable
    assert scan.fps == pytest.approx(4000 / stamps[-1])


def test_a_header_that_does_not_know(tmp_path, encode_with_av, clip_pixels):
    path = encode_with_av(tmp_path / "a.h264", [{"pixels": clip_pixels(count=20)}])
    video = probe(path).video[0]
    assert (video.frames, video.duration, video.start) == (None, None, None)
    scan = scan_packets(path)
    assert (scan.frames, scan.duration) == (20, pytest.approx(20 / 25))


def test_a_transport_stream_starts_at_zero(tmp_path, encode_with_av, clip_pixels):
    path = encode_with_av(tmp_path / "a.ts", [{"pixels": clip_pixels(count=10), "pts": range(250, 260)}])
    with av.open(str(path)) as container:
        assert container.start_time > 9_000_000  # its own clock does not
    assert probe(path).video[0].start == pytest.approx(0, abs=1e-6)
    assert scan_packets(path).keyframes[0] == pytest.approx(0, abs=1e-6)


def test_an_avi_file_starts_at_zero(tmp_path, encode_with_av, clip_pixels):
    path = encode_with_av(tmp_path / "a.avi", [{"pixels": clip_pixels(count=10), "options": {"bf": "0"}}])
    assert scan_packets(path).keyframes == (0.0,)


def test_what_an_edit_list_hides_is_not_counted(tmp_path, encode_with_av, clip_pixels):
    video = {"pixels": clip_pixels(count=20), "pts": range(-5, 15), "options": {"bf": "0"}}
    path = encode_with_av(tmp_path / "a.mp4", [video])
    assert scan_packets(path).frames == len(load_video(path).time) == 15


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "depth"), [("libx264", "yuv420p10le", 10), ("ffv1", "yuv422p", 8), ("ffv1", "gray12le", 12)]
)
def test_bit_depth(tmp_path, encode_with_av, clip_pixels, codec, pix_fmt, depth):
    video = {"pixels": clip_pixels(count=2), "codec": codec, "pix_fmt": pix_fmt, "options": {}}
    assert probe(encode_with_av(tmp_path / "a.mkv", [video])).video[0].bit_depth == depth


def test_rotation_changes_the_displayed_size(tmp_path, encode_with_av, clip_pixels):
    path = encode_with_av(tmp_path / "a.mp4", [{"pixels": clip_pixels(count=2)}])
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    for offset, value in ((0, 0), (4, 65536), (12, -65536), (16, 0)):  # shown turned clockwise by 90 degrees
        data[at + offset : at + offset + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    video = probe(path).video[0]
    assert (video.width, video.height, video.rotation) == (48, 64, 270)


def test_cover_art_is_no_video(tmp_path, clip_pixels):
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("libmp3lame", rate=16000)
        cover = container.add_stream("png", rate=1)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "rgb24"
        picture = av.VideoFrame.from_ndarray(clip_pixels(count=1)[0], format="rgb24")
        container.mux([*cover.encode(picture), *cover.encode(None)])
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux([*sound.encode(frame), *sound.encode(None)])
    info = probe(path)
    assert info.video == ()
    assert info.other == ("cover art png",)
    with pytest.raises(NoStreamError):
        scan_packets(path)
