"""`mediakit.io.video` against PyAV, OpenCV and closed forms."""

import os
import weakref
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from mediakit.errors import MediaError, NoStreamError
from mediakit.io import load_video, prefetch, read_video

CLIPS = ["friday", "flower", "nasa_13013", "cockatoo", "stream-of-water", "chaplin"]
EXACT = {"codec": "ffv1", "pix_fmt": "bgr0", "options": {}}  # lossless and without conversion of colours


def interleaved(image):
    return image.permute(1, 2, 0).numpy()


# Makes old releases of PyAV heed the colour matrix that a frame is tagged with, as new ones do by themselves.
HEED_TAGS = {"dst_colorspace": "ITU601"} if int(av.__version__.split(".")[0]) < 17 else {}


def gray_levels(count, height=16, width=16):
    """Frame n is flat gray 10 + 9 n, so that a picture tells its number."""
    return np.full((count, height, width, 3), 10, np.uint8) + 9 * np.arange(count, dtype=np.uint8)[:, None, None, None]


def numbers(images):
    return ((images.float().mean(dim=(1, 2, 3)) - 10) / 9).round().int().tolist()


@pytest.mark.parametrize("name", CLIPS)
def test_all_frames_and_times_are_those_of_pyav(shared_data, name):
    path = shared_data / "media" / f"{name}.mp4"
    count = 0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame, theirs in zip(read_video(path), container.decode(video=0), strict=True):
            assert frame.index == count
            assert frame.time == pytest.approx(theirs.time - container.start_time / 1e6, abs=1e-9)
            assert np.array_equal(interleaved(frame.image), theirs.to_ndarray(format="rgb24", **HEED_TAGS))
            count += 1
    assert count > 80


@pytest.mark.parametrize("name", ["friday", "stream-of-water"])
def test_frames_are_close_to_those_of_opencv(shared_data, name):
    path = shared_data / "media" / f"{name}.mp4"
    capture = cv2.VideoCapture(str(path))
    for frame in read_video(path, stop=1.0):
        theirs = capture.read()[1][:, :, ::-1].astype(int)
        # It interpolates chroma in another way, so that single pixels at coloured edges differ.
        assert np.abs(interleaved(frame.image).astype(int) - theirs).mean() < 1.0


def test_the_image_is_a_view_of_interleaved_memory(shared_data):
    image = next(read_video(shared_data / "media" / "friday.mp4")).image
    assert image.dtype == torch.uint8
    assert image.shape == (3, 480, 640)
    assert image.permute(1, 2, 0).is_contiguous()


@pytest.mark.parametrize("name", ["nasa_13013", "friday", "chaplin"])
def test_a_window_equals_the_same_part_of_the_whole(shared_data, name):
    path = shared_data / "media" / f"{name}.mp4"
    whole = load_video(path, size=32)
    for start, stop in [(0.0, 0.2), (0.71, 1.3), (3.5, 4.0), (5.9, 60.0)]:
        part = load_video(path, size=32, start=start, stop=stop)
        inside = (whole.time >= start - 1e-6) & (whole.time < stop - 1e-6)
        assert inside.any()
        assert torch.equal(part.time, whole.time[inside])
        assert torch.equal(part.images, whole.images[inside])


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_seeking_is_exact_with_reordered_frames_and_open_groups(tmp_path, encode_with_av, clip_pixels, container):
    pixels = clip_pixels(count=100, height=32, width=32)
    options = {"crf": "20", "bf": "3", "g": "12", "x264-params": "open-gop=1:b-pyramid=normal:keyint=12:min-keyint=12"}
    path = encode_with_av(tmp_path / f"a.{container}", [{"pixels": pixels, "options": options}])
    whole = load_video(path)
    assert len(whole.time) == 100
    for start in (0.8, 1.33, 2.0, 3.95, 9.0):
        part = load_video(path, start=start)
        inside = whole.time >= start - 1e-3
        assert torch.equal(part.time, whole.time[inside])
        assert torch.equal(part.images, whole.images[inside]) or not inside.any()


