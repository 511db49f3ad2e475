"""Face tracks of generated heads in folders, without any rendering."""

import pytest
import torch

from mediakit.synthetic.heads import TalkingHeads
from mediakit.tracks import FaceTrack, FaceTracks

SIDE = 420


@pytest.fixture(scope="session")
def head_tracks(tmp_path_factory):
    """``SPLIT/LABEL/NAME.safetensors``: train 4 and val 2 genuine heads, test 3 and two twins of each."""
    folder = tmp_path_factory.mktemp("heads")
    for split, kinds, count in (
        ("train", ("real",), 4),
        ("val", ("real",), 2),
        ("test", ("real", "jitter", "contour_slide"), 9),
    ):
        heads = TalkingHeads(split=split, kinds=kinds, seconds=4.0, size=(SIDE, SIDE), identities=4)
        for number in range(count):
            clip = heads.clip(number)
            truth = clip.tensors()
            noise = torch.randn(truth["points"].shape, generator=torch.Generator().manual_seed(number))
            points = truth["points"] + 0.2 * noise
            track = FaceTrack(points, torch.ones(len(points), dtype=torch.bool), truth["time"])
            path = folder / split / f"{clip.id}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            FaceTracks((track,), (SIDE, SIDE), len(points), len(points), 0).save(path)
    return folder
