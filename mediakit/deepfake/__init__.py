"""Deepfake detection from the motion of 3D face landmarks, read in phase space and weighed as evidence.

The names resolve lazily (PEP 562): importing this package loads no network and no Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# No name here may equal a submodule's: importing that submodule would replace the function on the package.
_HOME: dict[str, str] = {
    "track_signals": "signals",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from mediakit.deepfake.signals import track_signals as track_signals


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mediakit.deepfake' has no attribute {name!r}")
    value = getattr(import_module(f"mediakit.deepfake.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
