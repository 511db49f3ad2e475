import numpy as np
import pytest

from mediakit.synthetic.palettes import class_hues, fit_gamut, to_rgb


def distance(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


def test_hues_by_class_stand_far_apart_in_a_group_and_are_all_different():
    groups = [["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"], ["j", "k", "l"]]
    hues = class_hues(groups, "class")
    for members in groups:
        assert sorted(distance(hues[members[0]], hues[other]) for other in members) == pytest.approx([0, 120, 120])
    assert len({round(hue, 6) for hue in hues.values()}) == 12


def test_hues_by_group_lie_around_the_groups_own():
    hues = class_hues([["a", "b"], ["c", "d", "e"], ["f"]], "group")
    assert hues == pytest.approx({"a": 335, "b": 25, "c": 95, "d": 120, "e": 145, "f": 240})


def test_unknown_source_of_hue_is_refused():
    with pytest.raises(ValueError, match="hue_from must be one of class, group, got 'sound'"):
        class_hues([["a"]], "sound")


def test_gamut_keeps_lightness_and_hue_clips_nothing_and_loses_little():
    color = pytest.importorskip("skimage.color")
    draw = np.random.default_rng(0)
    lightness = draw.uniform(5, 97, (200, 300)).astype(np.float32)
    angle, chroma = draw.uniform(-np.pi, np.pi, (200, 300)), draw.uniform(0, 120, (200, 300))
    wanted = np.stack([chroma * np.cos(angle), chroma * np.sin(angle)]).astype(np.float32)
    ab = fit_gamut(lightness, wanted)
    lab = np.stack([lightness, *ab], -1).astype(np.float64)
    back = color.rgb2lab(color.lab2rgb(lab))  # clips what is outside
    assert np.abs(back - lab).max() < 0.02
    got = np.hypot(*ab)
    assert np.abs(ab[0] * wanted[1] - ab[1] * wanted[0]).max() < 1e-2  # the same direction
    # At the edge: a little more chroma would clip.
    scaled = got < chroma - 1e-3
    assert scaled.mean() > 0.5
    more = lab * np.array([1, 1.15, 1.15])
    clipped = np.abs(color.rgb2lab(color.lab2rgb(more)) - more).max(-1) > 0.02
    assert clipped[scaled & (got > 5)].mean() > 0.97
    np.testing.assert_allclose(ab[:, ~scaled], wanted[:, ~scaled], atol=2e-3)


def test_eight_bits_are_the_nearest():
    gray = np.full((32, 32), 53.585, np.float32)
    assert np.unique(to_rgb(gray, np.zeros((2, 32, 32), np.float32))).tolist() == [128]
