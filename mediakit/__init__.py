"""mediakit: multi-task media forensics and understanding.

Public names are resolved on first use (PEP 562), so that ``import mediakit`` loads none of the heavy packages.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# No name here may equal a submodule's: importing that submodule would replace the function on the package.
_HOME = {
    "analyze_file": "mediakit.analyze",
    "AudioEncoder": "mediakit.encoders",
    "ClipEncoder": "mediakit.encoders",
    "FaceEncoder": "mediakit.encoders",
    "FrameEncoder": "mediakit.encoders",
    "MediakitError": "mediakit.errors",
    "extract_folder": "mediakit.extract",
    "track_faces": "mediakit.faces",
    "FeatureFolder": "mediakit.features",
    "load_video": "mediakit.io",
    "probe": "mediakit.io",
    "read_audio": "mediakit.io",
    "read_image": "mediakit.io",
    "read_video": "mediakit.io",
    "recompress": "mediakit.io",
    "write_audio": "mediakit.io",
    "write_image": "mediakit.io",
    "write_video": "mediakit.io",
    "FaceTracks": "mediakit.tracks",
    "load": "mediakit.weights",
}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from mediakit.analyze import analyze_file as analyze_file
    from mediakit.encoders import AudioEncoder as AudioEncoder
    from mediakit.encoders import ClipEncoder as ClipEncoder
    from mediakit.encoders import FaceEncoder as FaceEncoder
    from mediakit.encoders import FrameEncoder as FrameEncoder
    from mediakit.errors import MediakitError as MediakitError
    from mediakit.extract import extract_folder as extract_folder
    from mediakit.faces import track_faces as track_faces
    from mediakit.features import FeatureFolder as FeatureFolder
    from mediakit.io import load_video as load_video
    from mediakit.io import probe as probe
    from mediakit.io import read_audio as read_audio
    from mediakit.io import read_image as read_image
    from mediakit.io import read_video as read_video
    from mediakit.io import recompress as recompress
    from mediakit.io import write_audio as write_audio
    from mediakit.io import write_image as write_image
    from mediakit.io import write_video as write_video
    from mediakit.tracks import FaceTracks as FaceTracks
    from mediakit.weights import load as load


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mediakit' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
