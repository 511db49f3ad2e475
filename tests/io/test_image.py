"""`mediakit.io.image` against OpenCV's own decoders and hand-made files."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import torch

from mediakit.errors import MediaError
from mediakit.io import encode_image, read_image, write_image


@pytest.fixture
def picture(clip_pixels):
    """(3, 48, 64) uint8, without symmetry."""
    return torch.from_numpy(clip_pixels(count=1)[0]).permute(2, 0, 1)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff"])
def test_lossless_formats_come_back(tmp_path, picture, suffix):
    write_image(tmp_path / f"a.{suffix}", picture)
    back = read_image(tmp_path / f"a.{suffix}")
    assert back.dtype == torch.uint8
    assert torch.equal(back, picture)
    assert back.permute(1, 2, 0).is_contiguous()


def test_colours_are_in_order(tmp_path):
    """A red PNG by hand: signature, header, one row of filter type 0, end."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + b"\xff\0\0" * 2)) + chunk(b"IEND", b"")
    (tmp_path / "red.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert read_image(tmp_path / "red.png").tolist() == [[[255, 255]], [[0, 0]], [[0, 0]]]


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_quality(tmp_path, picture, suffix):
    sizes = []
    for quality, tolerance in [(95, 3.0), (30, 12.0)]:
        path = tmp_path / f"{quality}.{suffix}"
        write_image(path, picture, quality=quality)
        assert (read_image(path).float() - picture.float()).abs().mean() < tolerance
        sizes.append(path.stat().st_size)
    assert sizes[1] < sizes[0] / 1.5


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits(tmp_path, suffix):
    deep = torch.from_numpy(np.random.default_rng(0).integers(0, 65536, (3, 5, 7), dtype=np.uint16))
    path = tmp_path / f"a.{suffix}"
    write_image(path, deep)
    assert torch.equal(read_image(path, bits=16).to(torch.int32), deep.to(torch.int32))
    shallow = (deep.to(torch.float64) * 255 / 65535).round().to(torch.uint8)
    assert torch.equal(read_image(path), shallow)


def test_eight_bits_as_sixteen_reach_full_scale(tmp_path, picture):
    write_image(tmp_path / "a.png", picture)
    assert torch.equal(read_image(tmp_path / "a.png", bits=16).to(torch.int32), picture.to(torch.int32) * 257)


def test_gray(tmp_path, picture):
    write_image(tmp_path / "a.png", picture[:1])
    assert cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED).ndim == 2
    assert torch.equal(read_image(tmp_path / "a.png"), picture[:1].expand(3, -1, -1))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_transparency_lies_over_white(tmp_path, picture, suffix):
    alpha = np.zeros((48, 64, 1), np.uint8)
    alpha[:, 20:40], alpha[:, 40:] = 128, 255
    four = np.concatenate([picture.permute(1, 2, 0).numpy()[:, :, ::-1], alpha], axis=2)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), four, [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == "webp" else [])
    ours = read_image(tmp_path / f"a.{suffix}").float()
    assert (ours[:, :, :20] == 255).all()
    half = picture[:, :, 20:40] * (128 / 255) + 255 * (127 / 255)
    assert (ours[:, :, 20:40] - half).abs().max() <= 0.51
    assert torch.equal(ours[:, :, 40:], picture[:, :, 40:].float())


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_transparency_is_kept_on_request(tmp_path, picture, suffix):
    four = torch.cat([picture, picture[:1].flip(1)])
    write_image(tmp_path / f"a.{suffix}", four, quality=101)
    stored = cv2.imread(str(tmp_path / f"a.{suffix}"), cv2.IMREAD_UNCHANGED)[:, :, [2, 1, 0, 3]]
    assert np.array_equal(stored[:, :, 3], four[3].numpy())  # lossless WebP may change what nobody sees
    if suffix != "webp":
        assert np.array_equal(stored, four.permute(1, 2, 0).numpy())
    assert np.array_equal(read_image(tmp_path / f"a.{suffix}", alpha=True).permute(1, 2, 0).numpy(), stored)
    write_image(tmp_path / f"b.{suffix}", picture, quality=101)
    assert torch.equal(read_image(tmp_path / f"b.{suffix}", alpha=True), picture)


