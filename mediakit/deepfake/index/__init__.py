"""Which videos a data set holds, what is real and fake in it, who is in it, and what may be trained on."""

from mediakit.deepfake.index.celebdf import scan_celebdf
from mediakit.deepfake.index.dfdc import scan_dfdc
from mediakit.deepfake.index.faceforensics import scan_faceforensics
from mediakit.deepfake.index.folders import scan_folder
from mediakit.deepfake.index.records import SPLITS, VideoRecord, group_records
from mediakit.deepfake.index.scanners import SCANNERS, scan
from mediakit.deepfake.index.splits import Overlap, assign_splits, check_disjoint, overlaps
from mediakit.deepfake.index.summary import describe

__all__ = [
    "SCANNERS",
    "SPLITS",
    "Overlap",
    "VideoRecord",
    "assign_splits",
    "check_disjoint",
    "describe",
    "group_records",
    "overlaps",
    "scan",
    "scan_celebdf",
    "scan_dfdc",
    "scan_faceforensics",
    "scan_folder",
]
