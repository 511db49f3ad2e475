"""The data module on small folders whose every number is known, and on what is wrong with such folders."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mediakit.errors import MediaError, MediakitError
from mediakit.features import SCHEMA
from mediakit.io import sha256
from mediakit.parsing.data import ParsingDataModule
from mediakit.parsing.dataset import cut_windows
from mediakit.parsing.pooling import pool_clap, pool_frames

PETS = ["Dog", "Cat", "Bird"]
WIDTHS = {"audio": 4, "frames": 6, "clips": 2}


def array(name: str, feature: str, rows: int, width: int) -> np.ndarray:
    """Numbers that say where they are from: second + 100 per video, the feature in the fraction."""
    base = 100 * sum(map(ord, name)) + 0.25 * list(WIDTHS).index(feature)
    return (base + np.arange(rows)[:, None] + np.zeros(width)).astype(np.float32)


def write_features(folder: Path, lengths: dict[str, int], **widths: int) -> Path:
    for name, rows in lengths.items():
        for feature, width in (WIDTHS | widths).items():
            (folder / feature).mkdir(parents=True, exist_ok=True)
            np.save(folder / feature / f"{name}.npy", array(name, feature, rows, width))
    return folder


def write_tables(folder: Path, weak: dict[str, str], audio: str | None = "", visual: str | None = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{name}\t{labels}\n" for name, labels in weak.items())
    (folder / "weak.csv").write_text("filename\tevent_labels\n" + rows)
    for name, text in (("audio", audio), ("visual", visual)):
        if text is not None:
            events = text.replace(" ", "\t").replace(";", "\n")
            (folder / f"{name}.csv").write_text("filename\tonset\toffset\tevent_labels\n" + events)
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    """Training videos of 4, 6 and 2 seconds, validation of 4, test of 5."""
    write_tables(
        tmp_path / "labels/train", {"a": "Dog", "b": "Dog,Cat", "c": "Bird"}, "b 0 3 Dog;c 0 1 Bird", "b 4 6 Cat"
    )
    write_tables(tmp_path / "labels/val", {"v": "Dog"}, "v 0 2 Dog", "v 1 4 Dog")
    write_tables(tmp_path / "labels/test", {"t": "Cat"}, "t 0 1 Cat", "t 3 5 Cat")
    write_features(tmp_path / "features", {"a": 4, "b": 6, "c": 2, "v": 4, "t": 5})
    return tmp_path


def module(root: Path, **options) -> ParsingDataModule:
    given = {"format": "folder", "classes": PETS, "segments": 4, "segment_labels": "dense", "batch_size": 8} | options
    return ParsingDataModule(str(root / "features"), str(root / "labels"), **given)


def items(data: ParsingDataModule, split: str) -> list[dict]:
    found = data.dataset(split)
    return [found[n] for n in range(len(found))]


def test_windows_of_the_training_split(root):
    a, b0, b1, c = items(module(root), "train")
    assert [(item["id"], item["start"]) for item in (a, b0, b1, c)] == [("a", 0), ("b", 0), ("b", 2), ("c", 0)]
    for item, name, seconds in ((a, "a", [0, 1, 2, 3]), (b1, "b", [2, 3, 4, 5]), (c, "c", [0, 1, 1, 1])):
        for feature, width in WIDTHS.items():
            assert item[feature].dtype == torch.float32
            assert np.array_equal(item[feature], array(name, feature, 6, width)[seconds])
    assert [item["valid"].sum().item() for item in (a, b0, b1, c)] == [4, 4, 4, 2]
    assert c["valid"].tolist() == [True, True, False, False]
    # What is whole keeps its video's weak label, though nothing of it is in the dense tables; windows have their own.
    assert a["labels"].tolist() == [1, 0, 0]
    assert not a["audio_segments"].any()
    assert b0["labels"].tolist() == [1, 0, 0]
    assert b1["labels"].tolist() == [1, 1, 0]
    assert b0["audio_segments"][:, 0].tolist() == [1, 1, 1, 0]
    assert b1["audio_segments"][:, 0].tolist() == [1, 0, 0, 0]
    assert b1["visual_segments"][:, 1].tolist() == [0, 0, 1, 1]
    assert c["audio_segments"][:, 2].tolist() == [1, 0, 0, 0]  # filled up with its last second, which has no event
    assert not {"true_audio", "true_visual"} & a.keys()


def test_scored_splits_hold_the_truth(root):
    data = module(root, segments=6)
    (v,) = items(data, "val")
    assert v["true_audio"].dtype == torch.uint8
    assert v["true_audio"][:, 0].tolist() == [1, 1, 0, 0, 0, 0]
    assert v["true_visual"][:, 0].tolist() == [0, 1, 1, 1, 0, 0]  # 0 where valid is False
    assert v["visual_segments"][:, 0].tolist() == [0, 1, 1, 1, 1, 1]
    assert v["valid"].tolist() == [True] * 4 + [False] * 2
    assert data.annotations("val").ids == ("v",)
    assert data.source.endswith("labels val")
    assert data.classes == tuple(PETS)


def test_batches_from_the_loader(root):
    data = module(root)
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert sorted(batch["id"]) == ["a", "b", "b", "c"]
    assert batch["start"].dtype == torch.int64
    assert {name: tuple(batch[name].shape) for name in batch.keys() - {"id"}} == {
        "start": (4,),
        "valid": (4, 4),
        "audio": (4, 4, 4),
        "frames": (4, 4, 6),
        "clips": (4, 4, 2),
        "labels": (4, 3),
        "audio_segments": (4, 4, 3),
        "visual_segments": (4, 4, 3),
    }
    assert all(batch[name].dtype == torch.float32 for name in ("audio", "labels", "audio_segments"))


def test_weak_labels_in_every_second(root):
    a, b0, b1, _ = items(module(root, segment_labels="weak"), "train")
    assert a["audio_segments"].tolist() == a["visual_segments"].tolist() == [[1, 0, 0]] * 4
    assert b0["labels"].tolist() == b1["labels"].tolist() == [1, 1, 0]


def test_pseudo_labels(root):
    for name, rows in (("a", 4), ("b", 6), ("c", 2)):
        for modality in ("audio", "visual"):
            (root / "pseudo" / modality).mkdir(parents=True, exist_ok=True)
            values = np.zeros((rows, 3), np.uint8 if name == "a" else np.float32)
            values[-1, 1] = 1
            np.save(root / "pseudo" / modality / f"{name}.npy", values)
    data = module(root, segment_labels="pseudo", pseudo_labels=str(root / "pseudo"))
    a, b0, b1, c = items(data, "train")
    assert a["audio_segments"][:, 1].tolist() == [0, 0, 0, 1]
    assert a["labels"].tolist() == [1, 0, 0]
    assert (b0["labels"].tolist(), b1["labels"].tolist()) == ([0, 0, 0], [0, 1, 0])
    assert c["visual_segments"][:, 1].tolist() == [0, 1, 1, 1]
    np.save(root / "pseudo" / "audio" / "a.npy", np.zeros((4, 25)))
    np.save(root / "pseudo" / "visual" / "a.npy", np.full((4, 3), 2.0))
    np.save(root / "pseudo" / "audio" / "b.npy", np.full((6, 3), np.nan))
    (root / "pseudo" / "visual" / "c.npy").unlink()
    with pytest.raises(MediakitError, match="4 pseudo-labels cannot be used") as error:
        items(data, "train")
    for text in (
        "audio/a.npy is (4, 25), not (4, 3)",
        "visual/a.npy holds values outside",
        "not finite",
        "does not exist",
    ):
        assert text in str(error.value)
    items(data, "val")  # which has dense truth instead


def test_features_as_they_circulate(tmp_path):
    """LLP's files by 11 characters, in folders of the authors' names, of the authors' shapes."""
    draw, name = np.random.default_rng(0), "B_-ufrlXm4x"
    clap, resnet, motion = (draw.normal(size=shape).astype(np.float32) for shape in ((64, 768), (80, 32), (10, 8)))
    for folder, values in (("clap", clap), ("res152", resnet), ("r2plus1d_18", motion)):
        (tmp_path / "features" / folder).mkdir(parents=True)
        np.save(tmp_path / "features" / folder / f"{name}.npy", values)
    labels = tmp_path / "labels"
    labels.mkdir()
    row = f"filename\tevent_labels\n{name}_20_30\tDog\n"
    (labels / "AVVP_train.csv").write_text(row.replace("20_30", "0_10"))
    (labels / "AVVP_val_pd.csv").write_text(row.replace("20_30", "30_40"))
    (labels / "AVVP_test_pd.csv").write_text(row)
    for modality in ("audio", "visual"):
        (labels / f"AVVP_eval_{modality}.csv").write_text(
            f"filename\tonset\toffset\tevent_labels\n{name}_20_30\t2\t4\tDog\n"
        )
    names = {"audio_folder": "clap", "frames_folder": "res152", "clips_folder": "r2plus1d_18"}
    data = ParsingDataModule(str(tmp_path / "features"), str(labels), **names)
    (item,) = items(data, "test")
    assert item["id"] == f"{name}_20_30"
    assert torch.equal(item["audio"], pool_clap(torch.from_numpy(clap)))
    assert torch.equal(item["frames"], pool_frames(torch.from_numpy(resnet)))
    assert item["true_audio"][:, 3].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert data.source == "LLP test, events of 2020"
    assert data.encoders == {"audio": None, "frames": None, "clips": None}
    half = ParsingDataModule(str(tmp_path / "features"), str(labels), half=True, **names)
    stored = half.dataset("test")
    assert stored.tensors["audio"].dtype == torch.half
    assert stored[0]["audio"].dtype == torch.float32
    torch.testing.assert_close(stored[0]["audio"], item["audio"], atol=1e-3, rtol=1e-3)
    with pytest.raises(MediakitError, match=r"no audio features \(folder 'audio'\).*--data\.audio_folder"):
        ParsingDataModule(
            str(tmp_path / "features"), str(labels), frames_folder="res152", clips_folder="r2plus1d_18"
        ).dataset("test")


