"""The scenes of the mini profile: a street or a park under a panning camera, with exact labels.

A scene is a stack of layers from far to near. Each layer moves with the camera by its own parallax; things
also walk, drive or bounce by themselves, hide each other, enter and leave. The same seed draws the same clip;
train and val seeds never meet (`SEEDS`).
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from ..clips.datasets import VSPW_CLASSES
from . import sprites

SIZE = (240, 427)  # height, width: half of VSPW's 480x853
# first seed of a split: at most 10,000 scenes each
SEEDS = {"train": 10_000, "val": 20_000, "vipseg": 30_000}
CLASS_ID = {name: VSPW_CLASSES.index(name) for name in sprites.COLOURS}


@dataclass(frozen=True)
class Look:
    """How a family of scenes looks and moves."""

    wild: float = 0.0  # 0: classes look like themselves; 1: any colour and texture, for training the tracker
    pan_px: tuple[float, float] = (2.5, 6.0)  # camera speed, pixels per frame at the nearest ground
    speed_px: tuple[float, float] = (1.5, 4.5)  # own speed of moving things
    noise_grey: tuple[float, float] = (3.0, 7.0)  # sensor noise, standard deviation in grey levels
    n_things: tuple[int, int] = (7, 13)  # standing and moving things per scene
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)  # colour cast of the camera, RGB
    hue_deg: float = 0.0  # turn of all colours about the grey axis
    saturation: float = 1.0  # 0: grey; 1: as they are


@dataclass
class Thing:
    """One object of a scene: two (or, for a walker, several) pictures of it and how it moves."""

    name: str
    pictures: list  # [(rgb, alpha)], cycled while it moves
    x: float  # centre in world pixels at frame 0
    foot: float  # ground line, pixels from the top
    depth: float  # parallax, 0 far .. 1 near
    vx: float = 0.0
    bounce: tuple = (0.0, 1.0, 0.0)  # height px, period frames, phase
    grow: float = 0.0  # relative growth per frame


@dataclass
class Scene:
    """Static layers [(rgb, alpha, region ids, parallax)] from far to near, and things sorted by depth."""

    seed: int
    look: Look
    layers: list = field(default_factory=list)
    things: list = field(default_factory=list)
    classes: list = field(default_factory=list)  # class name of region id r at [r]

    def new_region(self, name: str) -> int:
        self.classes.append(name)
        return len(self.classes) - 1


def make_scene(seed: int, look: Look = Look(), n_frames: int = 45) -> Scene:
    """Lay out one scene.

    Args:
        seed: what is drawn; equal seeds give equal scenes.
        look: colours, motion and noise.
        n_frames: how long the camera pans, which decides how wide the world is.
    """
    rng = np.random.default_rng(seed)
    scene = Scene(seed, look)
    h, w = SIZE
    pan = rng.uniform(*look.pan_px) * rng.choice([-1, 1])
    scene.pan = pan
    # handheld: height px, period frames, phase
    scene.sway = rng.uniform(0.3, 1.5), rng.uniform(12, 30), rng.uniform(0, 6)
    margin = int(abs(pan) * n_frames) + 40
    world = w + 2 * margin
    scene.origin = margin
    horizon = int(h * rng.uniform(0.3, 0.5))
    _sky(scene, rng, world, horizon)
    _ground(scene, rng, world, horizon)
    _things(scene, rng, world, horizon, n_frames)
    return scene


def _sky(scene, rng, world, horizon):
    """Sky, perhaps a ridge, then a skyline of buildings or trees."""
    h, _ = SIZE
    wild = scene.look.wild
    rgb = sprites.surface(rng, "sky", (h, world), wild)
    scene.layers.append(
        (rgb, np.full((h, world), 255, np.uint8), np.full((h, world), scene.new_region("sky"), np.uint8), 0.1)
    )
    if rng.random() < 0.45:
        crest = (
            horizon * rng.uniform(0.5, 0.75) + sprites.noise(rng, (2, world), (2, 90), 2)[0] * horizon * 0.12
        )
        alpha = np.where(np.arange(h)[:, None] > crest[None, :], 255, 0).astype(np.uint8)
        rgb = sprites.surface(rng, "mountain", (h, world), wild)
        scene.layers.append((rgb, alpha, np.full((h, world), scene.new_region("mountain"), np.uint8), 0.2))
    rgb, alpha = np.zeros((h, world, 3), np.float32), np.zeros((h, world), np.uint8)
    ids = np.zeros((h, world), np.uint8)
    x = -20
    kind = rng.choice(["building", "building", "tree"])
    while x < world and len(scene.classes) < 40:
        bh = (
            int(horizon * rng.uniform(0.45, 1.15))
            if kind == "building"
            else int(horizon * rng.uniform(0.35, 0.7))
        )
        bw = int(bh * rng.uniform(0.6, 1.4)) + 25
        picture, a = sprites.DRAW[kind](rng, 2 * bh, 2 * bw, wild)
        picture, a = (
            cv2.resize(picture, (bw, bh), interpolation=cv2.INTER_AREA),
            cv2.resize(a, (bw, bh), interpolation=cv2.INTER_AREA),
        )
        top, bottom = max(0, horizon + 4 - bh), horizon + 4
        left, right = max(0, x), min(world, x + bw)
        if right > left:
            cut = (slice(bh - (bottom - top), bh), slice(left - x, right - x))
            target = (slice(top, bottom), slice(left, right))
            over = a[cut] > 127
            region = scene.new_region(kind)
            rgb[target][over], alpha[target][over], ids[target][over] = picture[cut][over], 255, region
        x += int(bw * rng.uniform(0.75, 1.3)) + (int(rng.uniform(0, 90)) if rng.random() < 0.3 else 0)
    scene.layers.append((rgb, alpha, ids, 0.45))


def _ground(scene, rng, world, horizon):
    """Bands of grass, path, road or water below the horizon, with straight or wavy edges."""
    h, _ = SIZE
    bands = [str(b) for b in rng.permutation(["grass", "path", "road", "water"])[: rng.integers(2, 5)]]
    if "road" not in bands and "grass" not in bands:
        bands[0] = "road"
    bands.sort(key=lambda name: name != "water")  # water lies behind the ground that things stand on
    rgb, ids = np.zeros((h, world, 3), np.float32), np.zeros((h, world), np.uint8)
    edges = (
        horizon
        + (h - horizon)
        * np.sort(np.concatenate([[0], rng.dirichlet(np.full(len(bands), 3.0)).cumsum()[:-1]])) ** 1.15
    )
    rows, scene.bands = np.arange(h)[:, None], []
    for name, edge in zip(bands, edges):
        wavy = sprites.noise(rng, (2, world), (2, 160), 2)[0] * (
            rng.uniform(2, 9) if name in ("grass", "water") else rng.uniform(0, 3)
        )
        line = (
            edge
            + wavy * (edge > horizon)
            + np.linspace(-1, 1, world) * rng.uniform(-12, 12) * (edge > horizon)
        )
        region, texture = scene.new_region(name), sprites.surface(rng, name, (h, world), scene.look.wild)
        below = rows >= line[None, :]
        rgb[below], ids[below] = texture[below], region
        scene.bands.append((name, float(edge)))
    alpha = np.where(rows >= horizon, 255, 0).astype(np.uint8) * np.ones((1, world), np.uint8)
    scene.layers.append((rgb, alpha, ids, 0.8))


def _things(scene, rng, world, horizon, n_frames):
    """Trees, poles, cars, people, balls and bins, far to near, at least one of each moving kind."""
    h, w = SIZE
    look = scene.look
    n = int(rng.integers(*look.n_things, endpoint=True))
    names = ["car", "person", "tree", "pole"] + [
        str(s) for s in rng.choice(list(sprites.DRAW)[1:], max(0, n - 4))
    ]
    for name in names:
        shore = max(
            (edge for (band, _), (_, edge) in zip(scene.bands, scene.bands[1:]) if band == "water"),
            default=horizon,
        )
        # nothing stands in the water
        nearest = min(0.9, max(0.0, (shore + 6 - horizon) / (h - horizon) - 0.12) / 0.82)
        depth = rng.uniform(max(0.2, nearest), 1.0 if name != "tree" else max(0.7, nearest + 0.1))
        foot = horizon + (h - horizon) * (0.12 + 0.82 * depth)
        tall = int((h - horizon) * (0.25 + 0.75 * depth) * sprites.HEIGHT[name] * rng.uniform(0.8, 1.25))
        wide = int(tall * sprites.ASPECT[name] * rng.uniform(0.9, 1.2))
        if tall < 9 or wide < 3:
            continue
        draw = sprites.DRAW[name]
        if look.wild and rng.random() < look.wild * 0.6:
            draw = lambda r, a, b, wild, name=name: sprites.blob(r, a, b, wild, name)
        sub = int(rng.integers(2**31))
        if draw is sprites.person:  # the same seed for each picture: the same clothes, other legs
            pictures = [
                draw(np.random.default_rng(sub), 2 * tall, 2 * wide, look.wild, p)
                for p in np.arange(8) * np.pi / 4
            ]
        else:
            pictures = [draw(np.random.default_rng(sub), 2 * tall, 2 * wide, look.wild)]
        thing = Thing(name, pictures, rng.uniform(0.05, 0.95) * w, foot, 0.45 + 0.55 * depth)
        if name in ("car", "person", "ball"):
            thing.vx = (
                rng.uniform(*look.speed_px)
                * rng.choice([-1, 1])
                * (0.4 + 0.6 * depth)
                * (0.5 if name == "person" else 1.0)
            )
            thing.grow = rng.uniform(-0.004, 0.006)
            if rng.random() < 0.35:  # some enter later
                thing.x = -np.sign(thing.vx) * rng.uniform(0.1, 0.6) * w + (w if thing.vx < 0 else 0)
        else:  # standing things lie all along the way of the camera
            thing.x = (
                rng.uniform(-0.2, 1.2) * w
                + min(scene.pan, 0) * n_frames * rng.random()
                + max(scene.pan, 0) * n_frames * rng.random()
            )
        if name == "ball":
            thing.bounce = (rng.uniform(0.5, 2.0) * tall, rng.uniform(10, 22), rng.uniform(0, 6))
        thing.region = scene.new_region(name)
        scene.things.append(thing)
    scene.things.sort(key=lambda t: t.depth)


def render(scene: Scene, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw frame `t`.

    Returns:
        image: (H, W, 3) uint8 RGB, with sensor noise.
        labels: (H, W) uint8, VSPW class ids 0..123.
        regions: (H, W) uint8, the scene's region ids (one per thing, facade or ground band).
    """
    h, w = SIZE
    look, (sway_px, period, phase) = scene.look, scene.sway
    dx, dy = scene.pan * t, sway_px * np.sin(2 * np.pi * t / period + phase)
    image, regions = np.zeros((h, w, 3), np.float32), np.zeros((h, w), np.uint8)
    for rgb, alpha, ids, parallax in scene.layers:
        shift = np.float32([[1, 0, -(scene.origin + dx * parallax)], [0, 1, dy * (0.3 + 0.7 * parallax)]])
        warp = lambda a, mode: cv2.warpAffine(a, shift, (w, h), flags=mode, borderMode=cv2.BORDER_REPLICATE)
        cover = warp(alpha, cv2.INTER_LINEAR)
        image += (warp(rgb, cv2.INTER_LINEAR) - image) * (cover[..., None] / np.float32(255))
        regions[cover > 127] = warp(ids, cv2.INTER_NEAREST)[cover > 127]
    for thing in scene.things:
        _draw_thing(image, regions, thing, t, dx, dy)
    rng = np.random.default_rng((scene.seed, t))
    image *= np.float32(look.gain) * (1 + rng.normal(0, 0.015))
    if (look.hue_deg, look.saturation) != (0.0, 1.0):
        image = image @ _recolour(look).T
    sigma = look.noise_grey[0] + (look.noise_grey[1] - look.noise_grey[0]) * ((scene.seed * 7919) % 97) / 96
    image += rng.standard_normal((h, w, 3), np.float32) * sigma
    lookup = np.array([CLASS_ID[name] for name in scene.classes], np.uint8)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8), lookup[regions], regions