def hand_made_png(depth: int, kind: int, rows: list[bytes], width: int) -> bytes:
    """A PNG of unfiltered rows."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [8, 16])
def test_gray_with_alpha(tmp_path, depth):
    stored = np.random.default_rng(0).integers(0, 2**depth, (5, 7, 2)).astype(f">u{depth // 8}")
    (tmp_path / "a.png").write_bytes(hand_made_png(depth, 4, [row.tobytes() for row in stored], 7))
    back = read_image(tmp_path / "a.png", bits=None, alpha=True)
    assert back.dtype == (torch.uint8 if depth == 8 else torch.uint16)
    assert back.to(torch.int32).tolist() == [stored[:, :, c].astype(int).tolist() for c in (0, 0, 0, 1)]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(tmp_path, suffix):
    pillow = pytest.importorskip("PIL.Image")
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:8], ink[8:] = (0, 255, 255, 0), (255, 0, 0, 128)  # red; cyan darkened by half
    pillow.fromarray(ink, "CMYK").save(tmp_path / f"a.{suffix}", **({"quality": 100} if suffix == "jpg" else {}))
    back = read_image(tmp_path / f"a.{suffix}")
    assert np.abs(back[:, 3, 3].int().numpy() - [255, 0, 0]).max() < 4
    assert np.abs(back[:, 12, 3].int().numpy() - [0, 127, 127]).max() < 4


def test_comments_are_where_others_find_them(tmp_path, picture):
    pillow = pytest.importorskip("PIL.Image")
    write_image(tmp_path / "a.png", picture, comment="guessed: ä")
    write_image(tmp_path / "a.jpg", picture, comment="guessed: ä")
    with pillow.open(tmp_path / "a.png") as image:
        assert image.text["Comment"] == "guessed: ä"
    with pillow.open(tmp_path / "a.jpg") as image:
        assert image.info["comment"] == "guessed: ä".encode()
        assert image.info["jfif"] == 257  # the first segment stayed the first
    assert torch.equal(read_image(tmp_path / "a.png"), picture)
    write_image(tmp_path / "a.bmp", picture, comment="no place for it")
    assert torch.equal(read_image(tmp_path / "a.bmp"), picture)


def test_palette_with_transparent_entry(tmp_path):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    body = chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 8, 3, 0, 0, 0))
    body += chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255])) + chunk(b"tRNS", bytes([255, 0, 255]))
    body += chunk(b"IDAT", zlib.compress(bytes([0, 0, 1, 2]))) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert read_image(tmp_path / "a.png").permute(1, 2, 0).tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]


# How EXIF (2.3, tag 0x0112) says that row 0 and column 0 of the stored picture lie, undone with numpy.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path, picture, orientation):
    data = encode_image(picture, ".jpg")
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "plain.jpg").write_bytes(data)
    (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:])
    stored = read_image(tmp_path / "plain.jpg").permute(1, 2, 0).numpy()
    assert np.array_equal(read_image(tmp_path / "a.jpg").permute(1, 2, 0).numpy(), UPRIGHT[orientation](stored))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_truncated_images_are_refused(tmp_path, picture, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encode_image(picture, f".{suffix}")[:-300])
    with pytest.raises(MediaError, match="damaged"):
        read_image(path)


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(MediaError, match="no image that OpenCV knows"):
        read_image(tmp_path / "a.png")


def test_floating_point_pixels_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tiff"), np.zeros((4, 4, 3), np.float32))
    with pytest.raises(MediaError, match=r"float32.*8 or 16 bits"):
        read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize(("name", "message"), [("", "name of the file to write is empty"), ("-", "standard output")])
def test_no_file_is_named(picture, name, message):
    with pytest.raises(MediaError, match=message):
        write_image(name, picture)


@pytest.mark.parametrize("name", ["a.xyz", "a"])
def test_an_unknown_ending_is_refused(tmp_path, picture, name):
    with pytest.raises(MediaError, match=r"no known image format.*\.png"):
        write_image(tmp_path / name, picture)


@pytest.mark.parametrize(
    ("image", "name", "message"),
    [
        (torch.zeros(3, 4, 4), "a.png", "uint8 or uint16, got float32"),
        (torch.zeros(4, 4, dtype=torch.uint8), "a.png", r"\(3, H, W\) or \(1, H, W\)"),
        (torch.zeros(5, 4, 3, dtype=torch.uint8), "a.png", r"\(3, H, W\)"),
        (torch.zeros(3, 0, 4, dtype=torch.uint8), "a.png", r"\(3, H, W\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint16), "a.jpg", ".jpg holds uint8, got uint16"),
        (torch.zeros(4, 4, 4, dtype=torch.uint8), "a.jpg", r".jpg holds no transparency.*\.png"),
    ],
)
def test_bad_images_are_refused(tmp_path, image, name, message):
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, image)
    assert list(tmp_path.iterdir()) == []


def test_bits_are_eight_or_sixteen(tmp_path, picture):
    with pytest.raises(ValueError, match="bits"):
        read_image(tmp_path / "a.png", bits=10)
