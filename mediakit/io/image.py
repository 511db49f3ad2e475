"""Still images to and from tensors, by OpenCV: FFmpeg knows neither libjpeg's upsampling nor every EXIF orientation."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from mediakit.errors import MediaError, require
from mediakit.io.files import StrPath, check_readable, destination, write_bytes

_DEEP = (".png", ".tif", ".tiff")  # hold 8 or 16 bits
_TRANSPARENT = (*_DEEP, ".webp")
_KNOWN = (*_DEEP, ".jpg", ".jpeg", ".webp", ".bmp")


def read_image(path: StrPath, *, bits: int | None = 8, alpha: bool = False) -> torch.Tensor:
    """Reads an image, upright as its EXIF data asks; gray, palette and CMYK become RGB.

    Args:
        path: PNG, JPEG, WebP, BMP, TIFF or GIF (its first picture), or whatever else this build of OpenCV reads.
        bits: 8 gives uint8, 16 gives uint16, None what the file has. Full scale stays full scale: 8-bit values are
            multiplied by 257, 16-bit ones divided by it and rounded.
        alpha: Whether to keep transparency as a fourth channel, where the image has some; else it is laid over white.

    Returns:
        RGB, (3, H, W), or with ``alpha`` also RGBA, (4, H, W): a view of interleaved memory.

    Raises:
        ValueError: ``bits`` is none of these.
        MediaError: The file cannot be read, is no image or is damaged.
    """
    if bits not in (8, 16, None):
        raise ValueError(f"bits must be 8, 16 or None, got {bits}")
    cv2 = require("cv2", "Reading images", "opencv-python")
    path = check_readable(path)
    data = np.fromfile(path, np.uint8)
    # OpenCV turns the picture upright only where it may drop transparency, so we ask for that only where there is some.
    flags = cv2.IMREAD_UNCHANGED if _may_be_transparent(data.tobytes()) else cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise MediaError(path, f"cannot be read as an image ({error.err})") from error
    if image is None:
        raise MediaError(path, "is damaged or no image that OpenCV knows", "Fetch it again, or save it as PNG or JPEG.")
    if image.dtype not in (np.uint8, np.uint16):
        raise MediaError(path, f"has pixels of type {image.dtype}", "Save it with 8 or 16 bits per channel.")
    full = np.iinfo(image.dtype).max
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    elif image.shape[2] == 4 and not alpha:
        opacity = image[:, :, 3:].astype(np.float64) / full
        image = np.rint(image[:, :, :3] * opacity + full * (1 - opacity)).astype(image.dtype)
    if bits == 8 and full == 65535:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif bits == 16 and full == 255:
        image = image.astype(np.uint16) * np.uint16(257)
    image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return torch.from_numpy(image).permute(2, 0, 1)


def _may_be_transparent(data: bytes) -> bool:
    if data[:2] == b"\xff\xd8":  # JPEG
        return False
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return data[25] in (4, 6) or b"tRNS" in data[: data.find(b"IDAT")]
    if data[8:12] == b"WEBP":
        return data[12:16] == b"VP8L" or (data[12:16] == b"VP8X" and bool(data[20] & 0x10))
    return True


def encode_image(image: torch.Tensor, suffix: str, *, quality: int = 95, comment: str = "") -> bytes:
    """Encodes an image in memory.

    Args:
        image: uint8 or uint16, (3, H, W) RGB, (1, H, W) gray or, but for JPEG and BMP, (4, H, W) RGBA.
        suffix: ``".png"``, ``".tif"`` (8 or 16 bits), ``".jpg"``, ``".webp"`` or ``".bmp"`` (8 bits).
        quality: Of JPEG and WebP, 1 to 100; above 100, WebP is lossless.
        comment: Text to put into the file; PNG and JPEG have a place for it, others leave it out.

    Raises:
        ValueError: The format is unknown, the image has a wrong shape or type, or more bits than the format holds.
    """
    cv2 = require("cv2", "Writing images", "opencv-python")
    if suffix not in _KNOWN:
        raise ValueError(f"unknown image format {suffix!r}; use one of {', '.join(_KNOWN)}")
    array = image.detach().cpu().numpy()
    if array.ndim != 3 or array.shape[0] not in (1, 3, 4) or 0 in array.shape:
        raise ValueError(f"an image must be (4, H, W), (3, H, W) or (1, H, W), got {tuple(array.shape)}")
    if array.shape[0] == 4 and suffix not in _TRANSPARENT:
        raise ValueError(f"{suffix} holds no transparency; use one of {', '.join(_TRANSPARENT)}")
    if array.dtype != np.uint8 and not (suffix in _DEEP and array.dtype == np.uint16):
        raise ValueError(f"{suffix} holds uint8{' or uint16' if suffix in _DEEP else ''}, got {array.dtype}")
    interleaved = np.ascontiguousarray(array.transpose(1, 2, 0))
    if len(array) > 1:
        interleaved = cv2.cvtColor(interleaved, cv2.COLOR_RGBA2BGRA if len(array) == 4 else cv2.COLOR_RGB2BGR)
    options = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".jpeg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}
    parameters = [options[suffix], int(quality)] if suffix in options else []
    done, data = cv2.imencode(suffix, interleaved, parameters)
    if not done:
        raise ValueError(f"an image of {array.shape[2]} x {array.shape[1]} pixels cannot be encoded as {suffix}")
    return _with_comment(data.tobytes(), suffix, comment) if comment else data.tobytes()


def _with_comment(data: bytes, suffix: str, comment: str) -> bytes:
    """Puts a text where the format wants it: PNG after its header of 33 bytes, JPEG after its first segment."""
    if suffix == ".png":
        chunk = b"iTXtComment\0\0\0\0\0" + comment.encode()  # not compressed, no language
        return data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    if suffix in (".jpg", ".jpeg"):
        text = comment.encode()[:65533]
        at = 4 + int.from_bytes(data[4:6], "big")
        return data[:at] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + data[at:]
    return data


def write_image(path: StrPath, image: torch.Tensor, *, quality: int = 95, comment: str = "") -> None:
    """Writes an image, whole or not at all, in the format that the name's ending says.

    Args:
        path: ``.png``, ``.tif`` (8 or 16 bits), ``.jpg``, ``.webp`` or ``.bmp`` (8 bits).
        image: uint8 or uint16, (3, H, W) RGB, (1, H, W) gray or, but for JPEG and BMP, (4, H, W) RGBA.
        quality: Of JPEG and WebP, 1 to 100; above 100, WebP is lossless.
        comment: As `encode_image`.

    Raises:
        ValueError: As `encode_image`.
        MediaError: The ending is unknown, or the file cannot be written.
    """
    destination(path)
    suffix = Path(path).suffix.lower()
    if suffix not in _KNOWN:
        problem = f"has an ending that names no known image format ({suffix or 'none'})"
        raise MediaError(path, problem, f"Use one of {', '.join(_KNOWN)}.")
    write_bytes(path, encode_image(image, suffix, quality=quality, comment=comment))
