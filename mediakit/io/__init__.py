"""Audio, video and image files to and from tensors: the only door to decoding and encoding.

Conventions, the same for every function:

* **Time** is in seconds. 0 is the start of the file (the container's start time), for pictures and sound alike. Windows
  are half open: ``start <= time < stop``; ``stop=None`` reaches to the end.
* **Pictures** are uint8 RGB of shape (3, H, W), upright, interleaved in memory (a view of (H, W, 3)).
* **Sound** is float32 in [-1, 1] of shape (C, N).
* **Streams** of one kind count from 0, cover art left out.
* **Writing** is atomic: a file appears whole or not at all, and an earlier one stays until then.
* **Errors**: `.MediaError` (or its child `.NoStreamError`) names the file, what is wrong and what to do; `ValueError`
  means an argument. A file that is damaged further on gives what is intact, and one warning.
* **FFmpeg** keeps silent, reads local files only, and works on as many threads as it likes.
"""

from mediakit.io.ahead import prefetch
from mediakit.io.audio import Audio, read_audio, read_audio_blocks, resample
from mediakit.io.encode import recompress, write_audio, write_video
from mediakit.io.files import atomic_path, check_readable, check_writable, read_text, sha256, write_bytes, write_text
from mediakit.io.headers import AudioStream, MediaInfo, PacketScan, VideoStream, probe, scan_packets
from mediakit.io.image import encode_image, read_image, write_image
from mediakit.io.video import Frame, VideoClip, load_video, read_video

__all__ = [
    "Audio",
    "AudioStream",
    "Frame",
    "MediaInfo",
    "PacketScan",
    "VideoClip",
    "VideoStream",
    "atomic_path",
    "check_readable",
    "check_writable",
    "encode_image",
    "load_video",
    "prefetch",
    "probe",
    "read_audio",
    "read_audio_blocks",
    "read_image",
    "read_text",
    "read_video",
    "recompress",
    "resample",
    "scan_packets",
    "sha256",
    "write_audio",
    "write_bytes",
    "write_image",
    "write_text",
    "write_video",
]
