import csv
import warnings

import numpy as np
import pytest
import torch
from little_films import COLORS, film, shot, tone

from mediakit.colorize.clips import cache as cache_module
from mediakit.colorize.clips.dataset import ClipDataset, middle_square
from mediakit.colorize.data import ColorizeDataModule
from mediakit.errors import MediakitError
from mediakit.io import Audio, write_image
from mediakit.jobs import JobError


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Films are decoded in this process."""

    def run(function, items, **options):
        for item in items:
            try:
                yield item, function(item)
            except Exception as error:
                yield item, JobError(str(error))

    monkeypatch.setattr(cache_module, "run_jobs", run)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Colour, gray, silent, still, mixed and broken films in folders named as splits and labels."""
    root = tmp_path_factory.mktemp("films")
    film(root / "train/sea/blue.mp4", ("blue", 2), sound=tone(2.0))
    film(root / "train/sea/gray.mp4", ("gray", 2), sound=tone(2.0))
    film(root / "train/wood/silent.mp4", ("green", 2), sound=Audio(torch.zeros(1, 32_000), 16_000, 0.0))
    film(root / "train/wood/still.mp4", ("green", 2), sound=tone(2.0, pitch=300), moving=False)
    film(root / "train/wood/mixed.mp4", ("gray", 2), ("green", 2), ("gray", 1), sound=tone(5.0))
    (root / "train/wood/broken.mp4").write_bytes(b"\0" * 500)
    film(root / "val/sea/deep.mp4", ("blue", 2), sound=tone(2.0, pitch=500))
    film(root / "test/fire/red.mp4", ("red", 3), size=(64, 36))
    (root / "test/fire/copy.mp4").write_bytes((root / "train/sea/blue.mp4").read_bytes())
    return root


