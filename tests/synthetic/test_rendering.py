"""Drawing a mesh, against linear algebra and point-in-triangle tests written out anew."""

import numpy as np
import pytest

from mediakit.synthetic.rendering import MeshRenderer, affine_maps, interpolate, rasterize, vertex_normals

pytest.importorskip("cv2")


def barycentric(point, corners):
    """Weights of a triangle's corners (3, 2) that make up a point."""
    return np.linalg.solve(np.vstack([corners.T, np.ones(3)]), [*point, 1.0])


@pytest.fixture
def soup():
    """Triangles that overlap at different depths."""
    draw = np.random.default_rng(3)
    points = np.concatenate([draw.uniform(-8, 72, (30, 2)), np.repeat(draw.uniform(0, 9, 10), 3)[:, None]], axis=1)
    return points.astype(np.float32), np.arange(30, dtype=np.int32).reshape(10, 3)


def test_the_nearest_triangle_is_seen(soup):
    points, triangles = soup
    seen = rasterize(points, triangles, (48, 64))
    corners = points[triangles, :2].astype(float)
    sides = np.linalg.norm(corners[:, [1, 2, 0]] - corners[:, [2, 0, 1]], axis=-1)  # opposite to each corner
    (ax, ay), (bx, by) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    heights = np.abs(ax * by - ay * bx)[:, None] / sides
    checked = hidden = 0
    for y in range(0, 48, 2):
        for x in range(0, 64, 2):
            weights = np.array([barycentric((x, y), corner) for corner in corners])
            within = (weights * heights).min(1)  # pixels from the nearest side, negative outside
            if (np.abs(within) < 1.5).any():
                continue
            inside = np.flatnonzero(within > 0)
            expected = inside[np.argmin(points[triangles[inside, 0], 2])] if len(inside) else -1
            assert seen[y, x] == expected
            checked, hidden = checked + 1, hidden + (len(inside) > 1)
    assert checked > 200
    assert hidden > 20


def test_affine_maps_take_the_corners_to_their_values(soup):
    points, triangles = soup
    values = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    maps = affine_maps(points[:, :2], values, triangles)
    for number, triangle in enumerate(triangles):
        corners = np.column_stack([points[triangle, :2].astype(float), np.ones(3)])
        np.testing.assert_allclose(maps[number], np.linalg.solve(corners, values[triangle]).T, rtol=1e-3, atol=1e-3)


def test_a_triangle_without_area_is_constant():
    points = np.array([[1, 1], [2, 2], [3, 3]], np.float32)
    maps = affine_maps(points, np.array([[5.0], [6.0], [7.0]], np.float32), np.array([[0, 1, 2]], np.int32))
    np.testing.assert_array_equal(maps, [[[0, 0, 5]]])


@pytest.mark.parametrize("step", [1, 4])
def test_interpolation_is_barycentric(soup, step):
    points, triangles = soup
    values = np.random.default_rng(1).normal(size=(30, 2)).astype(np.float32)
    seen = rasterize(points, triangles, (48, 64))
    got = interpolate(affine_maps(points[:, :2], values, triangles), seen, step)
    assert got.shape == (48 // step, 64 // step, 2)
    for row, column in ((4, 4), (8, 8), (5, 12), (11, 3)):
        y, x = row * step, column * step
        if y < 48 and x < 64 and seen[y, x] >= 0:
            triangle = triangles[seen[y, x]]
            weights = barycentric((x, y), points[triangle, :2].astype(float))
            np.testing.assert_allclose(got[row, column], weights @ values[triangle], rtol=1e-3, atol=1e-3)


def test_normals_of_a_sphere_are_its_radii():
    around, up = np.meshgrid(np.linspace(-1.2, 1.2, 40), np.linspace(-1.2, 1.2, 40))
    sphere = np.stack([np.sin(around) * np.cos(up), np.sin(up), np.cos(around) * np.cos(up)], -1).reshape(-1, 3)
    corner = (np.arange(39)[:, None] * 40 + np.arange(39)).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + 40], 1), np.stack([corner + 1, corner + 41, corner + 40], 1)]
    ).astype(np.int32)
    normals = vertex_normals(sphere.astype(np.float32), triangles).reshape(40, 40, 3)[2:-2, 2:-2]
    assert np.abs(normals - sphere.reshape(40, 40, 3)[2:-2, 2:-2]).max() < 0.03
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)


def test_a_mesh_that_stays_draws_its_texture_and_one_that_moves_shifts_it():
    draw = np.random.default_rng(2)
    image = np.kron(draw.random((10, 12)), np.ones((8, 8)))[..., None].astype(np.float32) * [1, 0.5, 0.25, 1]
    image = image.astype(np.float32)
    image[0, 0] = 0
    texture = np.array([[0, 0], [95, 0], [95, 79], [0, 79]], np.float32)
    renderer = MeshRenderer(image, texture, np.array([[0, 1, 2], [0, 2, 3]], np.int32), (80, 96))
    flat = np.column_stack([texture, np.zeros(4)]).astype(np.float32)
    picture, light = renderer.draw(flat, np.full(4, 1.5, np.float32))
    np.testing.assert_allclose(picture, image, atol=1e-5)
    np.testing.assert_allclose(light, 1.5, atol=1e-4)
    moved, _ = renderer.draw(flat + np.array([5, -3, 0], np.float32), np.ones(4, np.float32))
    np.testing.assert_allclose(moved[2:75, 7:], image[5:78, 2:-5], atol=1e-4)
    np.testing.assert_array_equal(moved[78:], 0)  # off the mesh


def test_triangles_that_show_nothing_are_left_out():
    image = np.zeros((40, 40, 1), np.float32)
    image[20:30, 22:30] = 1
    texture = np.array([[0, 0], [15, 0], [15, 39], [0, 39], [39, 0], [39, 39]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]], np.int32)
    renderer = MeshRenderer(image, texture, triangles, (40, 40))
    assert renderer.triangles.tolist() == [[1, 4, 5], [1, 5, 2]]
    picture, _ = renderer.draw(np.column_stack([texture, np.zeros(6)]).astype(np.float32), np.ones(6, np.float32))
    np.testing.assert_allclose(picture, image, atol=1e-5)
