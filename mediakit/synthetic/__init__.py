"""Real media files whose truth is known: event clips, talking heads and scenes, drawn from a seed.

The names resolve lazily (PEP 562), each at its home in this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mediakit.synthetic.clip import Clip, Generator
    from mediakit.synthetic.corpus import generate_clips, open_generator, read_truth, write_clip
    from mediakit.synthetic.events import EventClips
    from mediakit.synthetic.heads import TalkingHeads
    from mediakit.synthetic.scenes import Scenes

_HOMES = {
    "Clip": "clip",
    "EventClips": "events",
    "Generator": "clip",
    "Scenes": "scenes",
    "TalkingHeads": "heads",
    "generate_clips": "corpus",
    "open_generator": "corpus",
    "read_truth": "corpus",
    "write_clip": "corpus",
}

__all__ = [
    "Clip",
    "EventClips",
    "Generator",
    "Scenes",
    "TalkingHeads",
    "generate_clips",
    "open_generator",
    "read_truth",
    "write_clip",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
