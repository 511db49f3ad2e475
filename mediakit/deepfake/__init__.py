"""Deepfake detection from the motion of 3D face landmarks, read in phase space and weighed as evidence.

The names resolve lazily (PEP 562): importing this package loads no network and no Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# No name here may equal a submodule's: importing that submodule would replace the function on the package.
_HOME = {
    "track_signals": "signals",
    "Signals": "signals",
    "delay_embed": "phase",
    "average_mutual_information": "phase",
    "first_minimum": "phase",
    "false_nearest_neighbors": "phase",
    "recurrence_rate": "phase",
    "phase_portrait": "phase",
    "loop_area": "phase",
    "loop_length": "phase",
    "masses_from_logits": "evidence",
    "discount": "evidence",
    "dempster_combine": "evidence",
    "combine": "evidence",
    "belief_interval": "evidence",
    "pignistic": "evidence",
    "DeepfakeModel": "model",
    "DeepfakeOutput": "model",
    "LRNet": "lrnet",
    "deepfake_loss": "losses",
    "DeepfakeModule": "module",
    "DeepfakeDataModule": "data",
    "scan": "index.scanners",
    "VideoRecord": "index.records",
    "LandmarkCache": "landmark_cache",
    "pseudo_fake": "pseudo_fakes",
    "compression_noise": "landmark_noise",
    "PersonModel": "person",
    "detect_file": "predict",
    "detect_tracks": "predict",
    "DeepfakeResult": "result",
    "measure_robustness": "robustness",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from mediakit.deepfake.data import DeepfakeDataModule as DeepfakeDataModule
    from mediakit.deepfake.evidence import belief_interval as belief_interval
    from mediakit.deepfake.evidence import combine as combine
    from mediakit.deepfake.evidence import dempster_combine as dempster_combine
    from mediakit.deepfake.evidence import discount as discount
    from mediakit.deepfake.evidence import masses_from_logits as masses_from_logits
    from mediakit.deepfake.evidence import pignistic as pignistic
    from mediakit.deepfake.index.records import VideoRecord as VideoRecord
    from mediakit.deepfake.index.scanners import scan as scan
    from mediakit.deepfake.landmark_cache import LandmarkCache as LandmarkCache
    from mediakit.deepfake.landmark_noise import compression_noise as compression_noise
    from mediakit.deepfake.losses import deepfake_loss as deepfake_loss
    from mediakit.deepfake.lrnet import LRNet as LRNet
    from mediakit.deepfake.model import DeepfakeModel as DeepfakeModel
    from mediakit.deepfake.model import DeepfakeOutput as DeepfakeOutput
    from mediakit.deepfake.module import DeepfakeModule as DeepfakeModule
    from mediakit.deepfake.person import PersonModel as PersonModel
    from mediakit.deepfake.phase import average_mutual_information as average_mutual_information
    from mediakit.deepfake.phase import delay_embed as delay_embed
    from mediakit.deepfake.phase import false_nearest_neighbors as false_nearest_neighbors
    from mediakit.deepfake.phase import first_minimum as first_minimum
    from mediakit.deepfake.phase import loop_area as loop_area
    from mediakit.deepfake.phase import loop_length as loop_length
    from mediakit.deepfake.phase import phase_portrait as phase_portrait
    from mediakit.deepfake.phase import recurrence_rate as recurrence_rate
    from mediakit.deepfake.predict import detect_file as detect_file
    from mediakit.deepfake.predict import detect_tracks as detect_tracks
    from mediakit.deepfake.pseudo_fakes import pseudo_fake as pseudo_fake
    from mediakit.deepfake.result import DeepfakeResult as DeepfakeResult
    from mediakit.deepfake.robustness import measure_robustness as measure_robustness
    from mediakit.deepfake.signals import Signals as Signals
    from mediakit.deepfake.signals import track_signals as track_signals


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mediakit.deepfake' has no attribute {name!r}")
    value = getattr(import_module(f"mediakit.deepfake.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
