"""Media files made with PyAV alone, so that tests of reading do not rest on our own writing."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

AS_NOBODY = 65534


@pytest.fixture(scope="session")
def clip_pixels():
    """Smooth, moving, coloured pictures: (T, H, W, 3) uint8."""

    def make(count=12, height=48, width=64):
        t, y, x = np.mgrid[0:count, 0:height, 0:width].astype(float)
        red = 127 + 100 * np.sin(x / 9 + t / 3)
        green = 127 + 100 * np.cos(y / 7 - t / 5)
        blue = 255 * (x + y) / (height + width)
        return np.stack([red, green, blue], axis=-1).round().astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def encode_with_av():
    """Writes a file with PyAV.

    `videos` is a list of dicts(pixels, pts, tick, rate, codec, pix_fmt, options), `sounds` of dicts(samples (C, N)
    float32, rate, start, codec).
    """

    def encode(path, videos=(), sounds=(), **options):
        with av.open(str(path), "w", container_options=options) as container:
            jobs = []
            for video in videos:
                pixels, tick = video["pixels"], video.get("tick", Fraction(1, 25))
                options = video.get("options", {"crf": "10"})
                rate = video.get("rate", 25)
                stream = container.add_stream(video.get("codec", "libx264"), rate=rate, options=options)
                stream.height, stream.width = pixels.shape[1:3]
                stream.pix_fmt = video.get("pix_fmt", "yuv420p")
                stream.codec_context.time_base = tick
                jobs.append((stream, _pictures(pixels, video.get("pts"), tick)))
            for sound in sounds:
                stream = container.add_stream(sound.get("codec", "aac"), rate=sound["rate"])
                stream.codec_context.layout = "mono" if len(sound["samples"]) == 1 else "stereo"
                jobs.append((stream, _sound(sound["samples"], sound["rate"], sound.get("start", 0))))
            for stream, frames in jobs:
                for frame in [*frames, None]:
                    for packet in stream.encode(frame):
                        container.mux(packet)
        return path

    def _pictures(pixels, pts, tick):
        for n, picture in enumerate(pixels):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = n if pts is None else pts[n], tick
            yield frame

    def _sound(samples, rate, start):
        for begin in range(0, samples.shape[1], 1024):
            piece = np.ascontiguousarray(samples[:, begin : begin + 1024], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono" if len(samples) == 1 else "stereo")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start + begin
            yield frame

    return encode


@pytest.fixture
def as_nobody():
    """Runs the test's body as an ordinary user, for whom permissions mean something."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(AS_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
