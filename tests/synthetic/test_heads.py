"""Talking heads: what they promise about pictures, sound and truth, and what each twin changes."""

import csv
import io
import json

import numpy as np
import pytest
import torch

from mediakit import motion
from mediakit.synthetic.corpus import write_clip
from mediakit.synthetic.heads import KINDS, TalkingHeads
from mediakit.synthetic.twins import PIXEL_KINDS, TRAJECTORY_KINDS, face_mask, region

pytest.importorskip("cv2")
pytest.importorskip("skimage")

SMALL = {"seconds": 1.0, "size": (240, 240), "fps": 12, "noise": 0.0, "identities": 3}


def film(clip):
    return torch.stack(list(clip.frames()))


@pytest.fixture(scope="module")
def family():
    """The genuine clip and all its twins, by kind."""
    heads = TalkingHeads(2, "test", **SMALL)
    return {kind: heads.clip(len(KINDS) + number) for number, kind in enumerate(KINDS)}


@pytest.fixture(scope="module")
def films(family):
    return {kind: film(clip) for kind, clip in family.items()}


@pytest.fixture(scope="module")
def truths(family):
    return {kind: clip.tensors() for kind, clip in family.items()}


def test_frames_sound_and_truth_have_the_shapes_that_are_told(family, films, truths):
    clip, truth = family["real"], truths["real"]
    assert films["real"].shape == (12, 3, 240, 240)
    assert films["real"].dtype == torch.uint8
    assert clip.sound().waveform.shape == (1, 16_000)
    shapes = {name: tuple(value.shape) for name, value in truth.items()}
    assert shapes == {
        "time": (12,),
        "points": (12, 478, 3),
        "rotation": (12, 3, 3),
        "scale": (12,),
        "translation": (12, 3),
        "expression": (12, 8),
    }
    told = json.loads(json.dumps(clip.truth()))
    assert (told["label"], told["kind"], told["manipulation"]) == ("real", "real", {})
    assert told["interocular_px"] == pytest.approx(float(motion.interocular_distance(truth["points"]).mean()), rel=0.1)
    assert all(json.loads(json.dumps(twin.truth()))["label"] == "fake" for k, twin in family.items() if k != "real")


def test_the_true_points_have_the_true_pose(truths):
    """`head_pose` and the truth differ by one constant rotation (whose axes are the template's) and expression."""
    truth = truths["real"]
    points = truth["points"].double()
    found = motion.head_pose(points, motion.face_template(points))
    constant = motion.mean_rotation(truth["rotation"].double().mT @ found.rotation)
    error = found.rotation.mT @ truth["rotation"].double() @ constant
    degrees = torch.rad2deg(torch.acos(((error.diagonal(dim1=-1, dim2=-2).sum(-1) - 1) / 2).clamp(-1, 1)))
    assert degrees.max() < 1.0
    ratio = found.scale / truth["scale"]
    assert (ratio / ratio.mean() - 1).abs().max() < 0.02
    assert float(ratio.mean()) == pytest.approx(1, abs=0.03)


def test_pose_taken_out_leaves_the_expression(family, truths):
    truth, actor = truths["real"], family["real"].actor
    pose = motion.Similarity(*(truth[name].double() for name in ("scale", "rotation", "translation")))
    still = motion.aligned_shape(truth["points"].double(), pose).numpy()
    expected = actor.shape[:478] + np.tensordot(truth["expression"].double().numpy(), actor.expressions[:, :478], 1)
    np.testing.assert_allclose(still, expected, atol=1e-5)


@pytest.mark.parametrize("kind", TRAJECTORY_KINDS)
def test_trajectory_twins_keep_pose_sound_and_the_rest_of_the_face(family, films, truths, kind):
    real, twin = truths["real"], truths[kind]
    for name in ("time", "rotation", "scale", "translation"):
        assert torch.equal(real[name], twin[name]), name
    assert torch.equal(family["real"].sound().waveform, family[kind].sound().waveform)
    moved = (real["points"] - twin["points"]).norm(dim=-1)
    assert moved.max() > 0.2  # pixels
    part = {"region_lag": family[kind].manipulation.get("region"), "expression_swap": None}.get(kind, "inner")
    if part:
        outside = torch.from_numpy(region(family[kind].actor.shape, part)[:478]) == 0
        assert outside.sum() > 3
        assert moved[:, outside].max() < 1e-3
    changed = (films["real"].int() - films[kind].int()).abs().amax((0, 1)) > 3
    assert changed.any()
    rest = family[kind].vertices[0]
    assert not changed[int(rest[152, 1]) + 60 :].any()  # the body
    assert not changed[:, : int(rest[234, 0]) - 40].any()


