"""Solids with patterns, seen by a camera: rays meet ellipsoids, boxes and frustums of cones.

Everything is float32 over all pixels at once; a view of eight solids at 192 x 192 takes some
hundredths of a second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

FAR = np.float32(1e9)  # where a ray meets nothing
Pattern = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Solid:
    """One body of unit size, scaled, turned and moved.

    Args:
        kind: "ellipsoid", "box" or "frustum".
        center: [3] where its middle is.
        scale: [3] its half sizes along its own axes.
        turn: [3, 3] its own axes as columns.
        pattern: gives colors [P, 3] of 0..1 for points [P, 3] of the unit body.
        taper: of a frustum: its radius at the top as a share of that at the bottom.
    """

    kind: str
    center: np.ndarray
    scale: np.ndarray
    turn: np.ndarray
    pattern: Pattern
    taper: float = 1.0


class Rays(NamedTuple):
    """A ray for every pixel: one origin [3] and directions [P, 3]."""

    origin: np.ndarray
    directions: np.ndarray


class Hits(NamedTuple):
    """What the rays meet first.

    Args:
        depth: [P] in lengths of the ray's direction, FAR where it meets nothing.
        solid: [P] number of the solid, -1 for none.
        colors: [P, 3] of 0..1, undefined where nothing is met.
        normals: [P, 3] of unit length, turned to the outside.
    """

    depth: np.ndarray
    solid: np.ndarray
    colors: np.ndarray
    normals: np.ndarray


def camera_rays(eye: np.ndarray, target: np.ndarray, roll: float, field: float, side: int) -> Rays:
    """The rays of a square image, row by row from the upper left.

    Args:
        eye, target: [3] where the camera is, and what it looks at.
        roll: of the camera about its axis, in radians.
        field: the half width of the image at distance 1.
        side: of the image in pixels.
    """
    ahead = _unit(target - eye)
    right = _unit(np.cross(ahead, (0.0, 0.0, 1.0)))
    above = np.cross(right, ahead)
    across = right * np.cos(roll) + above * np.sin(roll)
    up = above * np.cos(roll) - right * np.sin(roll)
    steps = (np.arange(side) + 0.5) / side * 2 - 1
    columns, rows = np.meshgrid(steps, -steps)
    directions = (ahead + field * (columns[..., None] * across + rows[..., None] * up)).reshape(
        -1, 3
    )
    return Rays(eye.astype(np.float32), directions.astype(np.float32))


def cast(rays: Rays, solids: Sequence[Solid]) -> Hits:
    """Let every ray meet the nearest of some solids."""
    count = len(rays.directions)
    depth, number = np.full(count, FAR, np.float32), np.full(count, -1)
    points, normals = (np.zeros((count, 3), np.float32) for _ in range(2))
    for row, solid in enumerate(solids):
        near = np.flatnonzero(_may_meet(rays, solid))
        origin, directions = _to_unit_body(Rays(rays.origin, rays.directions[near]), solid)
        met, normal = _SHAPES[solid.kind](origin, directions, solid.taper)
        first = met < depth[near]
        met, normal, near = met[first], normal[first], near[first]
        depth[near], number[near] = met, row
        points[near] = origin + met[:, None] * directions[first]
        normals[near] = _unit((normal / solid.scale) @ solid.turn.T)
    colors = np.zeros((count, 3), np.float32)
    for row, solid in enumerate(solids):
        mine = number == row
        if mine.any():
            colors[mine] = solid.pattern(points[mine])
    return Hits(depth, number, colors, normals.astype(np.float32))


def _may_meet(rays: Rays, solid: Solid) -> np.ndarray:
    """[P] whether a ray passes the ball about a solid: most do not, and need no closer look."""
    ahead = solid.center - rays.origin
    along = rays.directions @ ahead.astype(np.float32)
    lengths = np.einsum("ij,ij->i", rays.directions, rays.directions)
    reach = float(ahead @ ahead - (np.asarray(solid.scale) ** 2).sum())
    return along > np.sqrt(max(reach, 0.0) * lengths)


def _to_unit_body(rays: Rays, solid: Solid) -> Rays:
    """The rays as the unit body sees them; depths stay what they are."""
    origin = ((rays.origin - solid.center) @ solid.turn) / solid.scale
    directions = (rays.directions @ solid.turn) / solid.scale
    return Rays(origin.astype(np.float32), directions.astype(np.float32))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _meet_ellipsoid(
    origin: np.ndarray, directions: np.ndarray, _: float
) -> tuple[np.ndarray, np.ndarray]:
    squared = np.einsum("ij,ij->i", directions, directions)
    along = directions @ origin
    near, behind = _roots(squared, along, float(origin @ origin) - 1)
    near = np.where(near > 0, near, np.where(behind > 0, behind, FAR))
    return near, origin + near[:, None] * directions


def _meet_box(
    origin: np.ndarray, directions: np.ndarray, _: float
) -> tuple[np.ndarray, np.ndarray]:
    safe = np.where(np.abs(directions) < 1e-9, np.float32(1e-9), directions)
    enters = (-np.sign(safe) - origin) / safe
    leaves = (np.sign(safe) - origin) / safe
    axis = enters.argmax(1)
    near = enters.max(1)
    near = np.where((near < leaves.min(1)) & (near > 0), near, FAR)
    normal = np.zeros_like(directions)
    rows = np.arange(len(axis))
    normal[rows, axis] = -np.sign(safe[rows, axis])
    return near, normal


def _meet_frustum(
    origin: np.ndarray, directions: np.ndarray, taper: float
) -> tuple[np.ndarray, np.ndarray]:
    # The radius is middle + slope * z: 1 at the bottom (z = -1), `taper` at the top.
    middle, slope = (1 + taper) / 2, (taper - 1) / 2
    radius, grows = middle + slope * origin[2], slope * directions[:, 2]
    squared = directions[:, 0] ** 2 + directions[:, 1] ** 2 - grows**2
    along = directions[:, 0] * origin[0] + directions[:, 1] * origin[1] - grows * radius
    offset = float(origin[0] ** 2 + origin[1] ** 2 - radius**2)
    near = np.full(len(directions), FAR)
    # The equation is that of two cones, tip to tip, so the first root may be of the wrong one.
    for met in _roots(squared, along, offset)[::-1]:
        height = origin[2] + met * directions[:, 2]
        valid = (met > 0) & (np.abs(height) <= 1) & (middle + slope * height >= 0)
        near = np.where(valid, met, near)
    points = origin + near[:, None] * directions
    normal = points * np.array([1, 1, 0], np.float32)
    normal[:, 2] = -slope * (middle + slope * points[:, 2])
    for end, width in ((-1.0, 1.0), (1.0, taper)):
        safe = np.where(np.abs(directions[:, 2]) < 1e-9, np.float32(1e-9), directions[:, 2])
        met = (end - origin[2]) / safe
        spot = origin[:2] + met[:, None] * directions[:, :2]
        nearer = (met > 0) & (met < near) & ((spot**2).sum(1) <= width**2)
        near = np.where(nearer, met, near)
        normal[nearer] = (0, 0, end)
    return near.astype(np.float32), normal


def _roots(squared: np.ndarray, along: np.ndarray, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Both t with squared t² + 2 along t + offset = 0, the smaller first; FAR where there is none."""
    inner = along**2 - squared * offset
    root = np.sqrt(np.maximum(inner, 0))
    safe = np.where(np.abs(squared) < 1e-12, np.float32(1e-12), squared)
    one, other = (-along - root) / safe, (-along + root) / safe
    met = inner > 0
    return np.where(met, np.minimum(one, other), FAR), np.where(met, np.maximum(one, other), FAR)


_SHAPES: dict[str, Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]] = {
    "ellipsoid": _meet_ellipsoid,
    "box": _meet_box,
    "frustum": _meet_frustum,
}
