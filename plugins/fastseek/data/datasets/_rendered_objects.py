"""Objects of several solids with patterns, and views of them among others.

Objects come in families of four that share shape and colors and differ in their patterns, as
products of one brand do, so that neither shape nor color alone tells them apart.
"""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from PIL import Image, ImageFilter

from ..ray_casting import FAR, Hits, Pattern, Rays, Solid, camera_rays, cast

FAMILY = 4  # objects of one shape and one palette
LEAST_SEEN = 0.55  # of an object's pixels, when others stand in front of it
TRIES = 6  # at placing the others so
GLYPHS = 7  # cells a side of a printed label
_OBJECT, _FAMILY, _VIEW = 1, 2, 3  # streams of random numbers that never meet


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where a solid of an object's shape is, before it has a pattern."""

    kind: str
    center: np.ndarray
    scale: np.ndarray
    taper: float


def draw_view(number: int, view: int, side: int, seed: int = 0) -> bytes:
    """A JPEG of object `number`: another view, light, distance, background and company for every
    `view`. The same numbers give the same pixels.

    Args:
        number: 0 or above.
        view: 0 or above.
        side: in pixels.
        seed: another one gives other objects.
    """
    random = np.random.default_rng((seed, _VIEW, number, view))
    mine = make_object(number, seed)
    rays = _draw_camera(random, side)
    own = cast(rays, mine)
    hits = cast(rays, [*mine, *_draw_company(random, rays, own)])
    pixels = _draw_background(random, rays, side)
    light = _unit(np.array([random.normal(), random.normal(), random.uniform(0.6, 1.6)]))
    met = hits.depth < FAR
    pixels[met] = _shade(hits, light, random)[met]
    return _develop(pixels.reshape(side, side, 3), random)