def test_an_expression_swap_is_what_the_same_person_does_another_time():
    heads = TalkingHeads(2, "train", kinds=("real", "expression_swap"), **SMALL)
    # Three identities: the next recording is another person's, so only the weights can be compared.
    swap = heads.clip(1)
    other = heads._performance(swap.manipulation["expression_of"], swap.identity.smile)
    offsets = np.tensordot(other.expression, swap.actor.expressions, 1)
    expected = swap.actor.points(swap.poses[3], offsets[3], swap.performance.sway[3])
    np.testing.assert_allclose(swap.vertices[3], expected)


@pytest.mark.parametrize("kind", PIXEL_KINDS)
def test_pixel_twins_change_the_face_alone(family, films, truths, kind):
    for name, value in truths["real"].items():
        assert torch.equal(value, truths[kind][name]), name
    size, feather = (240, 240), family[kind].manipulation["feather"] * float(family[kind].actor.pose.scale)
    for number, points in enumerate(family["real"].vertices[::4]):
        part = "inner" if kind == "face_blend" else "lower"
        near = torch.from_numpy(face_mask(points, size, part, feather)) > 0.02
        near = torch.nn.functional.max_pool2d(near[None].float(), 25, 1, 12)[0] > 0
        change = (films["real"][4 * number].int() - films[kind][4 * number].int()).abs().amax(0)
        assert change[~near].max() == 0
        assert change[near].max() > 8


def test_pixel_twins_are_for_the_test_split_only():
    for split in ("train", "val"):
        assert TalkingHeads(0, split).kinds == ("real", *TRAJECTORY_KINDS)
        for kind in PIXEL_KINDS:
            with pytest.raises(ValueError, match="test split only"):
                TalkingHeads(0, split, kinds=("real", kind))
    assert TalkingHeads(0, "test").kinds == KINDS


def test_pairs_are_as_many_twins_as_genuine_clips():
    heads = TalkingHeads(2, "test", kinds=("jitter", "real", "face_blend"), pairs=True, **SMALL)
    clips = [heads.clip(index) for index in range(6)]
    assert [clip.kind for clip in clips] == ["real", "jitter", "real", "face_blend", "real", "jitter"]
    assert [clip.about["recording"] for clip in clips[::2]] == [clip.about["recording"] for clip in clips[1::2]]
    assert len({clip.id for clip in clips}) == 6
    alone = TalkingHeads(2, "test", kinds=("real", "face_blend"), **SMALL).clip(3)  # the same recording
    assert alone.truth() == clips[3].truth()
    assert torch.equal(next(alone.frames()), next(clips[3].frames()))


def test_splits_and_seeds_share_no_person():
    people = [
        TalkingHeads(seed, split).identity(number)
        for seed in (0, 1)
        for split in ("train", "val", "test")
        for number in range(12)
    ]
    assert len(set(people)) == 72
    rooms = {split: {TalkingHeads(0, split).identity(n).wall[0] for n in range(40)} for split in ("train", "test")}
    assert rooms["train"] & rooms["test"] == {"wall"}


