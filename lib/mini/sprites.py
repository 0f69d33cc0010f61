"""The parts of the mini scenes: textures, and the things that stand or move in a scene, as small RGBA
pictures.

Everything is drawn by numpy and OpenCV from a seeded generator. A sprite is drawn at twice its final size and
shrunk while the scene is composed, which gives soft edges without a second definition of where a thing ends.
"""

import cv2
import numpy as np

COLOURS = {  # mean RGB of a class as it looks at noon; instances vary around it
    "sky": (150, 185, 225),
    "mountain": (120, 130, 140),
    "building": (165, 140, 120),
    "grass": (95, 140, 60),
    "road": (95, 95, 100),
    "path": (170, 160, 145),
    "water": (70, 110, 140),
    "tree": (55, 95, 45),
    "pole": (75, 75, 80),
    "car": (150, 60, 60),
    "person": (120, 80, 110),
    "ball": (220, 130, 40),
    "trash_can": (50, 90, 70),
}
# others: 10
SPREAD = {
    "building": 34,
    "car": 60,
    "person": 55,
    "ball": 45,
    "trash_can": 28,
    "sky": 14,
    "water": 14,
    "mountain": 12,
}


def colour(rng: np.random.Generator, name: str, wild: float) -> np.ndarray:
    """Draw an instance's mean colour, (3,) float 0..255; `wild` 0..1 moves it from its class's colour to
    any colour at all."""
    usual = np.clip(np.array(COLOURS[name]) + rng.normal(0, SPREAD.get(name, 10), 3), 15, 245)
    return (1 - wild) * usual + wild * rng.uniform(15, 245, 3)


def noise(
    rng: np.random.Generator, shape: tuple[int, int], grain_px: tuple[float, float], octaves: int = 3
) -> np.ndarray:
    """Draw smooth noise, (H, W) float32 of about unit variance, whose coarsest features measure `grain_px`
    (high, wide)."""
    h, w = shape
    out = np.zeros(shape, np.float32)
    for octave in range(octaves):
        gh, gw = (max(2, int(round(n * 2**octave / g)) + 2) for n, g in zip(shape, grain_px))
        layer = rng.standard_normal((min(gh, h), min(gw, w))).astype(np.float32)
        out += cv2.resize(layer, (w, h), interpolation=cv2.INTER_CUBIC) / 2**octave
    return out / max(float(out.std()), 1e-6)


TEXTURE = {  # grain (high, wide) in pixels, contrast in grey levels, octaves
    "sky": ((40, 110), 9, 3),
    "mountain": ((14, 30), 9, 3),
    "building": ((60, 60), 5, 2),
    "grass": ((5, 7), 11, 3),
    "road": ((30, 80), 5, 4),
    "path": ((6, 12), 6, 2),
    "water": ((4, 40), 10, 3),
    "tree": ((8, 8), 15, 3),
    "pole": ((30, 6), 5, 2),
    "car": ((24, 60), 6, 2),
    "person": ((14, 14), 8, 2),
    "ball": ((12, 12), 8, 2),
    "trash_can": ((40, 5), 9, 2),
}


def surface(
    rng: np.random.Generator, name: str, shape: tuple[int, int], wild: float, scale: float = 1.0
) -> np.ndarray:
    """Paint a (H, W, 3) float32 surface of class `name`: colour, texture, and light falling off to one
    side."""
    (gh, gw), contrast, octaves = TEXTURE[name]
    # any grain and any contrast, so that a tracker trained on these does not learn a dozen textures by heart
    if wild:
        gh, gw, contrast = (
            np.exp(rng.uniform(1, 4)),
            np.exp(rng.uniform(1, 4)),
            contrast * (1 - wild) + wild * rng.uniform(2, 26),
        )
    tint = rng.normal(0, 0.15, 3).astype(np.float32) + 1
    base = noise(rng, shape, (gh * scale, gw * scale), octaves)[..., None] * contrast * tint + colour(
        rng, name, wild
    )
    slope_x, slope_y = rng.uniform(-14, 14), rng.uniform(-4, 18)
    light = (
        np.linspace(-slope_x, slope_x, shape[1])[None, :] - np.linspace(-slope_y, slope_y, shape[0])[:, None]
    )
    return (base + light[..., None]).astype(np.float32)