def test_all_that_is_wrong_is_named_at_once(root):
    features = root / "features"
    (features / "audio" / "a.npy").unlink()
    np.save(features / "frames" / "b.npy", np.full((6, 6), np.nan))
    np.save(features / "clips" / "c.npy", np.zeros((3, 2)))
    with pytest.raises(MediakitError, match="3 features of 3 videos cannot be used") as error:
        items(module(root), "train")
    for text in ("audio/a.npy does not exist", "frames/b.npy holds values that are not finite", "c: 2 rows of audio"):
        assert text in str(error.value)
    np.save(features / "audio" / "v.npy", np.zeros((4, 5)))
    data = module(root)
    data.dataset("test")
    with pytest.raises(MediakitError, match="audio features are 5 wide, but 4 in"):
        data.dataset("val")
    write_tables(root / "labels/val", {"v.mp4": "Dog"})
    with pytest.raises(MediakitError, match=r"The labels name 'v\.mp4', the features 'a'"):
        items(module(root), "val")


def test_width_within_a_split(root):
    np.save(root / "features" / "clips" / "b.npy", np.zeros((6, 3)))
    with pytest.raises(MediakitError, match=r"b\.npy is 3 wide, but .*a\.npy is 2"):
        items(module(root), "train")


def test_missing_videos_may_be_left_out(root):
    for feature in WIDTHS:
        (root / "features" / feature / "b.npy").unlink()
    data = module(root, skip_missing=True)
    with pytest.warns(UserWarning, match="1 of 3 videos have no features and are left out; scores are over 2: b"):
        found = data.dataset("train")
    assert found.ids == ("a", "c")
    assert data.left_out == {"train": ("b",)}
    assert data.annotations("train").ids == ("a", "c")
    assert data.annotations("train").audio.shape[0] == 2
    assert data.source.endswith("labels train, 2 of 3 videos")
    for name in "ac":
        (root / "features" / "audio" / f"{name}.npy").unlink()
    with pytest.raises(MediakitError, match="3 features of 3 videos cannot be used"):
        items(module(root, skip_missing=True), "train")


