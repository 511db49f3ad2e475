"""Head pose and expression: closed forms, SciPy as witness, and the signs on a real photograph."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.transform import Rotation

from mediakit import mesh, motion
from mediakit.motion import Similarity

PLACES = {  # (x, y) of right-half and midline points in IOD; the rest is scattered over a dome
    **{33: (-0.5, 0), 133: (-0.2, 0), 160: (-0.42, 0.05), 159: (-0.35, 0.06), 158: (-0.28, 0.05)},
    **{144: (-0.42, -0.05), 145: (-0.35, -0.06), 153: (-0.28, -0.05), 61: (-0.3, -0.75), 82: (-0.06, -0.72)},
    **{70: (-0.55, 0.2), 63: (-0.47, 0.24), 105: (-0.38, 0.26), 66: (-0.28, 0.25), 107: (-0.18, 0.22)},
    **{87: (-0.06, -0.78), 13: (0, -0.72), 14: (0, -0.78), 168: (0, 0.1), 1: (0, -0.35), 10: (0, 0.75), 152: (0, -1.3)},
}
UPPER_LIP, LOWER_LIP = [82, 13, 312], [87, 14, 317]


def face_cloud(seed: int = 0) -> torch.Tensor:
    """A symmetric, anatomically oriented face, (478, 3) float64 with IOD 1: what a template should come out as."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(mesh.N_POINTS, 2, generator=generator, dtype=torch.float64)
    points = torch.cat([draw * torch.tensor([-0.75, 2.0]) - torch.tensor([0.0, 1.2]), draw[:, :1]], dim=1)
    points[list(mesh.MIDLINE), 0] = 0
    for index, place in PLACES.items():
        points[index, :2] = torch.tensor(place, dtype=torch.float64)
    bulge = 1 - (points[:, 0] / 0.85) ** 2 - ((points[:, 1] + 0.25) / 1.3) ** 2
    points[:, 2] = 0.7 * bulge.clamp_min(0.02).sqrt()
    points[1, 2] += 0.25
    points[[10, 152], 2] = 0.1
    right = [i for i in range(mesh.N_POINTS) if mesh.MIRROR[i] > i]
    points[[mesh.MIRROR[i] for i in right]] = points[right] * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    return points - points.mean(0)


def film(shape: torch.Tensor, angles: torch.Tensor, scale: float = 90.0, at: tuple = (400.0, -300.0, 0.0)):
    """Pixels of a shape (or one for each frame) under known angles (T, 3), and the poses."""
    rotation = motion.rotation_from_euler(angles.double())
    frames = len(rotation)
    pose = Similarity(
        torch.full((frames,), scale, dtype=torch.float64),
        rotation,
        torch.tensor(at, dtype=torch.float64).expand(frames, 3),
    )
    return motion.to_face_frame(pose.apply(shape)), pose