def make_object(number: int, seed: int = 0) -> list[Solid]:
    """The solids of object `number`, standing on the ground about the origin."""
    family = np.random.default_rng((seed, _FAMILY, number // FAMILY))
    own = np.random.default_rng((seed, _OBJECT, number))
    slots, palette = _draw_shape(family), _draw_palette(family)
    return [
        Solid(
            slot.kind,
            slot.center,
            slot.scale,
            np.eye(3),
            _draw_pattern(own, palette),
            slot.taper,
        )
        for slot in slots
    ]


def _draw_shape(random: np.random.Generator) -> list[Slot]:
    """A stack of solids with perhaps one or two at its sides."""
    slots: list[Slot] = []
    height, width = -0.9, random.uniform(0.4, 0.7)
    for _ in range(random.integers(2, 5)):
        half = random.uniform(0.18, 0.42)
        kind = str(random.choice(["frustum", "frustum", "box", "ellipsoid"]))
        depth = width * random.uniform(0.6, 1.0) if kind != "frustum" else width
        scale = np.array([width, depth, half])
        slots.append(
            Slot(kind, np.array([0.0, 0.0, height + half]), scale, random.uniform(0.45, 1.0))
        )
        height += 2 * half
        width *= random.uniform(0.55, 1.1)
    for _ in range(random.integers(0, 3)):
        angle, level = random.uniform(0, 2 * np.pi), random.uniform(-0.5, height - 0.2)
        place = np.array([0.6 * np.cos(angle), 0.6 * np.sin(angle), level])
        kind = str(random.choice(["ellipsoid", "box"]))
        slots.append(Slot(kind, place, random.uniform(0.12, 0.28, 3), 1.0))
    return slots


def _draw_palette(random: np.random.Generator) -> np.ndarray:
    """[3, 3] colors of 0..1 that can be told from each other."""
    while True:
        colors = random.uniform(0.05, 0.95, (3, 3))
        gaps = np.abs(colors[:, None] - colors).sum(-1)[np.triu_indices(3, 1)]
        if gaps.min() > 0.7:
            return colors.astype(np.float32)


def _draw_pattern(random: np.random.Generator, palette: np.ndarray) -> Pattern:
    """One of six patterns in the colors of a palette."""
    ground, mark, third = palette[random.permutation(3)]
    draw = _PATTERNS[random.integers(len(_PATTERNS))]
    share = draw(random)

    def pattern(points: np.ndarray) -> np.ndarray:
        turn = np.arctan2(points[:, 1], points[:, 0]) / np.pi
        amount = share(np.stack([turn, points[:, 2]], axis=1))[:, None]
        inner = np.where(np.abs(points[:, 2:3]) > 0.9, third, ground)
        return inner * (1 - amount) + mark * amount

    return pattern


def _draw_stripes(random: np.random.Generator) -> Pattern:
    around, along = random.integers(0, 7), random.integers(1, 6)
    phase, width = random.random(), random.uniform(0.3, 0.6)
    return lambda at: (((at[:, 0] * around + at[:, 1] * along + phase) % 1) < width).astype(
        np.float32
    )


def _draw_checks(random: np.random.Generator) -> Pattern:
    around, along = 2 * random.integers(1, 5), random.integers(1, 5)
    return lambda at: ((np.floor(at[:, 0] * around) + np.floor(at[:, 1] * along + 0.5)) % 2).astype(
        np.float32
    )


def _draw_dots(random: np.random.Generator) -> Pattern:
    around, along, width = random.integers(3, 8), random.integers(2, 5), random.uniform(0.2, 0.42)

    def share(at: np.ndarray) -> np.ndarray:
        inner = np.stack([at[:, 0] * around % 1 - 0.5, at[:, 1] * along % 1 - 0.5])
        return (np.hypot(*inner) < width).astype(np.float32)

    return share


def _draw_blots(random: np.random.Generator) -> Pattern:
    waves = np.stack([random.integers(-4, 5, 8) * np.pi, random.uniform(-9, 9, 8)])
    phases = random.uniform(0, 2 * np.pi, 8)
    return lambda at: (np.sin(at @ waves + phases).sum(1) > 0.4).astype(np.float32)


def _draw_label(random: np.random.Generator) -> Pattern:
    """Two printed panels, one on either side."""
    cells = (random.random((GLYPHS, 2 * GLYPHS)) < 0.5).astype(np.float32)
    low, high, width = (
        random.uniform(-0.8, -0.3),
        random.uniform(0.3, 0.8),
        random.uniform(0.5, 0.9),
    )

    def share(at: np.ndarray) -> np.ndarray:
        across, down = (at[:, 0] % 1) / width, (at[:, 1] - low) / (high - low)
        inside = (across < 1) & (down >= 0) & (down < 1)
        rows = np.clip(down * GLYPHS, 0, GLYPHS - 1).astype(int)
        columns = np.clip(across * 2 * GLYPHS, 0, 2 * GLYPHS - 1).astype(int)
        return np.where(inside, cells[rows, columns], np.float32(0))

    return share


def _draw_fade(random: np.random.Generator) -> Pattern:
    sign, start = random.choice([-1, 1]), random.uniform(-0.5, 0.5)
    return lambda at: np.clip(0.5 + sign * (at[:, 1] - start), 0, 1)


_PATTERNS = (_draw_stripes, _draw_checks, _draw_dots, _draw_blots, _draw_label, _draw_fade)


def _draw_camera(random: np.random.Generator, side: int) -> Rays:
    turn, lift = random.uniform(0, 2 * np.pi), np.deg2rad(random.uniform(4, 48))
    eye = np.array([np.cos(turn) * np.cos(lift), np.sin(turn) * np.cos(lift), np.sin(lift)])
    distance = random.uniform(2.6, 4.4)
    target = random.normal((0, 0, -0.15), 0.12)
    return camera_rays(eye * distance, target, np.deg2rad(random.normal(0, 7)), 0.42, side)


def _draw_company(random: np.random.Generator, rays: Rays, own: Hits) -> list[Solid]:
    """Other solids beside, behind and before an object; enough of it stays to be seen."""
    seen = own.solid >= 0
    seeing = Rays(rays.origin, rays.directions[seen])
    for _ in range(TRIES):
        others = [_draw_other(random) for _ in range(random.integers(1, 5))]
        left = cast(seeing, others).depth > own.depth[seen]
        if left.sum() >= LEAST_SEEN * len(left):
            return others
    return []


def _draw_other(random: np.random.Generator) -> Solid:
    angle, away = random.uniform(0, 2 * np.pi), random.uniform(1.0, 2.4)
    half = random.uniform(0.2, 0.6, 3)
    place = np.array([away * np.cos(angle), away * np.sin(angle), half[2] - 0.9])
    spin = random.uniform(0, np.pi)
    turn = np.array(
        [[np.cos(spin), -np.sin(spin), 0], [np.sin(spin), np.cos(spin), 0], [0, 0, 1.0]]
    )
    pattern = _draw_pattern(random, _draw_palette(random))
    kind = str(random.choice(["frustum", "box", "ellipsoid"]))
    return Solid(kind, place, half, turn, pattern, random.uniform(0.4, 1.0))


def _draw_background(random: np.random.Generator, rays: Rays, side: int) -> np.ndarray:
    """[P, 3] colors: a patterned ground up to the horizon, and soft spots behind it."""
    spots = random.normal(random.uniform(60, 190) + random.normal(0, 20, 3), 35, (6, 6, 3))
    wall = Image.fromarray(spots.clip(0, 255).astype(np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(wall, np.float32).reshape(-1, 3) / 255
    down = rays.directions[:, 2] < -1e-3
    depth = (-0.9 - rays.origin[2]) / np.where(down, rays.directions[:, 2], -1)
    spots = rays.origin[:2] + depth[:, None] * rays.directions[:, :2]
    near = down & (np.abs(spots).max(1) < 9)
    palette = (
        random.uniform(0.15, 0.85) + random.normal(0, 0.12, 3) + random.normal(0, 0.07, (2, 3))
    )
    share = _draw_blots(random)(spots[near] / random.uniform(1, 5))[:, None]
    pixels[near] = palette[0] * (1 - share) + palette[1] * share
    shadow = np.exp(-3 * (spots[near] ** 2).sum(1))[:, None]
    pixels[near] *= 1 - 0.5 * shadow
    return pixels


def _shade(hits: Hits, light: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Colors under a lamp of some tint, and what falls in from everywhere."""
    ambient, lamp = random.uniform(0.35, 0.6), random.uniform(0.4, 0.8)
    tint = 1 + random.normal(0, 0.08, 3)
    falls = np.maximum(hits.normals @ light, 0)[:, None]
    shine = random.uniform(0, 0.25) * falls**24
    return (hits.colors * (ambient + lamp * falls) * tint + shine).astype(np.float32)


def _develop(pixels: np.ndarray, random: np.random.Generator) -> bytes:
    """A JPEG as a hasty camera makes it."""
    exposed = pixels * random.uniform(0.75, 1.2) + random.normal(0, 0.025, pixels.shape)
    image = Image.fromarray((255 * exposed.clip(0, 1)).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 1.1)))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=int(random.integers(60, 93)))
    return out.getvalue()


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