def _recolour(look: Look) -> np.ndarray:
    """Return the (3, 3) matrix that turns RGB about the grey axis and moves it towards grey; greys stay as
    they are."""
    turn, third = np.deg2rad(look.hue_deg), np.full((3, 3), 1 / 3)
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    rotation = np.cos(turn) * np.eye(3) + (1 - np.cos(turn)) * third + np.sin(turn) * axis
    return (look.saturation * rotation + (1 - look.saturation) * third).astype(np.float32)


def _draw_thing(image, regions, thing, t, dx, dy):
    """Paste one thing where it is at frame t; a thing outside the frame costs nothing."""
    h, w = SIZE
    step = int(abs(thing.vx) * t / 3) % len(thing.pictures) if thing.vx else 0
    rgb, alpha = thing.pictures[step]
    scale = 0.5 * (1 + thing.grow * t)
    wide, tall = alpha.shape[1] * scale, alpha.shape[0] * scale
    up, every, phase = thing.bounce
    x = thing.x + thing.vx * t - dx * thing.depth - wide / 2
    y = thing.foot + dy - tall - up * abs(np.sin(np.pi * t / every + phase))
    left, top = max(0, int(np.floor(x)) - 1), max(0, int(np.floor(y)) - 1)
    right, bottom = min(w, int(np.ceil(x + wide)) + 1), min(h, int(np.ceil(y + tall)) + 1)
    if right <= left or bottom <= top or tall < 2:
        return
    move = np.float32([[scale, 0, x - left + 0.5 * scale - 0.5], [0, scale, y - top + 0.5 * scale - 0.5]])
    size = (right - left, bottom - top)
    cover = cv2.warpAffine(alpha, move, size, flags=cv2.INTER_LINEAR)
    paint = cv2.warpAffine(rgb, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    patch = (slice(top, bottom), slice(left, right))
    image[patch] += (paint - image[patch]) * (cover[..., None] / np.float32(255))
    regions[patch][cover > 127] = thing.region