def test_twins_are_of_the_genuine_clip_and_people_take_turns(family):
    heads = TalkingHeads(2, "test", **SMALL)
    assert len({clip.about["recording"] for clip in family.values()}) == 1
    assert len({clip.identity for clip in family.values()}) == 1
    people = [heads.clip(len(KINDS) * n).about["person"] for n in range(6)]
    assert people[:3] == people[3:]
    assert len(set(people)) == 3
    blend = [heads.clip(len(KINDS) * n + KINDS.index("face_blend")) for n in range(9)]
    assert all(int(clip.about["person"][-3:]) != clip.manipulation["donor"] for clip in blend)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    options = {**SMALL, "noise": 0.012, "seconds": 0.5}
    heads = TalkingHeads(7, "train", **options)
    clip = heads.clip(3)
    heads.clip(1)  # the order of asking does not matter
    again = TalkingHeads(7, "train", **options).clip(3)
    assert torch.equal(film(clip), film(again))
    assert torch.equal(film(clip), film(clip))
    assert torch.equal(clip.sound().waveform, again.sound().waveform)
    for name, item in (("a", clip), ("b", again)):
        write_clip(item, tmp_path / f"{name}.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    for other in (TalkingHeads(8, "train", **options), TalkingHeads(7, "val", **options)):
        assert not torch.equal(film(clip), film(other.clip(3)))
        assert other.clip(3).id != clip.id


def test_dimming_and_noise_are_what_they_are_called():
    plain = film(TalkingHeads(1, kinds=("real",), **SMALL).clip(0)).double()
    dim = film(TalkingHeads(1, kinds=("real",), **{**SMALL, "brightness": 0.4}).clip(0)).double()
    assert (dim - 0.4 * plain).abs().max() <= 0.8
    noisy = film(TalkingHeads(1, kinds=("real",), **{**SMALL, "noise": 0.04}).clip(0)).double()
    middle = (plain > 90) & (plain < 160)
    assert float((noisy - plain)[middle].std()) == pytest.approx(255 * 0.04 * 1.06, rel=0.15)


def test_the_table_lists_labels(family):
    (name, text), *rest = TalkingHeads(2, "test", **SMALL).tables(family.values()).items()
    assert (name, rest) == ("labels.csv", [])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["kind"] for row in rows] == list(KINDS)
    assert [row["label"] for row in rows] == ["real", *["fake"] * 7]
    assert all(row["clip"].split("/")[0] == row["label"] for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ("real", "puppet")}, "no kind 'puppet'"),
        ({"kinds": ()}, "at least one kind"),
        ({"kinds": ("real",), "pairs": True}, "a genuine clip and a twin"),
        ({"kinds": ("jitter", "oversmooth"), "pairs": True}, "a genuine clip and a twin"),
        ({"split": "test", "identities": 1}, "at least 2 identities"),
        ({"identities": 0}, "identities must be"),
        ({"seconds": 0.0}, "seconds"),
        ({"size": (16, 480)}, "size must be"),
        ({"noise": float("nan")}, "noise must be"),
        ({"split": "dev"}, "split must be"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TalkingHeads(**options)
    with pytest.raises(ValueError, match="index"):
        TalkingHeads().clip(-1)


def test_a_face_tracker_sees_the_face_in_every_frame_and_follows_it():
    solutions = pytest.importorskip("mediapipe").__dict__.get("solutions")
    if solutions is None:
        pytest.skip("this MediaPipe bundles no model")
    from mediakit import track_faces
    from mediakit.io import Frame

    clip = TalkingHeads(0, kinds=("real",), seconds=3.0).clip(0)
    found = track_faces(Frame(i, i / clip.fps, image) for i, image in enumerate(clip.frames()))
    assert found.frames_with_face == 75
    assert len(found.tracks[0]) == 75
    truth = clip.tensors()
    points = found.tracks[0].points.double()
    pose = motion.head_pose(points, motion.face_template(points))
    seen, true = motion.euler_angles(pose.rotation), motion.euler_angles(truth["rotation"].double())
    for axis, least in enumerate((0.75, 0.85, 0.85)):  # an 8 s clip gives .97, .99 and .99
        assert np.corrcoef(seen[:, axis], true[:, axis])[0, 1] > least
    assert (seen - true - (seen - true).mean(0)).square().mean(0).sqrt().max() < 2.0
    opening = [
        motion.expression_scalars(motion.aligned_shape(p, motion.head_pose(p, motion.face_template(p))))[:, 0]
        for p in (points, truth["points"].double())
    ]
    assert np.corrcoef(*opening)[0, 1] > 0.9
    assert (found.tracks[0].points[..., :2] - truth["points"][..., :2]).norm(dim=-1).median() < 4  # pixels
