import numpy as np
import pytest

from mediakit.synthetic.backdrops import BACKDROPS, PHOTOGRAPHS, STRAYS, draw_backdrop, stray
from mediakit.synthetic.clip import random_stream
from mediakit.synthetic.sights import SIGHTS, STYLES, Moment, Sprite, moment, pose
from mediakit.synthetic.sounds import SOUNDS, draw_score

BEHIND = np.array([120.0, 90.0, 150.0])
ALL_STYLES = sum(STYLES.values(), ())


def painted(name, style="filled", at=None, seed=0, size=48, shift=(0.0, 0.0), centre=(40.0, 40.0)):
    image = np.full((80, 80, 3), BEHIND, np.uint8)
    sprite = Sprite(style, centre, size, BEHIND, 60, random_stream("sprite", seed))
    sprite.draw_on(image, pose(name, at or Moment(0.3, 1.4, 0.4)), shift)
    return image


def touched(image):
    return (image != BEHIND.astype(np.uint8)).any(-1)


def test_what_is_heard_can_be_seen():
    assert SIGHTS == SOUNDS


@pytest.mark.parametrize("name", SIGHTS)
def test_each_sight_moves_stays_about_its_place_and_fills_it(name):
    extents = []
    for number in range(48):
        time = number / 16
        at = moment(time, draw_score(name, 4, 8000, random_stream("s")).beats)
        points = np.concatenate([points for part in pose(name, at) for points in part.outlines])
        assert np.abs(points).max() <= 1.4
        extents.append(np.ptp(points, axis=0).max())
    assert max(extents) > 1.5
    pictures = {painted(name, at=Moment(t, 2.7 * t, 0.37)).tobytes() for t in np.arange(8) / 8}
    assert len(pictures) >= 2


@pytest.mark.parametrize("style", ALL_STYLES)
def test_each_style_shows_stands_out_and_repeats(style):
    for name in SIGHTS:
        image = painted(name, style)
        assert np.array_equal(image, painted(name, style))
        changed = touched(image)
        assert 100 < changed.sum() < 2600
        luma = image[changed].astype(float) @ [0.299, 0.587, 0.114]
        assert np.abs(luma - BEHIND @ [0.299, 0.587, 0.114]).max() > 50


def test_a_shape_has_an_area_known_in_closed_form():
    """The dial is a disc of radius 0.92 of half the size; OpenCV's filled edges reach half a pixel further."""
    image = painted("clock", "plain", size=60).astype(float)
    inside = np.abs(image - BEHIND).sum(-1)
    area = (inside > 0.5 * np.median(inside[inside > 0])).sum()
    assert area == pytest.approx(np.pi * (0.92 * 30 + 0.5) ** 2, rel=0.03)


def test_a_shift_moves_the_picture_and_a_border_cuts_it():
    still, moved = painted("telephone"), painted("telephone", shift=(5, -3))
    assert np.array_equal(still[3:, :-5], moved[:-3, 5:])
    cut = painted("telephone", centre=(0.0, 40.0))
    assert touched(cut)[:, :20].any()
    assert not touched(cut)[:, 40:].any()
    assert np.array_equal(painted("telephone", centre=(-300.0, 40.0)), np.full((80, 80, 3), BEHIND, np.uint8))


def test_beats_are_kept_by_what_moves():
    beats = np.array([0.0, 0.5, 0.8, 1.6])
    assert moment(0.25, beats) == pytest.approx((0.25, 0.5, 0.5))
    assert moment(0.65, beats) == pytest.approx((0.65, 1.5, 0.3))
    assert moment(1.6, beats).beat == pytest.approx(3)
    lowest = [max(p[:, 1].max() for p in pose("ball", moment(t, beats))[1].outlines) for t in (0.0, 0.25, 0.5, 0.65)]
    assert lowest[0] == pytest.approx(lowest[2])  # on the floor at each beat
    assert lowest[1] < lowest[3] < lowest[0]  # the shorter bounce is the lower one


def test_no_two_splits_share_a_style_a_backdrop_a_stray_or_a_photograph():
    for table in (STYLES, STRAYS, PHOTOGRAPHS, {s: set(names) - {"photograph"} for s, names in BACKDROPS.items()}):
        names = [name for split in ("train", "val", "test") for name in table[split]]
        assert len(set(names)) == len(names)


def test_the_colour_does_not_depend_on_the_class():
    """Analysis of variance of the mean colour of what is painted: the class explains no more than chance does."""
    stats = pytest.importorskip("scipy.stats")
    colours = {name: [] for name in SIGHTS}
    for number, name in enumerate(SIGHTS):
        for seed in range(40):
            draw = random_stream("colour", number, seed)
            behind = draw.uniform(30, 225, 3).round()
            image = np.full((80, 80, 3), behind, np.uint8)
            Sprite("filled", (40, 40), 48, behind, 50, draw).draw_on(image, pose(name, Moment(0.3, 1.4, 0.4)))
            colours[name].append(image[(image != behind).any(-1)].mean(0))
    for channel in range(3):
        assert stats.f_oneway(*(np.array(rows)[:, channel] for rows in colours.values())).pvalue > 0.001


@pytest.mark.parametrize("kind", sorted({kind for kinds in BACKDROPS.values() for kind in kinds}))
def test_backdrops_repeat_and_differ(kind):
    first, again, other = (draw_backdrop(kind, 60, 80, random_stream("b", n), "brick") for n in (0, 0, 1))
    assert first.dtype == np.uint8
    assert first.shape == (60, 80, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.std((0, 1)).max() > 1


@pytest.mark.parametrize("name", sorted(sum(PHOTOGRAPHS.values(), ())))
def test_photographs_come_with_the_package_and_cover_any_size(name, monkeypatch):
    import socket

    monkeypatch.setattr(socket, "socket", None)  # nothing may be fetched
    for height, width in ((120, 160), (300, 100)):
        assert draw_backdrop("photograph", height, width, random_stream(name), name).shape == (height, width, 3)


def test_strays_are_other_shapes_and_move():
    for name in sum(STRAYS.values(), ()):
        assert name not in SIGHTS
        (first,), (second,) = (stray(name, time)[0].outlines for time in (0.0, 0.5))
        assert np.abs(first).max() < 1.1
        assert not np.allclose(first, second)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda draw: pose("dog", Moment(0, 0, 1)), "dog"),
        (lambda draw: stray("dog", 0), "dog"),
        (lambda draw: Sprite("furry", (0, 0), 40, BEHIND, 50, draw), "furry"),
        (lambda draw: draw_backdrop("void", 60, 80, draw), "void"),
        (lambda draw: draw_backdrop("photograph", 60, 80, draw, "dog"), "dog"),
    ],
)
def test_what_does_not_exist_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(random_stream("x"))