@pytest.fixture
def data(films, tmp_path):
    options = {"size": 32, "frames": 3, "batch_size": 8, "progress": False, "label_folders": True}
    module = ColorizeDataModule(str(films), "folder", cache=str(tmp_path), **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module.setup("fit")
        module.setup("test")
    module.told = [str(w.message) for w in caught]
    return module


def test_batch(data):
    (batch,) = data.train_dataloader()
    assert set(batch) == {"frames", "waveform", "present", "label", "group", "id", "source"}
    assert batch["frames"].shape == (3, 3, 3, 32, 32)
    assert batch["frames"].dtype == torch.uint8
    assert batch["waveform"].shape == (3, 160_000)
    assert batch["waveform"].dtype == torch.float32
    order = {id: n for n, id in enumerate(batch["id"])}
    assert {*order} == {"train/wood/silent", "train/wood/still", "train/wood/mixed"}
    assert data.labels == data.groups == ("fire", "sea", "wood")
    assert batch["label"].tolist() == batch["group"].tolist() == [2, 2, 2]
    silent = order["train/wood/silent"]
    assert batch["present"].tolist() == [float(n != silent) for n in range(3)]
    assert not batch["waveform"][silent].any()
    assert batch["waveform"][order["train/wood/still"]].square().mean().sqrt() == pytest.approx(0.3 / 2**0.5, rel=0.05)
    assert batch["source"] == batch["id"]


def test_what_cannot_be_used_is_listed_and_not_fatal(data):
    assert {id: problem.partition(" (")[0] for id, problem in data.left_out} == {
        "train/sea/blue": "is a copy of test/fire/copy",  # the test keeps it
        "train/sea/gray": "is nearly gray",
        "train/wood/broken": next(problem for id, problem in data.left_out if "broken" in id).partition(" (")[0],
    }
    remarks = {(id, remark.partition(" (")[0]) for id, remark in data.remarks}
    assert {("train/wood/silent", "its sound is silent"), ("train/wood/still", "is still")} <= remarks
    assert ("test/fire/red", "its sound is missing") in remarks
    (told,) = [text for text in data.told if text.startswith("train")]
    assert "2 of 5 clips are left out" in told
    assert "findings.csv" in told
    with (data.cache.folder / "findings.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["clip", "used", "finding"]
    assert len(rows) == 1 + len(data.left_out) + len(data.remarks)


def test_only_colourful_pictures_are_given(data):
    """Of a film that is green only in its middle two seconds, never a gray picture comes out."""
    items = [item for item in data._datasets["train"].items if item.id == "train/wood/mixed"]
    dataset = ClipDataset(items, 32, 4, augment=True)
    for _ in range(10):
        red, green, blue = dataset[0]["frames"].float().mean((0, 2, 3))
        assert green > 1.5 * red
        assert green > 1.5 * blue


def test_val_and_test_give_the_middle_of_the_middle_picture(data):
    (item,) = data._datasets["val"].items
    one, two = (data._datasets["val"][0]["frames"] for _ in range(2))
    assert torch.equal(one, two)
    middle = list(shot("blue", 16))[8]  # 2 s at 8 a second; the third of five looks at 1.0 s
    truth = middle_square(middle[None], 32)[0]
    assert (one[0].float() - truth.float()).abs().mean() < 6
    assert item.frames[0] == 2


def test_training_draws_crops_and_mirrors_alike_for_one_seed(data):
    dataset = data._datasets["train"]
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(torch.stack([item["frames"] for item in dataset]))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_mirroring_and_crops(data):
    ramp = torch.arange(64, dtype=torch.uint8).expand(1, 3, 48, 64)
    still = ClipDataset([], 48, 1, augment=True, crop=1.0)
    lefts, ups = set(), set()
    for _ in range(40):
        found = still._drawn(ramp)[0, 0, 0].int()
        ups.add(bool(found[1] > found[0]))
        lefts.add(int(found.min()))
    assert ups == {True, False}  # mirrored and not
    assert len(lefts) > 5  # somewhere along the long side
    assert min(lefts) >= 0
    assert max(lefts) <= 16


def test_need_sound_leaves_out_clips_without(films, tmp_path):
    module = ColorizeDataModule(str(films), "folder", cache=str(tmp_path), size=16, need_sound=True, progress=False)
    with pytest.warns(UserWarning, match="its sound is silent"):
        module.setup("fit")
    assert "train/wood/silent" not in [item.id for item in module._datasets["train"].items]


def test_own_splits_are_by_source_and_stay(films, tmp_path):
    """Long films give several clips; all of one film are in one split."""
    for n, color in enumerate(("red", "green", "blue", "red", "green")):
        film(tmp_path / "in" / f"{n}.mp4", (color, 2 + n % 2), sound=tone(3.0, pitch=200 + 10 * n))
    options = {"layout": "folder", "size": 16, "seconds": 1.0, "progress": False, "shares": (0.6, 0.2, 0.2)}
    module = ColorizeDataModule(str(tmp_path / "in"), cache=str(tmp_path / "cache"), **options)
    module.setup("fit")
    module.setup("test")
    of = {split: {item.source for item in module._datasets[split].items} for split in ("train", "val", "test")}
    assert sum(len(sources) for sources in of.values()) == 5
    assert not of["train"] & of["val"] | of["train"] & of["test"] | of["val"] & of["test"]
    ids = [item.id for item in module._datasets["train"].items]
    assert len(ids) == len({*ids}) > len(of["train"])
    again = ColorizeDataModule(str(tmp_path / "in"), cache=str(tmp_path / "cache"), **options)
    assert again.records() == module.records()


def test_photos(tmp_path):
    for n, color in enumerate(("red", "green", "blue", "gray")):
        split = "val" if color == "blue" else "train"
        path = tmp_path / "in" / split / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, next(shot(color, 1)))
    module = ColorizeDataModule(str(tmp_path / "in"), "photos", cache=str(tmp_path / "c"), size=24, progress=False)
    with pytest.warns(UserWarning, match="1 of 3 clips are left out"):
        module.setup("fit")
    (batch,) = module.val_dataloader()
    assert batch["frames"].shape == (1, 1, 3, 24, 24)
    assert batch["present"].item() == 0
    assert batch["label"].item() == batch["group"].item() == -1
    color = batch["frames"][0, 0].float().mean((1, 2))
    assert np.argmax(color.numpy()) == np.argmax(COLORS["blue"])


def test_windows_of_one_film_that_overlap(tmp_path):
    film(tmp_path / "in" / "v.mp4", ("red", 2), ("blue", 2), sound=tone(4.0))
    film(tmp_path / "in" / "w.mp4", ("green", 2), sound=tone(2.0))
    table = "A&v&good&0&2\nB&v&good&2&4\nC&w&good&0&2\nC&v&good&30&40\n"
    (tmp_path / "in" / "Annotations.txt").write_text(table)
    for split, name in (("train", "trainSet.txt"), ("val", "valSet.txt")):
        text = table if split == "train" else ""
        (tmp_path / "in" / name).write_text("".join(r for r in table.splitlines(True) if ("&v&" in r) == bool(text)))
    module = ColorizeDataModule(str(tmp_path / "in"), "ave", cache=str(tmp_path / "c"), size=16, progress=False)
    with pytest.warns(UserWarning, match="its file ends before"):
        module.setup("fit")
    train = module._datasets["train"]
    found = {item["id"]: item["frames"][0].float().mean((1, 2)).argmax().item() for item in train}
    assert found == {"v_0_2": 0, "v_2_4": 2}
    assert {item.source for item in train.items} == {"v"}


def test_all_clips_useless_is_one_clear_error(tmp_path):
    film(tmp_path / "in/train/a.mp4", ("gray", 1))
    film(tmp_path / "in/val/b.mp4", ("red", 1))
    module = ColorizeDataModule(str(tmp_path / "in"), "folder", cache=str(tmp_path / "c"), size=16, progress=False)
    with pytest.raises(MediakitError, match=r"none of the 1 clips of the split 'train'.*nearly gray.*Add"):
        module.setup("fit")
    with pytest.raises(MediakitError, match="no clips of the split 'test'"):
        module.setup("test")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"layout": "movies"}, "layout must be one of clips, folder"),
        ({"size": 4}, "size >= 8"),
        ({"seconds": 20.0}, "seconds <= 10"),
        ({"annotations": "a.csv"}, "has no table of its own"),
    ],
)
def test_bad_arguments(options, problem):
    with pytest.raises(MediakitError, match=problem):
        ColorizeDataModule("x", **options)


def test_a_last_batch_of_one_clip_is_not_trained_on(data):
    count = len(data._datasets["train"])
    assert count > 2
    for size, batches in ((count, [count]), (count - 1, [count - 1]), (1, [1] * count)):
        data.batch_size = size
        assert [len(batch["id"]) for batch in data.train_dataloader()] == batches
    data.batch_size = count - 1
    assert [len(batch["id"]) for batch in data._loader("val")] == [len(data._datasets["val"])]