def talking(frames: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Shapes with an opening mouth, head angles, and the opening (T,); most frames are at rest."""
    t = torch.arange(frames, dtype=torch.float64)
    opening = 0.2 * torch.clamp(torch.sin(t / 5), min=0) * (t % 20 < 8)
    shape = face_cloud(seed).repeat(frames, 1, 1)
    shape[:, LOWER_LIP, 1] -= opening[:, None]
    angles = torch.stack([8 * torch.sin(t / 9), 20 * torch.sin(t / 13), 5 * torch.cos(t / 7)], dim=1)
    return shape, angles, opening


def random_rotations(count: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(count, random_state=seed).as_matrix())


def angle_between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(torch.linalg.matrix_norm(a - b) / 2**0.5)  # small angles


# --- Procrustes -------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 1000), shift=st.floats(-1000, 1000), hide=st.booleans())
def test_recovers_a_similarity_exactly_even_half_hidden(seed, scale, shift, hide):
    template = face_cloud()
    truth = Similarity(torch.full((3,), scale).double(), random_rotations(3, seed), torch.full((3, 3), shift).double())
    points = truth.apply(template)
    weights = torch.rand(3, len(template), generator=torch.Generator().manual_seed(seed)).double() + 0.1
    if hide:
        hidden = torch.rand(weights.shape, generator=torch.Generator().manual_seed(seed + 1)) < 0.5
        weights[hidden] = 0
        points[hidden] = float("nan")
    found = motion.procrustes(points, template, weights)
    torch.testing.assert_close(found.scale, truth.scale, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.rotation, truth.rotation, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.translation, truth.translation, rtol=1e-6, atol=1e-6 * scale)
    seen = ~torch.isnan(points).any(-1)
    torch.testing.assert_close(found.invert(points)[seen], template.expand(3, -1, -1)[seen], rtol=0, atol=1e-6)


def test_agrees_with_scipy_on_noisy_weighted_points():
    rng = np.random.default_rng(0)
    template, weights = rng.normal(size=(30, 3)), rng.uniform(0, 2, 30)
    points = 3 * template @ Rotation.random(random_state=1).as_matrix().T + rng.normal(size=(30, 3))
    found = motion.procrustes(*(torch.from_numpy(a) for a in (points, template, weights)))
    centre = np.average(points, axis=0, weights=weights), np.average(template, axis=0, weights=weights)
    witness, _ = Rotation.align_vectors(points - centre[0], template - centre[1], weights=weights)
    np.testing.assert_allclose(found.rotation, witness.as_matrix(), atol=1e-9)
    moved = found.scale * found.rotation.numpy() @ centre[1] + found.translation.numpy()
    np.testing.assert_allclose(moved, centre[0], atol=1e-12)

    equal = motion.procrustes(torch.from_numpy(points), torch.from_numpy(template))
    residual = (equal.apply(torch.from_numpy(template)) - torch.from_numpy(points)).square().sum()
    *_, disparity = scipy_procrustes(points, template)  # the least relative residual over s, R and t
    assert float(residual) / np.square(points - points.mean(0)).sum() == pytest.approx(disparity, rel=1e-9)


def test_never_answers_with_a_reflection():
    template = face_cloud()
    found = motion.procrustes(template * torch.tensor([-1.0, 1.0, 1.0]) + 0.01 * face_cloud(1), template)
    assert torch.linalg.det(found.rotation) == pytest.approx(1)
    assert found.scale > 0


def test_degenerate_frames_are_nan_and_leave_the_others_alone():
    template = face_cloud()
    points = template.repeat(4, 1, 1)
    points[1] = float("nan")
    points[2] = torch.linspace(0, 1, len(template), dtype=torch.float64)[:, None] * torch.ones(3)  # one line
    points[3, 2:] = float("nan")  # two points left
    found = motion.procrustes(points, template)
    assert torch.isfinite(found.scale).tolist() == [True, False, False, False]
    assert all(torch.isnan(part[1:]).all() for part in found)
    torch.testing.assert_close(found.rotation[0], torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("points", "weights", "message"),
    [
        (torch.zeros(5, 3), None, "must both end in"),
        (torch.rand(478, 3), torch.ones(477), "number of points"),
        (torch.rand(478, 3), -torch.ones(478), "not negative"),
        (torch.rand(478, 3), torch.cat([torch.ones(2), torch.zeros(476)]), "at least three"),
    ],
)
def test_impossible_input_is_refused(points, weights, message):
    with pytest.raises(ValueError, match=message):
        motion.procrustes(points, face_cloud(), weights)


def test_float32_in_float32_out():
    points, _ = film(face_cloud(), torch.tensor([[5.0, 10.0, -3.0]]))
    pose = motion.head_pose(points.float(), motion.face_template(points.float()))
    assert {part.dtype for part in pose} == {torch.float32}
    assert motion.euler_angles(pose.rotation)[0].tolist() == pytest.approx([5, 10, -3], abs=1e-3)


# --- rotations --------------------------------------------------------------------------------------------------------


def test_signs_of_the_angles_by_hand():
    nose, top = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 0.0])
    up, aside, tilted = motion.rotation_from_euler(torch.tensor([[30.0, 0, 0], [0, 90, 0], [0, 0, 90]]))
    assert (up @ nose).tolist() == pytest.approx([0, 0.5, 0.75**0.5], abs=1e-6)  # looks up: y grows
    assert (aside @ nose).tolist() == pytest.approx([1, 0, 0], abs=1e-6)  # to image-right
    assert (tilted @ top).tolist() == pytest.approx([-1, 0, 0], abs=1e-6)  # counter-clockwise


@settings(max_examples=40, deadline=None)
@given(pitch=st.floats(-179, 179), yaw=st.floats(-89, 89), roll=st.floats(-179, 179))
def test_angles_round_trip_and_agree_with_scipy(pitch, yaw, roll):
    angles = torch.tensor([pitch, yaw, roll], dtype=torch.float64)
    rotation = motion.rotation_from_euler(angles)
    witness = Rotation.from_euler("ZYX", [roll, yaw, -pitch], degrees=True).as_matrix()
    np.testing.assert_allclose(rotation, witness, atol=1e-12)
    torch.testing.assert_close(motion.euler_angles(rotation), angles, rtol=0, atol=1e-9)


def test_six_numbers_hold_the_whole_rotation():
    rotation = random_rotations(5, 0)
    six = motion.rotation_6d(rotation)
    a, b = six[:, :3], six[:, 3:]
    torch.testing.assert_close(torch.stack([a, b, torch.linalg.cross(a, b)], dim=-1), rotation)


def test_mean_rotation_is_the_chordal_mean_of_finite_frames():
    rotation = motion.rotation_from_euler(30 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double())
    witness = Rotation.from_matrix(rotation.numpy()).mean().as_matrix()
    holes = torch.cat([rotation, torch.full((3, 3, 3), float("nan")).double()])
    np.testing.assert_allclose(motion.mean_rotation(holes), witness, atol=1e-9)
    assert torch.isnan(motion.mean_rotation(holes[-2:])).all()


# --- template, pose, expression ---------------------------------------------------------------------------------------


def test_template_is_the_face_whatever_the_head_does():
    shape, angles, _ = talking()
    points, _ = film(shape, angles)
    still = [i for i in range(mesh.N_POINTS) if i not in LOWER_LIP]
    found = motion.face_template(points)
    truth = shape.mean(0) - shape.mean((0, 1))
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)
    assert float(motion.interocular_distance(found)) == pytest.approx(1)

    garbage = points.clone()
    garbage[5:9] = float("nan")
    garbage[20] = 1000 * torch.rand(mesh.N_POINTS, 3)
    garbage[25:45] = 0
    valid = torch.ones(len(points), dtype=torch.bool)
    valid[20] = False
    again = motion.face_template(garbage, valid, max_frames=10)
    torch.testing.assert_close(again[still] - again[1], truth[still] - truth[1], rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="no valid frame"):
        motion.face_template(points, torch.zeros(len(points), dtype=torch.bool))
    with pytest.raises(ValueError, match="whole face mesh"):
        motion.face_template(points[:, :68])


def test_template_settles_within_three_rounds():
    shape, angles, _ = talking()
    points, _ = film(shape + 0.02 * torch.randn(shape.shape, generator=torch.Generator().manual_seed(0)), angles)
    settled = motion.face_template(points, iterations=30)
    assert (motion.face_template(points, iterations=3) - settled).abs().max() < 1e-6


def test_pose_and_expression_come_apart():
    shape, angles, opening = talking()
    points, truth = film(shape, angles)
    pose = motion.head_pose(points, motion.face_template(points))
    torch.testing.assert_close(motion.euler_angles(pose.rotation), angles, rtol=0, atol=1e-6)
    torch.testing.assert_close(pose.scale, truth.scale, rtol=1e-6, atol=0)

    moved = motion.expression(points, pose)
    expected = torch.zeros_like(moved)
    expected[:, LOWER_LIP, 1] = -opening[:, None]
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6)
    blocks = [
        motion.expression(block, Similarity(*parts), motion.neutral_shape(points, pose))
        for block, *parts in zip(points.split(7), *(part.split(7) for part in pose), strict=True)
    ]
    torch.testing.assert_close(torch.cat(blocks), moved, rtol=0, atol=1e-12)

    silent, _ = film(face_cloud(), angles)
    quiet = motion.pose_signal(motion.head_pose(silent, motion.face_template(silent)))
    # The template's origin is the mean point, which the open mouth lowers: only the shift may know of it.
    torch.testing.assert_close(motion.pose_signal(pose)[:, :6], quiet[:, :6], rtol=0, atol=1e-6)
    assert (motion.pose_signal(pose) - quiet).abs().max() < 0.01


def test_pose_signal_forgets_camera_size_and_place():
    shape, angles, _ = talking()
    points, _ = film(shape, angles)
    signal = motion.pose_signal(motion.head_pose(points, motion.face_template(points)))
    assert signal.shape == (len(points), 10)
    turn = torch.deg2rad(torch.tensor(25.0, dtype=torch.float64))
    c, s = turn.cos(), turn.sin()
    roll = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
    other = 2 * points @ roll.T + torch.tensor([50.0, 7.0, 0.0], dtype=torch.float64)
    again = motion.pose_signal(motion.head_pose(other, motion.face_template(other)))
    torch.testing.assert_close(again[:, :6], signal[:, :6], rtol=0, atol=1e-6)
    torch.testing.assert_close(again[:, 9], signal[:, 9], rtol=0, atol=1e-6)
    torch.testing.assert_close(again[:, 6:9].norm(dim=1), signal[:, 6:9].norm(dim=1), rtol=0, atol=1e-6)


def test_pose_signal_by_hand():
    rotation = motion.rotation_from_euler(torch.tensor([[0.0, -10, 0], [0, 10, 0], [0, 80, 0]], dtype=torch.float64))
    scale = torch.tensor([50.0, 200.0, 1.0], dtype=torch.float64)
    shift = torch.tensor([[0.0, 0, 0], [20, 0, 0], [999, 0, 0]], dtype=torch.float64)
    valid = torch.tensor([True, True, False])
    signal = motion.pose_signal(Similarity(scale, rotation, shift), valid)
    assert signal[:2, 6].tolist() == pytest.approx([-0.1, 0.1])  # 10 px from the mean at a mean IOD of 100 px
    assert signal[:2, 9].tolist() == pytest.approx([-np.log(2), np.log(2)])
    half = np.deg2rad(10)  # the mean looks ahead
    assert signal[1, :6].tolist() == pytest.approx([np.cos(half), 0, -np.sin(half), 0, 1, 0])


def test_frames_without_a_face_change_nothing_else():
    shape, angles, _ = talking()
    points, _ = film(shape, angles)
    holes = torch.cat([points, torch.full_like(points[:5], float("nan"))])
    template = motion.face_template(holes)
    whole, cut = motion.head_pose(holes, template), motion.head_pose(points, template)
    torch.testing.assert_close(motion.pose_signal(whole)[:-5], motion.pose_signal(cut))
    torch.testing.assert_close(motion.expression(holes, whole)[:-5], motion.expression(points, cut))
    assert torch.isnan(motion.pose_signal(whole)[-5:]).all()


def test_turned_away_points_count_less():
    cloud = face_cloud()
    normals = motion.surface_normals(cloud)
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(len(normals), dtype=torch.float64))
    assert (normals[:, 2] > -0.2).all()  # seen from the front, no rigid point looks backwards
    order = {index: k for k, index in enumerate(mesh.RIGID)}
    left, right = (motion.rotation_from_euler(torch.tensor([0.0, yaw, 0.0])).double() for yaw in (50, -50))
    weights = motion.visibility_weights(torch.stack([left, right]), normals)
    # Turned to image-right, the subject's left temple (356) is hidden and the right one (127) is seen.
    assert weights[0, order[356]] < 0.3 < weights[0, order[127]]
    assert weights[1, order[127]] < 0.3 < weights[1, order[356]]
    assert ((weights >= 0.1) & (weights <= 1)).all()

    points, truth = film(cloud, torch.tensor([[0.0, 50.0, 0.0]]))
    hidden = [i for i, w in zip(mesh.RIGID, weights[0], strict=True) if w <= 0.15]
    assert len(hidden) >= 3
    points[:, hidden] += 8 * torch.randn(len(hidden), 3, generator=torch.Generator().manual_seed(0))
    rigid = list(mesh.RIGID)
    equal = motion.procrustes(motion.to_face_frame(points)[:, rigid], cloud[rigid])
    error, plain = (angle_between(p.rotation, truth.rotation) for p in (motion.head_pose(points, cloud), equal))
    assert error < 0.5 * plain


def test_scalars_measure_what_they_are_called():
    face = face_cloud()
    left_brow, left_upper = [mesh.MIRROR[i] for i in (70, 63, 105, 66, 107)], [mesh.MIRROR[i] for i in (160, 159, 158)]
    changes = {
        "mouth_opening": (LOWER_LIP, [0, -0.1, 0], 0.1),
        "mouth_width": ([61], [-0.1, 0, 0], 0.1),
        "jaw_drop": ([152], [0, -0.2, 0], 0.2),
        "left_eye_aperture": (left_upper, [0, 0.05, 0], 0.05),
        "right_eye_aperture": ([160, 159, 158], [0, 0.05, 0], 0.05),
        "left_brow_height": (left_brow, [0, 0.07, 0], 0.07),
        "right_brow_height": ([70, 63, 105, 66, 107], [0, 0.07, 0], 0.07),
        "smile_asymmetry": ([291], [0, 0.03, 0], 0.03),
    }
    assert tuple(changes) == motion.EXPRESSION_NAMES
    rest = motion.expression_scalars(face)
    assert rest[-1] == pytest.approx(0)
    for k, (name, (indices, by, expected)) in enumerate(changes.items()):
        other = face.clone()
        other[indices] += torch.tensor(by, dtype=torch.float64)
        change = motion.expression_scalars(other) - rest
        # z of the lips differs a little, so gaps are not quite vertical.
        assert float(change[k]) == pytest.approx(expected, abs=0.01), name
        change[[k, 1] if name == "smile_asymmetry" else [k]] = 0  # a lifted corner is a little farther away, too
        assert change.abs().max() < 1e-9, name


# --- a real face ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photograph():
    """Landmarks of a photograph, of it turned by 10° counter-clockwise, and of its mirror image."""
    pytest.importorskip("mediapipe.python.solutions.face_mesh")
    import cv2
    import mediapipe
    import skimage.data

    image = np.ascontiguousarray(skimage.data.astronaut()[:300, 60:400])
    height, width = image.shape[:2]
    turned = cv2.warpAffine(image, cv2.getRotationMatrix2D((165, 110), 10, 1), (width, height))
    found = []
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as detector:
        for picture in (image, turned, np.ascontiguousarray(image[:, ::-1])):
            points = detector.process(picture).multi_face_landmarks[0].landmark
            found.append([[p.x * width, p.y * height, p.z * width] for p in points])
    return torch.tensor(found)


def test_anatomy_of_a_real_face(photograph):
    template = motion.face_template(photograph[:1])
    assert template[:, 2].argmax() in (1, 4)  # the tip of the nose
    assert template[152, 1] < template[14, 1] < template[1, 1] < template[168, 1] < template[10, 1]
    assert template[33, 0] < template[133, 0] < 0 < template[362, 0] < template[263, 0]
    assert (motion.surface_normals(template)[:, 2] > 0).all()


def test_roll_of_a_turned_photograph(photograph):
    template = motion.face_template(photograph[:1])
    straight, turned, _ = motion.euler_angles(motion.head_pose(photograph, template).rotation)
    assert (turned - straight).tolist() == pytest.approx([0, 0, 10], abs=2)


def test_mirrored_photograph_has_mirrored_landmarks(photograph):
    flipped = photograph[2][list(mesh.MIRROR)] * torch.tensor([-1.0, 1.0, 1.0])
    pose = motion.procrustes(flipped, photograph[0])
    error = motion.interocular_distance(photograph[0])
    distance = (pose.invert(flipped) - photograph[0]).norm(dim=-1) / error
    assert distance.median() < 0.02
    assert distance[468:].max() < 0.05  # an iris' radius is 0.07
    wrong = photograph[2] * torch.tensor([-1.0, 1.0, 1.0])
    assert (motion.procrustes(wrong, photograph[0]).invert(wrong) - photograph[0]).norm(dim=-1).median() / error > 0.1
