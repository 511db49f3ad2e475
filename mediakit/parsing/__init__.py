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
    "ParsingModule": "module",
    "ParsingDataModule": "data",
    "SimulatedDataModule": "simulation.data",
    "AVVPScore": "metrics",
    "avvp_scores": "metrics",
    "decide": "metrics",
    "oracle_ladder": "metrics",
    "Event": "events",
    "segments_to_events": "events",
    "events_to_segments": "events",
    "ParsingResult": "result",
    "predict_file": "predict",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from mediakit.parsing.data import ParsingDataModule as ParsingDataModule
    from mediakit.parsing.events import Event as Event
    from mediakit.parsing.events import events_to_segments as events_to_segments
    from mediakit.parsing.events import segments_to_events as segments_to_events
    from mediakit.parsing.han import HAN as HAN
    from mediakit.parsing.losses import han_loss as han_loss
    from mediakit.parsing.losses import mmcse_loss as mmcse_loss
    from mediakit.parsing.metrics import AVVPScore as AVVPScore
    from mediakit.parsing.metrics import avvp_scores as avvp_scores
    from mediakit.parsing.metrics import decide as decide
    from mediakit.parsing.metrics import oracle_ladder as oracle_ladder
    from mediakit.parsing.model import ParsingModel as ParsingModel
    from mediakit.parsing.model import ParsingOutput as ParsingOutput
    from mediakit.parsing.module import ParsingModule as ParsingModule
    from mediakit.parsing.official import load_official as load_official
    from mediakit.parsing.official import official_state as official_state
    from mediakit.parsing.predict import predict_file as predict_file
    from mediakit.parsing.result import ParsingResult as ParsingResult
    from mediakit.parsing.simulation.data import SimulatedDataModule as SimulatedDataModule


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mediakit.parsing' has no attribute {name!r}")
    value = getattr(import_module(f"mediakit.parsing.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
