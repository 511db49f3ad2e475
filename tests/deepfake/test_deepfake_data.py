"""Tracks of generated heads to windows: who is in which split, what pseudo-fakes share with their originals."""

import os

import pytest
import torch

from mediakit.deepfake import data as data_module
from mediakit.deepfake.data import DeepfakeDataModule
from mediakit.deepfake.landmark_cache import fill_cache
from mediakit.deepfake.signals import EXPRESSION, HEAD
from mediakit.errors import MediakitError
from mediakit.tracks import FaceTrack, FaceTracks


def test_windows_of_all_splits(head_tracks):
    data = DeepfakeDataModule(str(head_tracks), views=2, batch_size=4)
    data.setup("fit")
    data.setup("test")
    batch = next(iter(data.train_dataloader()))
    assert batch["head"].shape == (4, 96, HEAD)
    assert batch["expression"].shape == (4, 96, EXPRESSION)
    assert batch["valid"].dtype == torch.bool
    train = data.dataset("train").columns
    assert train["label"].mean() == 0.5  # each genuine window has a twin
    assert set(train["video"].tolist()) == set(range(2 * len(data.records["train"])))
    assert {r.label for r in data.records["train"]} == {0}
    test = data.dataset("test").columns
    assert (test["video"] % 2 == 0).all()
    labels = torch.tensor([record.label for record in data.records["test"]], dtype=torch.float)
    assert torch.equal(test["label"], labels[test["video"] // 2])
    persons = [{r.group for r in data.records[split]} for split in ("train", "val", "test")]
    assert sum(map(len, persons)) == len(set.union(*persons))


def test_equal_seeds_give_equal_views(head_tracks):
    one, same, other = (
        DeepfakeDataModule(str(head_tracks), views=1, seed=seed).dataset("train").signals for seed in (0, 0, 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.head, other.head)


def test_a_twin_shares_its_circumstances(head_tracks):
    signals, columns = (
        vars(DeepfakeDataModule(str(head_tracks), views=1).dataset("train"))[n] for n in ("signals", "columns")
    )
    real, fake = columns["label"] == 0, columns["label"] == 1
    assert torch.equal(columns["video"][real] + 1, columns["video"][fake])
    assert torch.equal(signals.valid[real], signals.valid[fake])
    # The head moves alike but for what a manipulated face does to its estimate; the face does not.
    moved = (signals.head[real] - signals.head[fake])[..., :3].abs().mean()
    assert moved < 0.2 * signals.head[real][..., :6].std()
    changed = (signals.expression[real] - signals.expression[fake])[..., :258].abs().mean((1, 2))
    assert (changed > 1e-4).all()


def test_progress_shows_unless_it_is_turned_off_and_native_code_is_not_heard(head_tracks, monkeypatch, capfd):
    def chatty(records, cache, *, workers, progress):
        os.write(2, b"W0000 native code\n")
        return fill_cache(records, cache, workers=workers, progress=progress)

    monkeypatch.setattr(data_module, "fill_cache", chatty)
    for progress, bars in ((True, ["videos: 100%", "views (train): 100%"]), (False, [])):
        DeepfakeDataModule(str(head_tracks), views=1, progress=progress).dataset("train")
        err = capfd.readouterr().err
        assert "native code" not in err
        assert all(bar in err for bar in bars)
        assert progress or not err


def test_views_are_made_on_one_thread_whatever_torch_may_use(head_tracks, monkeypatch):
    made = data_module.view
    seen = []
    monkeypatch.setattr(data_module, "view", lambda *job: seen.append(torch.get_num_threads()) or made(*job))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        DeepfakeDataModule(str(head_tracks), views=1, progress=False).dataset("val")
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_fresh_views_differ_from_epoch_to_epoch(head_tracks):
    data = DeepfakeDataModule(str(head_tracks), views=0, batch_size=100)
    data.setup("fit")
    first, second = (next(iter(data.train_dataloader())) for _ in range(2))
    assert sorted(first["label"].tolist()) == sorted(second["label"].tolist())
    assert first["label"].mean() == 0.5
    assert not torch.equal(first["head"], second["head"])


def test_fakes_of_the_data_set(head_tracks):
    data = DeepfakeDataModule(str(head_tracks), pseudo_fakes="none", official=False, shares=(0.5, 0.25, 0.25), views=1)
    windows = data.dataset("train")
    assert set(windows.columns["label"].tolist()) == {0, 1}
    assert (windows.columns["video"] % 2 == 0).all()
    data = DeepfakeDataModule(str(head_tracks), pseudo_fakes="also", official=False, shares=(0.5, 0.25, 0.25), views=1)
    more = data.dataset("train").columns
    assert (more["label"] == 1).sum() > (windows.columns["label"] == 1).sum()
    assert (more["label"] == 0).sum() == (windows.columns["label"] == 0).sum()


def test_a_video_without_a_face_is_remembered(head_tracks, tmp_path):
    for label in ("real", "fake"):
        (tmp_path / "test" / label).mkdir(parents=True)
    FaceTracks((), (100, 100), 50, 0, 0).save(tmp_path / "test" / "real" / "nobody.safetensors")
    some = sorted((head_tracks / "test" / "fake").iterdir())[0]
    (tmp_path / "test" / "fake" / some.name).write_bytes(some.read_bytes())
    data = DeepfakeDataModule(str(tmp_path))
    windows = data.dataset("test")
    assert len(data.records["test"]) == 2
    assert len(set(windows.columns["video"].tolist())) == 1


def test_what_cannot_be_used_is_named(head_tracks, tmp_path):
    only = tmp_path / "only"
    (only / "test" / "real").mkdir(parents=True)
    some = sorted((head_tracks / "test" / "real").iterdir())[0]
    (only / "test" / "real" / some.name).write_bytes(some.read_bytes())
    with pytest.raises(MediakitError, match="holds no videos of the split 'val'"):
        DeepfakeDataModule(str(only)).dataset("val")
    with pytest.raises(MediakitError, match="pseudo_fakes must be"):
        DeepfakeDataModule(str(head_tracks), pseudo_fakes="perhaps")
    with pytest.raises(MediakitError, match="no lists of its own"):
        DeepfakeDataModule(str(head_tracks), lists="somewhere").index()
    short = tmp_path / "short"
    (short / "val" / "real").mkdir(parents=True)
    track = FaceTracks.load(some).tracks[0]
    brief = FaceTrack(track.points[:10], track.valid[:10], track.time[:10])
    FaceTracks((brief,), (100, 100), 10, 10, 0).save(short / "val" / "real" / "brief.safetensors")
    with pytest.raises(MediakitError, match="no face of a second or longer"):
        DeepfakeDataModule(str(short)).dataset("val")