def test_variable_frame_rate_is_sampled_by_what_is_shown(tmp_path, encode_with_av):
    stamps = [0, 40, 200, 210, 500, 900, 1000, 1010]  # ms
    path = encode_with_av(
        tmp_path / "a.mp4",
        [{"pixels": gray_levels(8), "pts": stamps, "tick": Fraction(1, 1000), "options": {"crf": "1"}}],
    )
    clip = load_video(path)
    assert clip.time.tolist() == pytest.approx([s / 1000 for s in stamps], abs=1e-9)
    assert numbers(clip.images) == list(range(8))
    for fps in (10, 24, 50):
        sampled = load_video(path, fps=fps)
        ticks = np.arange(len(sampled.time)) / fps
        assert sampled.time.tolist() == pytest.approx(ticks.tolist(), abs=1e-9)
        shown = np.searchsorted(np.array(stamps), np.round(ticks * 1000, 6), side="right") - 1
        assert numbers(sampled.images) == shown.tolist()
        assert ticks[-1] >= 1.01 - 1 / fps


@pytest.mark.parametrize(
    ("fps", "expected"), [(25, range(20)), (12.5, range(0, 20, 2)), (50, [n // 2 for n in range(40)])]
)
@pytest.mark.parametrize("container", ["mp4", "mkv"])  # the stamps of mkv are rounded to milliseconds
def test_constant_rates_divide_evenly(tmp_path, encode_with_av, container, fps, expected):
    path = encode_with_av(tmp_path / f"a.{container}", [{"pixels": gray_levels(20), "options": {"crf": "1"}}])
    clip = load_video(path, fps=fps)
    assert numbers(clip.images) == list(expected)


def test_ntsc_rate_in_milliseconds_neither_drops_nor_doubles(tmp_path, encode_with_av):
    tick = Fraction(1001, 30000)
    video = {"pixels": gray_levels(24), "tick": tick, "rate": 1 / tick, "options": {"crf": "1"}}
    path = encode_with_av(tmp_path / "a.mkv", [video])
    assert numbers(load_video(path, fps=30000 / 1001).images) == list(range(24))


def test_sampling_honours_start_and_stop(tmp_path, encode_with_av):
    path = encode_with_av(tmp_path / "a.mp4", [{"pixels": gray_levels(20), "options": {"crf": "1"}}])
    clip = load_video(path, fps=10, start=0.21, stop=0.61)
    assert clip.time.tolist() == pytest.approx([0.21, 0.31, 0.41, 0.51])
    assert numbers(clip.images) == [5, 7, 10, 12]
    assert len(load_video(path, fps=10, start=5.0).time) == 0
    assert len(load_video(path, start=5.0).time) == 0


def test_a_late_first_picture_stands_for_the_time_before_it(tmp_path, encode_with_av):
    sound = {"samples": np.zeros((1, 16000), np.float32), "rate": 16000}
    video = {"pixels": gray_levels(5), "pts": [10, 11, 12, 13, 14], "options": {"crf": "1"}}
    path = encode_with_av(tmp_path / "a.mp4", [video], [sound])
    assert load_video(path).time.tolist() == pytest.approx([0.4, 0.44, 0.48, 0.52, 0.56], abs=1e-3)
    assert numbers(load_video(path, fps=5).images) == [0, 0, 0]


@pytest.mark.parametrize(
    ("size", "expected"), [(24, (24, 32)), (25, (25, 33)), ((10, 50), (10, 50)), (96, (96, 128)), (48, (48, 64))]
)
def test_sizes(tmp_path, encode_with_av, clip_pixels, size, expected):
    path = encode_with_av(tmp_path / "a.mp4", [{"pixels": clip_pixels(count=2)}])
    assert load_video(path, size=size).images.shape == (2, 3, *expected)


def test_a_list_is_a_size_and_numpy_numbers_are_numbers(tmp_path, encode_with_av, clip_pixels):
    path = encode_with_av(tmp_path / "a.mkv", [{"pixels": clip_pixels(count=1), **EXACT}])
    assert load_video(path, size=[30, 40], fps=np.float32(25)).images.shape == (1, 3, 30, 40)
    assert load_video(path, size=np.int64(24)).images.shape == (1, 3, 24, 32)


def test_a_window_beyond_the_end_is_empty(tmp_path, encode_with_av, clip_pixels):
    path = encode_with_av(tmp_path / "a.mkv", [{"pixels": clip_pixels(count=3), **EXACT}])
    clip = load_video(path, start=100, stop=101)
    assert (clip.images.shape, clip.time.shape) == ((0, 3, 0, 0), (0,))


def test_the_short_side_of_a_tall_video(tmp_path, encode_with_av, clip_pixels):
    path = encode_with_av(tmp_path / "a.mp4", [{"pixels": clip_pixels(count=2, height=64, width=32)}])
    assert load_video(path, size=16).images.shape == (2, 3, 32, 16)


@pytest.mark.parametrize("factor", [2, 4])
def test_shrinking_averages_areas(tmp_path, encode_with_av, factor):
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    path = encode_with_av(tmp_path / "a.mkv", [{"pixels": noise, **EXACT}])
    ours = interleaved(load_video(path, size=64 // factor).images[0]).astype(int)
    theirs = cv2.resize(noise[0], (96 // factor, 64 // factor), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(ours - theirs).max() <= 2
    bilinear = cv2.resize(noise[0], (96 // factor, 64 // factor), interpolation=cv2.INTER_LINEAR).astype(int)
    assert factor == 2 or np.abs(bilinear - theirs).max() > 50  # the test can tell


def test_enlarging_is_smooth(tmp_path, encode_with_av, clip_pixels):
    pixels = clip_pixels(count=1, height=32, width=32)
    path = encode_with_av(tmp_path / "a.mkv", [{"pixels": pixels, **EXACT}])
    ours = interleaved(load_video(path, size=64).images[0]).astype(int)
    theirs = cv2.resize(pixels[0], (64, 64), interpolation=cv2.INTER_CUBIC).astype(int)
    assert np.abs(ours - theirs)[4:-4, 4:-4].max() <= 6  # two kinds of cubic


def shown_by(matrix, stored):
    """Where ISO/IEC 14496-12 (6.2.2) puts each stored pixel: (x, y) goes to (a x + c y, b x + d y), then into view."""
    a, b, c, d = matrix
    height, width = stored.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    column, row = a * x + c * y, b * x + d * y
    shown = np.empty((np.ptp(row) + 1, np.ptp(column) + 1, 3), np.uint8)
    shown[row - row.min(), column - column.min()] = stored
    return shown


def patch_matrix(path, matrix):
    """Writes a, b, c, d into the track header of an MP4 file (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (int(value * 65536).to_bytes(4, "big", signed=True) for value in matrix)
    zero, one = bytes(4), (1 << 30).to_bytes(4, "big")
    data[at : at + 36] = a + b + zero + c + d + zero + zero + zero + one
    path.write_bytes(data)


MATRICES = [
    (1, 0, 0, 1),
    (0, 1, -1, 0),
    (-1, 0, 0, -1),
    (0, -1, 1, 0),
    (-1, 0, 0, 1),
    (0, 1, 1, 0),
    (1, 0, 0, -1),
    (0, -1, -1, 0),
]


@pytest.mark.parametrize("matrix", MATRICES)
def test_pictures_are_turned_and_mirrored_as_the_file_asks(tmp_path, encode_with_av, clip_pixels, matrix):
    path = encode_with_av(tmp_path / "a.mp4", [{"pixels": clip_pixels(count=2)}])
    stored = interleaved(load_video(path).images[1])
    patch_matrix(path, matrix)
    expected = shown_by(matrix, stored)
    assert np.array_equal(interleaved(load_video(path).images[1]), expected)
    assert load_video(path, size=24).images.shape[2:] == ((24, 32) if expected.shape[0] == 48 else (32, 24))


@pytest.mark.parametrize(("height", "width"), [(33, 47), (1, 1), (2, 3), (17, 16)])
def test_odd_sizes(tmp_path, encode_with_av, clip_pixels, height, width):
    pixels = clip_pixels(count=3, height=height, width=width)
    path = encode_with_av(tmp_path / "a.mkv", [{"pixels": pixels, **EXACT}])
    assert np.array_equal(load_video(path).images.permute(0, 2, 3, 1).numpy(), pixels)


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("libx264", "yuv420p10le"), ("libx265", "yuv420p10le"), ("libx264", "yuv444p")]
)
def test_ten_bits_and_full_chroma(tmp_path, encode_with_av, clip_pixels, codec, pix_fmt):
    pixels = clip_pixels(count=4)
    options = {"crf": "8", "x265-params": "log-level=none"}
    path = encode_with_av(
        tmp_path / "a.mkv", [{"pixels": pixels, "codec": codec, "pix_fmt": pix_fmt, "options": options}]
    )
    ours = load_video(path).images.permute(0, 2, 3, 1).numpy().astype(int)
    assert np.abs(ours - pixels).mean() < 3.5


def test_streams_count_from_zero(shared_data):
    path = shared_data / "media" / "nasa_13013.mp4"
    assert next(read_video(path)).image.shape == (3, 180, 320)
    assert next(read_video(path, stream=1)).image.shape == (3, 270, 480)
    with pytest.raises(NoStreamError, match=r"no video stream 2.*It has 2"):
        next(read_video(path, stream=2))


@pytest.mark.parametrize("container", ["h264", "ts", "avi", "mpg", "flv"])
def test_containers_without_an_orderly_clock(tmp_path, encode_with_av, container):
    codec = "mpeg2video" if container == "mpg" else "libx264"
    options = {"crf": "5", "b": "2000000", "bf": "0"}
    video = {"pixels": gray_levels(20), "codec": codec, "options": options}
    if container in ("ts", "mpg", "flv"):  # whose clock may start anywhere
        video["pts"] = range(250, 270)
    path = encode_with_av(tmp_path / f"a.{container}", [video])
    clip = load_video(path)
    assert numbers(clip.images) == list(range(20))
    assert clip.time.tolist() == pytest.approx((np.arange(20) / 25).tolist(), abs=1.1e-3)
    later = load_video(path, start=0.6)
    assert numbers(later.images) == list(range(15, 20))
    assert later.time.tolist() == pytest.approx((np.arange(15, 20) / 25).tolist(), abs=1.1e-3)


def test_a_stream_written_to_a_pipe_has_no_duration_yet_all_frames(tmp_path, encode_with_av):
    path = tmp_path / "a.mkv"
    with path.open("wb") as file:

        class Pipe:  # cannot seek, so the muxer cannot go back to fill in what it did not know
            write = staticmethod(file.write)

        container = av.open(Pipe(), "w", format="matroska")
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width = 16, 16
        for picture in gray_levels(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
        container.close()
    with av.open(str(path)) as container:
        assert container.duration is None
    assert numbers(load_video(path).images) == list(range(10))
    assert numbers(load_video(path, fps=12.5).images) == [0, 2, 4, 6, 8]


def test_joined_transport_streams_go_on(tmp_path, encode_with_av):
    one = encode_with_av(tmp_path / "1.ts", [{"pixels": gray_levels(20), "options": {"crf": "1"}}])
    late = {"pixels": gray_levels(5), "pts": range(5000, 5005), "options": {"crf": "1"}}
    other = encode_with_av(tmp_path / "2.ts", [late])
    path = tmp_path / "both.ts"
    path.write_bytes(one.read_bytes() + other.read_bytes())
    clip = load_video(path)
    assert numbers(clip.images) == [*range(20), *range(5)]
    assert torch.diff(clip.time).tolist() == pytest.approx([0.04] * 24, abs=0.09)


def test_one_frame(tmp_path, encode_with_av, clip_pixels):
    path = encode_with_av(tmp_path / "a.mp4", [{"pixels": clip_pixels(count=1)}])
    assert load_video(path).time.tolist() == [0.0]
    assert load_video(path, fps=5).time.tolist() == [0.0]


def test_sound_alone_has_no_pictures(tmp_path, encode_with_av):
    path = encode_with_av(tmp_path / "a.m4a", [], [{"samples": np.zeros((1, 8000), np.float32), "rate": 16000}])
    with pytest.raises(NoStreamError, match=r"a\.m4a: has no video stream"):
        load_video(path)


def test_threads_do_not_matter(shared_data):
    path = shared_data / "media" / "nasa_13013.mp4"
    assert torch.equal(load_video(path, stop=1, threads=1).images, load_video(path, stop=1, threads=4).images)


def test_frames_are_released_as_they_are_consumed(shared_data):
    living: list[weakref.ref] = []
    for frame in read_video(shared_data / "media" / "nasa_13013.mp4", stop=4):
        living = [reference for reference in living if reference() is not None]
        living.append(weakref.ref(frame.image))
        assert len(living) <= 2
        del frame


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's list of open files")
def test_closing_early_closes_the_file(shared_data):
    path = (shared_data / "media" / "nasa_13013.mp4").resolve()

    def handles():
        links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
        return sum(os.path.realpath(link) == str(path) for link in links)

    for frames in (read_video(path), prefetch(read_video(path)), read_video(path, fps=3, start=4)):
        next(frames)
        assert handles() == 1
        frames.close()
        assert handles() == 0
    next(read_video(path))  # forgotten at once
    assert handles() == 0


@pytest.mark.parametrize(
    "options",
    [
        *({"fps": fps} for fps in (0, float("nan"), float("inf"), "4")),
        *({"size": size} for size in (0, (0, 5), 64.5, (1, 2, 3), (64,), "64", (64, 32.0))),
        {"start": -1},
        {"start": 2, "stop": 1},
    ],
)
def test_bad_options_are_refused_at_once(shared_data, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        read_video(shared_data / "media" / "friday.mp4", **options)


def test_a_missing_file_is_refused_at_once(tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        read_video(tmp_path / "a.mp4")