def _canvas(h: int, w: int) -> np.ndarray:
    return np.zeros((max(h, 2), max(w, 2)), np.uint8)


def _paint(rgb: np.ndarray, where: np.ndarray, value) -> None:
    """Overwrite colours but keep a third of the texture below, so that parts belong to one thing."""
    rgb[where > 0] = 0.3 * rgb[where > 0] + 0.7 * np.asarray(value, np.float32)


def building(rng, h, w, wild):
    """Draw a facade with a window grid; the roof may be a gable."""
    rgb, a = surface(rng, "building", (h, w), wild, 2), _canvas(h, w)
    roof = int(h * rng.choice([0, 0, 0.12]))
    cv2.fillPoly(a, [np.array([[0, h], [0, roof], [w // 2, 0], [w, roof], [w, h]])], 255)
    rows, cols = max(2, int(h / rng.uniform(34, 60))), max(2, int(w / rng.uniform(30, 60)))
    glass = rng.uniform(40, 110) * np.array([0.8, 0.95, 1.1]) + rng.uniform(0, 60)
    panes = _canvas(h, w)
    for r in range(rows):
        for c in range(cols):
            y, x = roof + (h - roof) * (r + 0.3) / rows, w * (c + 0.28) / cols
            cv2.rectangle(
                panes,
                (int(x), int(y)),
                (int(x + w * 0.44 / cols), int(y + (h - roof) * 0.42 / rows)),
                255,
                -1,
            )
    rgb[panes > 0] = 0.45 * rgb[panes > 0] + 0.55 * glass
    return rgb, a


def tree(rng, h, w, wild):
    """Draw a trunk and a crown of overlapping discs."""
    rgb, a = surface(rng, "tree", (h, w), wild, 2), _canvas(h, w)
    trunk = _canvas(h, w)
    cv2.rectangle(trunk, (int(w * 0.45), int(h * 0.5)), (int(w * 0.55), h), 255, -1)
    _paint(rgb, trunk, (80, 62, 48))
    for _ in range(9):
        r = rng.uniform(0.16, 0.25) * min(w, h)
        x, y = np.clip(rng.normal(0.5, 0.13) * w, r, w - r), np.clip(rng.normal(0.34, 0.1) * h, r, h)
        cv2.circle(a, (int(x), int(y)), int(r), 255, -1)
    return rgb, cv2.bitwise_or(a, trunk)


def pole(rng, h, w, wild):
    """Draw a thin mast; some carry a lamp or a sign."""
    rgb, a = surface(rng, "pole", (h, w), wild, 2), _canvas(h, w)
    half = max(2, int(h * 0.018))
    cv2.rectangle(a, (w // 2 - half, 0), (w // 2 + half, h), 255, -1)
    if rng.random() < 0.5:
        cv2.ellipse(a, (w // 2, int(h * 0.06)), (max(4, w // 3), max(4, int(h * 0.045))), 0, 0, 360, 255, -1)
    return rgb, a


def car(rng, h, w, wild):
    """Draw a side view: body, cabin with windows, two wheels."""
    rgb, a = surface(rng, "car", (h, w), wild, 2), _canvas(h, w)
    cv2.fillPoly(
        a,
        [
            (np.array([[0.02, 0.85], [0.02, 0.5], [0.2, 0.42], [0.98, 0.48], [0.98, 0.85]]) * (w, h)).astype(
                int
            )
        ],
        255,
    )
    cabin = np.array([[0.18, 0.5], [0.3, 0.06], [0.68, 0.06], [0.84, 0.5]])
    cv2.fillPoly(a, [(cabin * (w, h)).astype(int)], 255)
    panes = _canvas(h, w)
    cv2.fillPoly(panes, [((cabin * (0.8, 0.72) + (0.1, 0.08)) * (w, h)).astype(int)], 255)
    cv2.rectangle(panes, (int(w * 0.48), 0), (int(w * 0.51), h), 0, -1)
    _paint(rgb, panes, (70, 85, 100))
    wheels = _canvas(h, w)
    for x in (0.22, 0.78):
        cv2.circle(wheels, (int(w * x), int(h * 0.82)), int(h * 0.17), 255, -1)
    _paint(rgb, wheels, (32, 32, 34))
    return rgb, cv2.bitwise_or(a, wheels)


def person(rng, h, w, wild, phase: float = 0.0):
    """Draw a walker: head, torso, arms and legs that swing with `phase` (radians)."""
    rgb, a = surface(rng, "person", (h, w), wild, 2), _canvas(h, w)
    trousers, skin = (
        colour(rng, "road", wild) * rng.uniform(0.5, 1.2),
        np.array([205, 165, 140]) * rng.uniform(0.5, 1.1),
    )
    thick, swing = max(3, int(h * 0.075)), 0.13 * np.sin(phase)
    legs, head = _canvas(h, w), _canvas(h, w)
    for s in (swing, -swing):
        cv2.line(legs, (w // 2, int(h * 0.52)), (int(w / 2 + s * h), int(h * 0.97)), 255, thick)
        cv2.line(
            a, (w // 2, int(h * 0.24)), (int(w / 2 - 0.8 * s * h), int(h * 0.52)), 255, max(2, thick * 2 // 3)
        )
    cv2.ellipse(a, (w // 2, int(h * 0.36)), (int(h * 0.1), int(h * 0.2)), 0, 0, 360, 255, -1)
    cv2.circle(head, (w // 2, int(h * 0.09)), int(h * 0.08), 255, -1)
    _paint(rgb, legs, trousers)
    _paint(rgb, head, skin)
    return rgb, a | legs | head


def ball(rng, h, w, wild):
    """Draw a disc with a stripe."""
    rgb, a = surface(rng, "ball", (h, w), wild, 2), _canvas(h, w)
    cv2.circle(a, (w // 2, h // 2), min(h, w) // 2 - 1, 255, -1)
    stripe = _canvas(h, w)
    cv2.line(
        stripe, (0, int(h * rng.uniform(0.3, 0.7))), (w, int(h * rng.uniform(0.3, 0.7))), 255, max(2, h // 7)
    )
    rgb[stripe > 0] = 0.6 * rgb[stripe > 0] + 0.4 * colour(rng, "ball", 1.0)
    return rgb, a


def trash_can(rng, h, w, wild):
    """Draw a tapered bin with a lid."""
    rgb, a = surface(rng, "trash_can", (h, w), wild, 2), _canvas(h, w)
    cv2.fillPoly(a, [(np.array([[0.08, 0.1], [0.92, 0.1], [0.8, 1], [0.2, 1]]) * (w, h)).astype(int)], 255)
    lid = _canvas(h, w)
    cv2.rectangle(lid, (0, 0), (w, int(h * 0.14)), 255, -1)
    _paint(rgb, lid, colour(rng, "pole", wild))
    return rgb, a | lid


def blob(rng, h, w, wild, name="ball"):
    """Draw a shape of no class's own, for training the tracker on more than a dozen outlines."""
    rgb, a = surface(rng, name, (h, w), wild, 2), _canvas(h, w)
    angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 14))))
    radius = rng.uniform(0.25, 0.5, len(angle))
    points = np.stack([0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)], 1) * (w, h)
    cv2.fillPoly(a, [points.astype(int)], 255)
    return rgb, a


DRAW = {
    "building": building,
    "tree": tree,
    "pole": pole,
    "car": car,
    "person": person,
    "ball": ball,
    "trash_can": trash_can,
}
# width over height
ASPECT = {
    "building": 1.0,
    "tree": 0.8,
    "pole": 0.16,
    "car": 2.1,
    "person": 0.45,
    "ball": 1.0,
    "trash_can": 0.7,
}
# over ground depth
HEIGHT = {
    "building": 1.5,
    "tree": 1.15,
    "pole": 1.25,
    "car": 0.42,
    "person": 0.52,
    "ball": 0.16,
    "trash_can": 0.3,
}
