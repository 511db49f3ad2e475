"""Audio-infused colorization: gray pictures and films take their colours from what they show and from what is heard.

The names resolve lazily (PEP 562): importing this package loads no network and no Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# No name here may equal a submodule's: importing that submodule would replace the function on the package.
_HOME = {
    "ColorizationModel": "model",
    "ColorizeOutput": "model",
    "ColorizeModule": "module",
    "ColorizeDataModule": "data",
    "ColorScore": "metrics",
    "rgb_to_lab": "color",
    "lab_to_rgb": "color",
    "fit_gamut": "color",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from mediakit.colorize.color import fit_gamut as fit_gamut
    from mediakit.colorize.color import lab_to_rgb as lab_to_rgb
    from mediakit.colorize.color import rgb_to_lab as rgb_to_lab
    from mediakit.colorize.data import ColorizeDataModule as ColorizeDataModule
    from mediakit.colorize.metrics import ColorScore as ColorScore
    from mediakit.colorize.model import ColorizationModel as ColorizationModel
    from mediakit.colorize.model import ColorizeOutput as ColorizeOutput
    from mediakit.colorize.module import ColorizeModule as ColorizeModule


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mediakit.colorize' has no attribute {name!r}")
    value = getattr(import_module(f"mediakit.colorize.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
