"""What the page of the demo says of a colorizer, with scores that can be worked out by hand."""

from pathlib import Path

import pytest
import torch
from toy_colorizer import CHROMA, RELEVANCE, ToyColorizer
from toy_parser import save

from mediakit.colorize.color import rgb_to_lab
from mediakit.colorize.scoreboard import Trial as Scores
from mediakit.colorize.trial import ColoredScene, Trial, color_scene
from mediakit.colorize.trial_page import trial_section
from mediakit.io import read_audio, read_video
from mediakit.synthetic.scenes import Scenes

AB = {"oracle": 9.0, "right": 12.0, "none": 16.0, "wrong": 20.0}


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes(split="test", size=(48, 64), seconds=2, fps=4)


@pytest.fixture(scope="module")
def colored(scenes, tmp_path_factory) -> ColoredScene:
    folder = tmp_path_factory.mktemp("scene")
    return color_scene(save(ToyColorizer(), folder / "toy.ckpt"), scenes.clip(4), scenes.clip(5), folder)


def trial(wrong: bool = True) -> Trial:
    """Two pictures in gray whose a and b are off by as much as `AB` says, of the second by two more."""
    scores = Scores(("rain", "siren"), ("water", "forest"))
    rgb = torch.full((2, 3, 16, 16), 0.5)
    lab = rgb_to_lab(rgb)
    more = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1)
    ab = {way: lab[:, 1:] + value + more for way, value in AB.items() if wrong or way != "wrong"}
    believed = {"right": torch.tensor([0.9, 0.6]), "wrong": torch.tensor([0.2, 0.7])}
    batch = {"id": ["a", "b"], "label": torch.tensor([0, 1]), "group": torch.tensor([0, 1])}
    scores.add(batch, rgb, lab, ab, {way: believed[way] for way in believed if way in ab}, {})
    return Trial(Path("x", "colorize.ckpt"), {"train": 3, "val": 1, "test": 2}, (3, 2, 1), scores)


def test_rows_are_means_and_what_was_believed(colored):
    section = trial_section(colored, trial())
    assert section["checkpoint"] == "colorize.ckpt"
    rows = {name: (count, mean, believed) for name, count, mean, _, believed in section["rows"]}
    assert rows["guided by its own sound"] == (2, pytest.approx(13), "75%")
    assert rows["guided by nothing"] == (2, pytest.approx(17), "")
    assert rows["guided by the sound of another group"] == (2, pytest.approx(21), "45%")
    assert rows["left gray"] == (2, pytest.approx(0, abs=0.1), "")  # the pictures are gray
    for _, _, mean, (low, high), _ in section["rows"]:
        assert low <= mean <= high
    assert section["gain"][0] == pytest.approx(13 / 17)
    assert section["cost"][0] == pytest.approx(21 / 17)
    assert section["auc"] == pytest.approx(0.75)  # of .9 and .6 against .2 and .7


def test_without_a_wrong_sound_nothing_is_said_of_it(colored):
    section = trial_section(colored, trial(wrong=False))
    assert section["cost"] is None
    assert not any("another group" in name for name, *_ in section["rows"])


def test_a_scene_is_coloured_in_three_ways(scenes, colored):
    pictures = {way: (text, picture) for way, text, picture in trial_section(colored, trial())["pictures"]}
    assert [*pictures] == ["gray", "own", "none", "wrong", "truth"]
    assert pictures["own"][0] == f"with its own sound, believed to {RELEVANCE:.0%}"
    assert f"with the sound of {scenes.clip(5).label}" in pictures["wrong"][0]
    lab = {way: rgb_to_lab(picture / 255) for way, (_, picture) in pictures.items()}
    assert lab["gray"][1:].abs().max() < 1
    for way in ("own", "none", "wrong"):
        assert (lab[way][0] - lab["gray"][0]).abs().max() <= 0.3
    assert not torch.equal(pictures["own"][1], pictures["wrong"][1])  # another pitch
    assert lab["own"][1:].square().sum(0).sqrt().max() <= CHROMA + 1
    true = scenes.clip(4).gray_and_ab(4)[1]
    assert (lab["truth"][1:] - true).abs().max() < 2


def test_the_films_are_those_of_the_scene(scenes, colored):
    assert (colored.gray.name, colored.colored.name) == ("gray.mp4", "colorized.mp4")
    assert len(list(read_video(colored.colored))) == scenes.clip(4).length == colored.film.frames
    before, after = (read_audio(path).waveform for path in (colored.gray, colored.colored))
    assert torch.equal(before, after)