def test_labels_are_needed_where_they_are_used(root):
    (root / "labels/val/audio.csv").unlink()
    (root / "labels/val/visual.csv").unlink()
    with pytest.raises(MediakitError, match=r"labels val has no dense truth .* but scores need it"):
        items(module(root), "val")
    (root / "labels/train/audio.csv").unlink()
    (root / "labels/train/visual.csv").unlink()
    with pytest.raises(MediakitError, match="but segment_labels is 'dense'"):
        items(module(root), "train")
    assert len(items(module(root, segment_labels="weak"), "train")) == 4
    with pytest.raises(MediakitError, match="needs the folder of pseudo_labels"):
        items(module(root, segment_labels="pseudo"), "train")
    with pytest.raises(MediakitError, match="one of them is meant"):
        module(root, pseudo_labels="x")
    with pytest.raises(MediakitError, match="segments must be"):
        module(root, segments=0)
    with pytest.raises(MediakitError, match="unknown class 'Dog'"):
        items(module(root, classes=["dog", "Cat", "Bird"]), "train")
    with pytest.raises(MediakitError, match="test split needs labels"):
        ParsingDataModule(str(root / "features")).dataset("test")


def test_prediction_needs_no_labels(root):
    found = items(module(root), "predict")
    assert [(item["id"], item["start"]) for item in found] == [("t", 0), ("t", 1)]
    assert found[0].keys() == {"id", "start", "audio", "frames", "clips", "valid"}
    every = items(ParsingDataModule(str(root / "features"), segments=4), "predict")
    assert [item["id"] for item in every] == ["a", "b", "b", "c", "t", "t", "v"]


def test_findings_and_late_events_are_warned_of(root):
    write_tables(root / "labels/val", {"v": "Dog"}, "v 0 9 Dog;v 1 2 Dog")
    data = module(root)
    with pytest.warns(UserWarning, match="findings|events") as caught:
        (item,) = items(data, "val")
    texts = [str(warning.message) for warning in caught]
    assert any("1 findings in the labels; `mediakit check-labels" in text for text in texts)
    assert any("events after the end of the features are cut off in v" in text for text in texts)
    assert item["true_audio"][:, 0].tolist() == [1, 1, 1, 1]


