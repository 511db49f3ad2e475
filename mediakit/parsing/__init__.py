"""Audio-visual video parsing: which events are heard, seen, or both, second by second.

The names resolve lazily (PEP 562): importing this package loads no network and no Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# No name here may equal a submodule's: importing that submodule would replace the function on the package.
_HOME = {
    "ParsingModel": "model",
    "ParsingOutput": "model",
    "HAN": "han",
    "load_official": "official",
    "official_state": "official",
    "mmcse_loss": "losses",
    "han_loss": "losses",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from mediakit.parsing.han import HAN as HAN
    from mediakit.parsing.losses import han_loss as han_loss
    from mediakit.parsing.losses import mmcse_loss as mmcse_loss
    from mediakit.parsing.model import ParsingModel as ParsingModel
    from mediakit.parsing.model import ParsingOutput as ParsingOutput
    from mediakit.parsing.official import load_official as load_official
    from mediakit.parsing.official import official_state as official_state


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mediakit.parsing' has no attribute {name!r}")
    value = getattr(import_module(f"mediakit.parsing.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
