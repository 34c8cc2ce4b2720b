"""Rays and solids: what is met first, by marching in small steps as the slow, obvious twin."""

import numpy as np
import pytest

from fastseek.data.ray_casting import FAR, Rays, Solid, camera_rays, cast

STEP = 0.004


def plain(points):
    return np.zeros((len(points), 3), np.float32)


def turned(angle):
    return np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]]
    )


def inside(solid, points):
    """Whether points of the world lie in a solid, by its definition."""
    x, y, z = (((points - solid.center) @ solid.turn) / solid.scale).T
    if solid.kind == "ellipsoid":
        return x**2 + y**2 + z**2 <= 1
    if solid.kind == "box":
        return np.maximum(np.maximum(abs(x), abs(y)), abs(z)) <= 1
    radius = (1 + solid.taper) / 2 + (solid.taper - 1) / 2 * z
    return (abs(z) <= 1) & (x**2 + y**2 <= radius**2)


def march(rays, solids):
    """For every ray the depth at which it first stands in a solid, and which."""
    depth, number = np.full(len(rays.directions), FAR), np.full(len(rays.directions), -1)
    for step in np.arange(STEP, 6, STEP)[::-1]:
        for row, solid in enumerate(solids):
            met = inside(solid, rays.origin + step * rays.directions)
            depth[met], number[met] = step, row
    return depth, number


def scene(random, kinds):
    return [
        Solid(
            kind,
            random.uniform(-0.5, 0.5, 3),
            random.uniform(0.2, 0.7, 3),
            turned(random.uniform(0, np.pi)),
            plain,
            random.uniform(0.2, 1),
        )
        for kind in kinds
    ]


@pytest.mark.parametrize(
    "kinds", [["ellipsoid"], ["box"], ["frustum"], ["box", "frustum", "ellipsoid"]]
)
@pytest.mark.parametrize("lift", [0.1, 0.8, 1.4])
def test_a_ray_meets_what_a_march_along_it_meets(kinds, lift):
    random = np.random.default_rng(len(kinds) + int(10 * lift))
    solids = scene(random, kinds)
    eye = 3 * np.array([np.cos(lift), 0.0, np.sin(lift)])
    rays = camera_rays(eye, np.zeros(3), 0.3, 0.35, 20)
    depth, number = march(rays, solids)
    hits = cast(rays, solids)
    # A ray that only grazes a solid may be in it for less than a step.
    same = (hits.solid == number) & (abs(hits.depth - depth) < 2 * STEP)
    met = number >= 0
    assert same.mean() > 0.97 and same[met].mean() > 0.9 and met.sum() > 12


def test_normals_have_length_1_and_face_the_camera():
    random = np.random.default_rng(0)
    for kind in ("ellipsoid", "box", "frustum"):
        rays = camera_rays(np.array([2.0, 1.0, 1.5]), np.zeros(3), 0.0, 0.4, 24)
        hits = cast(rays, scene(random, [kind]))
        met = hits.solid >= 0
        assert met.any()
        np.testing.assert_allclose(np.linalg.norm(hits.normals[met], axis=1), 1, atol=1e-4)
        facing = np.einsum("ij,ij->i", hits.normals[met], rays.directions[met])
        assert (facing < 1e-3).all()


def test_the_color_is_that_of_the_nearest_solid():
    front, back = (
        Solid("box", np.array([0, 0, z]), np.ones(3) / 4, np.eye(3), color, 1.0)
        for z, color in ((1.0, lambda at: 0 * at + 0.25), (-1.0, lambda at: 0 * at + 0.75))
    )
    rays = Rays(np.array([0, 0, 3.0], np.float32), np.array([[0, 0, -1.0]], np.float32))
    for solids in ([front, back], [back, front]):
        assert cast(rays, solids).colors.tolist() == [[0.25] * 3]
    assert cast(rays, [back]).depth[0] == pytest.approx(3.75)


def test_nothing_is_met_behind_the_camera_or_in_an_empty_scene():
    ball = Solid("ellipsoid", np.array([0, 0, 5.0]), np.ones(3), np.eye(3), plain)
    rays = Rays(np.zeros(3, np.float32), np.array([[0, 0, -1.0], [1, 0, 0]], np.float32))
    for solids in ([ball], []):
        hits = cast(rays, solids)
        assert (hits.depth == FAR).all() and (hits.solid == -1).all()