def write_manifest(folder: Path, encoder: str, absent: dict[str, dict[str, str]] | None = None) -> None:
    files = {}
    names = {path.stem for feature in WIDTHS for path in (folder / feature).glob("*.npy")}
    for name in names:
        made = {}
        for feature in WIDTHS:
            if (path := folder / feature / f"{name}.npy").exists():
                made[feature] = {"shape": list(np.load(path).shape), "sha256": sha256(path)}
        files[name] = {"features": made, "absent": (absent or {}).get(name, {})}
    features = {feature: {"encoder": {"name": encoder, "sha256": encoder * 8}} for feature in WIDTHS}
    text = json.dumps({"schema": SCHEMA, "files": files, "features": features})
    (folder / "manifest.json").write_text(text)


def test_features_of_other_encoders_do_not_mix(root):
    for split, encoder in (("train", "one"), ("val", "two")):
        names = {"a": 4, "b": 6, "c": 2} if split == "train" else {"v": 4}
        write_manifest(write_features(root / "features" / split, names), encoder)
    data = module(root)
    data.dataset("train")
    assert data.encoders["audio"]["name"] == "one"
    with pytest.raises(MediakitError, match=r"features/val and the features of another split: .*made by two.*but one"):
        data.dataset("val")


def test_changed_features_are_refused(root):
    write_manifest(root / "features", "one")
    items(module(root), "val")
    np.save(root / "features" / "audio" / "v.npy", np.ones((4, 4), np.float32))
    with pytest.raises(MediakitError, match=r"v\.npy has changed since it was made"):
        items(module(root), "val")


def test_films_without_sound(root):
    """Never trained or scored on unasked; predicted with zeros and a warning."""
    (root / "features" / "audio" / "t.npy").unlink()
    write_manifest(root / "features", "one", {"t": {"audio": "has no sound"}})
    with pytest.raises(MediakitError, match=r"t\.npy is not there: the source has no sound"):
        items(module(root), "test")
    with pytest.warns(UserWarning, match=r"1 videos have no sound or no pictures; zeros .*: t \(audio\)"):
        found = items(module(root), "predict")
    assert not found[0]["audio"].any()
    assert found[0]["audio"].shape == (4, 4)
    assert np.array_equal(found[1]["clips"], array("t", "clips", 5, 2)[1:])


def test_every_second_is_in_a_window_once_but_the_last_ones():
    for length in range(1, 12):
        video = torch.arange(float(length))[:, None]
        found = cut_windows({"x": (video, video, video)}, {}, 4)
        seen = [
            int(second)
            for n in range(len(found))
            for second, ok in zip(found[n]["audio"], found[n]["valid"], strict=True)
            if ok
        ]
        assert sorted(set(seen)) == list(range(length))
        assert len(found) == -(-length // 4)
        assert len(seen) == (4 * len(found) if length > 4 else length)


def test_plain_arguments_on_the_command_line(root):
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ParsingDataModule, "data")
    words = [f"--data.features={root / 'features'}", f"--data.labels={root / 'labels'}", "--data.format=folder"]
    made = ParsingDataModule(**parser.parse_args([*words, "--data.classes=[Dog, Cat, Bird]"]).data)
    assert made.classes == tuple(PETS)
    assert len(made.dataset("val")) == 1
    assert ParsingDataModule(**parser.parse_args([*words, "--data.classes=llp"]).data).classes[0] == "Speech"


def test_no_features_at_all(root):
    with pytest.raises(MediaError, match="nothing: does not exist"):
        ParsingDataModule(str(root / "nothing"), str(root / "labels"), "folder", classes=PETS).dataset("test")


@pytest.mark.slow
def test_generated_clips_end_to_end(tmp_path):
    """What `mediakit generate events` and `mediakit extract` write needs nothing in between."""
    from mediakit.extract import extract_folder
    from mediakit.synthetic.corpus import generate_clips

    options = {"count": 2, "seconds": 3, "size": (64, 96)}
    for split in ("train", "val"):
        videos = generate_clips("events", tmp_path / "labels" / split, split=split, **options)
        extract_folder(videos, tmp_path / "features" / split, features=("audio", "frames", "clips"), workers=1)
    data = ParsingDataModule(
        str(tmp_path / "features"), str(tmp_path / "labels"), "folder", segment_labels="dense", segments=3
    )
    data.setup("fit")
    (batch,) = data.val_dataloader()
    assert batch["audio"].shape == batch["frames"].shape == batch["clips"].shape == (2, 3, 320)
    assert batch["true_audio"].shape == (2, 3, 12)
    assert batch["valid"].all()
    assert torch.equal(batch["labels"], (batch["true_audio"] | batch["true_visual"]).amax(1).float())
    assert data.encoders["clips"]["name"] == "ClipEncoder(reference)"
