"""Kinds of made pictures: each a function of a numpy generator and a side, to ``(side, side, 3)`` in about [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from train.embedded.fields import (
    Floats,
    Random,
    coloured,
    grid,
    palette,
    ramp,
    relief,
    softened,
    spectral,
    texture,
    unit,
    warped,
)

Picture = Callable[[Random, int], Floats]


def dead_leaves(rng: Random, side: int) -> Floats:
    """Shapes that cover one another, sizes by a power law, each with a texture, its own light and at times a shadow.

    The statistics of occlusion are those of photographs (Lee, Mumford and Huang, IJCV 2001).
    """
    bank = [texture(rng, side) for _ in range(5)]
    image = bank[0].copy()
    smallest, largest = side / rng.uniform(14, 60), side / rng.uniform(1.6, 3)
    count = int(rng.integers(100, 320))
    # density of radii as radius ** -3, largest first so that small ones are not all buried
    shares = rng.uniform(size=count)
    radii = (smallest**-2 - shares * (smallest**-2 - largest**-2)) ** -0.5
    kinds = rng.choice(3, size=4)
    for radius in np.concatenate([-np.sort(-radii[: count // 2]), radii[count // 2 :]]):
        _leaf(rng, image, bank[int(rng.integers(len(bank)))], float(radius), int(kinds[int(rng.integers(4))]))
    return image


def _leaf(rng: Random, image: Floats, cloth: Floats, radius: float, kind: int) -> None:
    side = image.shape[0]
    centre = rng.uniform(0, side, 2)
    low = np.maximum(np.floor(centre - radius - 2), 0).astype(int)
    high = np.minimum(np.ceil(centre + radius + 3), side).astype(int)
    rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
    angle, flat = rng.uniform(0, np.pi), rng.uniform(0.35, 1)
    down, across = (rows - centre[0]).astype(np.float32), (columns - centre[1]).astype(np.float32)
    u = np.cos(angle) * down + np.sin(angle) * across
    v = (np.cos(angle) * across - np.sin(angle) * down) / np.float32(flat)
    if kind == 0:
        distance = np.sqrt(u * u + v * v)
    elif kind == 1:
        distance = np.maximum(np.abs(u), np.abs(v)) * 1.3
    else:  # a leaf or a petal: the radius swings with the direction
        lobes = int(rng.integers(2, 7))
        distance = np.sqrt(u * u + v * v) * (1.25 + 0.25 * np.sin(lobes * np.arctan2(v, u)))
    cover = np.clip((radius - distance) / max(flat, 0.5) + 0.5, 0, 1)[..., None]
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    light = 1 + rng.uniform(-0.35, 0.35) * (u / radius)[..., None] + rng.uniform(-0.25, 0.25)
    colour = cloth[window] * light * rng.uniform(0.7, 1.2, 3).astype(np.float32)
    if radius > side / 24 and rng.uniform() < 0.4:
        shade = np.clip((radius * 1.15 - distance) / (0.3 * radius), 0, 1)[..., None]
        image[window] *= 1 - 0.45 * shade
    image[window] += cover * (colour - image[window])


def clouds(rng: Random, side: int) -> Floats:
    """1/f noise with colours of its own in each channel, most of it light and dark."""
    slope = rng.uniform(0.8, 1.6)
    light = spectral(rng, side, slope)
    tints = rng.normal(0, 0.25, (2, 3)).astype(np.float32)
    image = 0.5 + rng.uniform(0.1, 0.22) * light[..., None]
    for tint in tints:
        image = image + 0.25 * tint * spectral(rng, side, slope + 0.2)[..., None]
    if rng.uniform() < 0.4:
        image = warped(rng, image, side * rng.uniform(0.01, 0.06))
    return image.astype(np.float32)


def marble(rng: Random, side: int) -> Floats:
    """Veins and contour lines: a wave of a warped field, through a palette."""
    field = spectral(rng, side, rng.uniform(1.3, 2.0))
    waves = np.sin(field * rng.uniform(1, 6) + ramp(rng, side) * rng.uniform(0, 30))
    power = rng.uniform(0.4, 2)
    image = coloured(unit(waves) ** np.float32(power), palette(rng, int(rng.integers(3, 7))))
    return image * (0.8 + 0.2 * relief(rng, field, 4)[..., None])


def terrain(rng: Random, side: int) -> Floats:
    """A lit landscape from above: heights of 1/f noise, colours by height."""
    height = spectral(rng, side, rng.uniform(1.4, 2.0))
    if rng.uniform() < 0.4:
        height = -np.abs(height)  # ridges
    colours = coloured(unit(height), palette(rng, int(rng.integers(3, 6))))
    return np.asarray(colours * (0.35 + 0.9 * relief(rng, height, rng.uniform(3, 20))[..., None]), np.float32)


def fractal(rng: Random, side: int) -> Floats:
    """A Julia set near its edge, by smooth escape time."""
    rows, columns = grid(side)
    angle = rng.uniform(0, 2 * np.pi)
    # the rim of the main cardioid of the Mandelbrot set, a little outside, has the most going on
    rim = np.exp(1j * angle) / 2 - np.exp(2j * angle) / 4
    constant = np.complex64(rim * rng.uniform(1.01, 1.12))
    zoom, centre = rng.uniform(0.3, 1.3), rng.uniform(-0.6, 0.6, 2)
    z = (zoom * (columns / side * 2 - 1) + centre[0] + 1j * (zoom * (rows / side * 2 - 1) + centre[1])).astype(
        np.complex64
    )
    escape = np.zeros((side, side), np.float32)
    for step in range(36):
        z = z * z + constant
        size = np.minimum(np.abs(z), np.float32(1e4))
        z = np.where(size < 1e4, z, np.complex64(1e4))
        gone = (escape == 0) & (size > 4)
        escape[gone] = step + 1 - np.log2(np.log2(size[gone]))
    field = unit(np.sqrt(np.maximum(escape, 0)))
    inside = texture(rng, side)
    image = coloured(field, palette(rng, int(rng.integers(4, 9))))
    return np.where((escape > 0)[..., None], image, inside)


def glow(rng: Random, side: int) -> Floats:
    """Smooth gradients and soft lights: skies, walls, what is far out of focus."""
    image = coloured(ramp(rng, side), palette(rng, 2))
    rows, columns = grid(side)
    for colour in palette(rng, int(rng.integers(2, 14))):
        radius, centre = side * rng.uniform(0.03, 0.5), rng.uniform(0, side, 2)
        distance = np.sqrt((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2)
        edge = radius * rng.uniform(0.05, 1)
        cover = np.clip((radius - distance) / edge + 0.5, 0, 1)
        cover = cover * cover * (3 - 2 * cover) * rng.uniform(0.3, 0.9)
        image = image + cover[..., None] * (colour - image)
    return image.astype(np.float32)


def cells(rng: Random, side: int) -> Floats:
    """Stones, mosaics, foam and skin: the cells of random points, with joints and light of their own."""
    count = int(rng.integers(20, 500))
    points = rng.uniform(0, side, (count, 2))
    rows, columns = grid(side)
    if rng.uniform() < 0.6:
        bend = side * rng.uniform(0.005, 0.03)
        rows, columns = rows + bend * spectral(rng, side, 1.8), columns + bend * spectral(rng, side, 1.8)
    near, which = cKDTree(points).query(np.stack([rows.ravel(), columns.ravel()], 1), k=2)
    gap = (near[:, 1] - near[:, 0]).reshape(side, side).astype(np.float32)
    colours = palette(rng, int(rng.integers(2, 8)))
    colours = colours[rng.integers(len(colours), size=count)] * rng.uniform(0.8, 1.2, (count, 1))
    image = colours[which[:, 0]].reshape(side, side, 3)
    joint = np.clip(gap / rng.uniform(1.5, 8), 0, 1)[..., None]
    image = image * (0.25 + 0.75 * joint) if rng.uniform() < 0.7 else image
    bulge = np.sqrt(side * side / count) * 0.5
    image = image * (0.6 + 0.5 * np.clip(1 - near[:, 0].reshape(side, side) / bulge, 0, 1))[..., None]
    return (image * (0.75 + 0.25 * texture(rng, side))).astype(np.float32)


def writing(rng: Random, side: int) -> Floats:
    """Pages of an alphabet that nobody reads: letters of strokes, in lines, words and sizes."""
    paper, ink = palette(rng, 2)
    if abs(float(paper.mean() - ink.mean())) < 0.3:
        paper, ink = (np.array([0.93, 0.92, 0.9]) + rng.normal(0, 0.03, (1, 3)))[0], ink * 0.3
    mask = Image.new("L", (2 * side, 2 * side))  # twice the size, then halved: smooth edges
    draw = ImageDraw.Draw(mask)
    letters = [_letter(rng) for _ in range(12)]
    y = rng.uniform(-20, 40)
    while y < 2 * side:
        size = float(np.exp(rng.uniform(np.log(12), np.log(70 if rng.uniform() < 0.8 else 220))))
        width = max(1, round(size * rng.uniform(0.06, 0.16)))
        x = rng.uniform(-20, 40)
        for _ in range(int(rng.integers(1, 4))):
            x = rng.uniform(0, 30)
            while x < 2 * side:
                if rng.uniform() < 0.16:
                    x += size * 0.6
                    continue
                for stroke in letters[int(rng.integers(len(letters)))]:
                    draw.line([(x + a * size * 0.6, y + b * size) for a, b in stroke], fill=255, width=width)
                x += size * 0.75
            y += size * 1.5
    cover = np.asarray(mask.resize((side, side), Image.Resampling.BOX), np.float32) / 255
    if rng.uniform() < 0.3:
        cover = warped(rng, cover, side * 0.01)
    ground = paper * (0.9 + 0.1 * texture(rng, side)) if rng.uniform() < 0.7 else texture(rng, side)
    return (ground + cover[..., None] * (ink - ground)).astype(np.float32)


def _letter(rng: Random) -> list[list[tuple[float, float]]]:
    corners = [(a / 2, b / 3) for a in range(3) for b in range(4)]
    strokes = []
    for _ in range(int(rng.integers(1, 4))):
        if rng.uniform() < 0.35:  # a bow
            middle, turn = rng.uniform(0.3, 0.7, 2), rng.uniform(0, 2 * np.pi)
            angles = turn + np.linspace(0, rng.uniform(2, 6.3), 10)
            strokes.append([(middle[0] + 0.3 * np.cos(a), middle[1] + 0.3 * np.sin(a)) for a in angles])
        else:
            strokes.append([corners[i] for i in rng.choice(len(corners), int(rng.integers(2, 4)), replace=False)])
    return strokes


def thicket(rng: Random, side: int) -> Floats:
    """Branches, grass and wires before something else: thin lines of every direction and width."""
    image = Image.fromarray((np.clip(softened(texture(rng, side), 1), 0, 1) * 255).astype(np.uint8))
    image = image.resize((2 * side, 2 * side), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    colours = [tuple(int(255 * value) for value in colour) for colour in palette(rng, 5)]
    if rng.uniform() < 0.5:
        for _ in range(int(rng.integers(2, 5))):
            start = (rng.uniform(0, 2 * side), 2 * side * rng.uniform(0.7, 1.1))
            _branch(rng, draw, start, -np.pi / 2 + rng.normal(0, 0.15), side * rng.uniform(0.3, 0.7), 9, colours)
    else:
        for _ in range(int(rng.integers(150, 700))):
            x, y = rng.uniform(-0.1, 2.2, 2) * side
            bend, length = rng.normal(0, 0.6), side * rng.uniform(0.05, 0.5)
            turn = -np.pi / 2 + rng.normal(0, 0.4)
            steps = np.linspace(0, 1, 6)
            curve = [
                (x + s * length * np.cos(turn + bend * s), y + s * length * np.sin(turn + bend * s)) for s in steps
            ]
            draw.line(curve, fill=colours[int(rng.integers(5))], width=int(rng.integers(1, 5)))
    return np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32) / 255


def _branch(
    rng: Random,
    draw: ImageDraw.ImageDraw,
    start: tuple[float, float],
    angle: float,
    length: float,
    depth: int,
    colours: list[tuple[int, ...]],
) -> None:
    end = (start[0] + length * np.cos(angle), start[1] + length * np.sin(angle))
    draw.line([start, end], fill=colours[depth % 2], width=max(1, round(length * 0.09)))
    if depth == 0 or length < 5:
        x, y = end
        draw.ellipse([x - 3, y - 2, x + 3, y + 2], fill=colours[2 + int(rng.integers(3))])
        return
    for turn in (-rng.uniform(0.2, 0.7), rng.uniform(0.2, 0.7)):
        _branch(rng, draw, end, angle + turn, length * rng.uniform(0.6, 0.85), depth - 1, colours)


def landscape(rng: Random, side: int) -> Floats:
    """Sky with clouds, ridges that fade with distance, ground in perspective or water that mirrors."""
    rows, columns = grid(side)
    horizon = side * rng.uniform(0.3, 0.65)
    sky, haze = palette(rng, 2) * 0.4 + 0.5
    image = sky + (rows / horizon).clip(0, 1)[..., None] * (haze - sky)
    cloud = np.clip(spectral(rng, side, 1.5, (rng.uniform(1, 3), 1.0)) - rng.uniform(-0.5, 1.5), 0, 1.5)[..., None]
    image = image + 0.5 * cloud * (1 - image)
    ground = _receding(rng, texture(rng, side), rows, columns, horizon)
    if rng.uniform() < 0.6:
        ground = ground * palette(rng, 1)[0] * 1.4
    image = np.where((rows > horizon)[..., None], ground, image)
    layers = int(rng.integers(1, 5))
    for layer in range(layers):
        depth = (layer + 1) / layers
        top = horizon - side * (0.22 * (1 - depth) + 0.03) + side * 0.05 * _line(rng, side, rng.uniform(1.0, 1.9))
        cover = np.clip(rows - top + 0.5, 0, 1) * (rows < horizon + side * 0.25 * depth * rng.uniform())
        hill = texture(rng, side) * palette(rng, 1)[0] * 1.2
        image = image + cover[..., None] * ((1 - depth) * 0.7 * (haze - hill) + hill - image)
    if rng.uniform() < 0.3:  # water
        level = int(side * rng.uniform(0.6, 0.8))
        image[level:] = 0.75 * _mirrored(rng, image, level, side)
    return image.astype(np.float32)


def _line(rng: Random, side: int, slope: float) -> Floats:
    """A random skyline ``(side,)`` of deviation 1."""
    spectrum = np.fft.rfft(rng.standard_normal(side)) / np.maximum(np.arange(side // 2 + 1), 1) ** slope
    spectrum[0] = 0
    line = np.fft.irfft(spectrum, side)
    return (line / (line.std() + 1e-9)).astype(np.float32)


def _receding(rng: Random, cloth: Floats, rows: Floats, columns: Floats, horizon: float) -> Floats:
    side = cloth.shape[0]
    near = side * rng.uniform(0.2, 0.8) / np.maximum(rows - horizon, 1.0)
    places = [(near * side * 0.5) % (side - 1), ((columns - side / 2) * near) % (side - 1)]
    layers = [map_coordinates(cloth[..., c], places, order=1, mode="wrap") for c in range(3)]
    ground = np.stack(layers, -1)
    fade = np.clip((rows - horizon) / (0.15 * side), 0, 1)[..., None]  # far ground is too fine to be seen
    return (ground.mean((0, 1)) + fade * (ground - ground.mean((0, 1)))).astype(np.float32)


def _mirrored(rng: Random, image: Floats, level: int, side: int) -> Floats:
    rows = np.arange(level, side)
    wobble = rng.normal(0, 1 + (rows - level) / 12)
    return image[np.clip(2 * level - rows + wobble, 0, level - 1).astype(int)]


def town(rng: Random, side: int) -> Floats:
    """Fronts of buildings with rows of windows, one before another."""
    image = coloured(grid(side)[0] / side, palette(rng, 2) * 0.4 + 0.5)
    image = image + 0.1 * spectral(rng, side, 1.6)[..., None]
    for number in range(int(rng.integers(3, 9))):
        width = int(side * rng.uniform(0.15, 0.5))
        left = int(rng.integers(-width // 2, side - width // 2))
        top = int(side * rng.uniform(0.05, 0.3 + 0.06 * number))
        block = _front(rng, side, width)[top:]
        begin, end = max(left, 0), min(left + width, side)
        image[top:, begin:end] = block[:, begin - left : end - left]
    if rng.uniform() < 0.5:  # seen at an angle
        rows, columns = grid(side)
        tilt = rng.uniform(-0.35, 0.35)
        places = [side / 2 + (rows - side / 2) * (1 + tilt * (columns / side - 0.5)), columns]
        image = np.stack([map_coordinates(image[..., c], places, order=1, mode="mirror") for c in range(3)], -1)
    return image.astype(np.float32)


def _front(rng: Random, side: int, width: int) -> Floats:
    wall, pane, frame = palette(rng, 3)
    rows, columns = np.mgrid[:side, :width]
    height, across = int(rng.integers(8, 40)), int(rng.integers(6, 34))
    front = np.broadcast_to(wall, (side, width, 3)) * (0.75 + 0.4 * texture(rng, side)[:, :width])
    y, x = rows % height / height, columns % across / across
    window = (y > 0.25) & (y < 0.8) & (x > 0.2) & (x < 0.8)
    border = (y > 0.2) & (y < 0.85) & (x > 0.14) & (x < 0.86)
    lit = rng.uniform(0.4, 1.2, (side // height + 1, width // across + 1))[rows // height, columns // across]
    front = np.where(border[..., None], frame, front)
    front = np.where(window[..., None], pane * lit[..., None], front)
    if rng.uniform() < 0.4:  # bricks
        course = (rows % 6 == 0) | ((columns + 6 * (rows // 6 % 2)) % 12 == 0)
        front = np.where((course & ~border)[..., None], front * 0.75, front)
    return (front * rng.uniform(0.6, 1.1)).astype(np.float32)


def still_life(rng: Random, side: int) -> Floats:
    """Balls and rods of textured cloth, lit from one side, with highlights and shadows on the ground."""
    rows, columns = grid(side)
    image = texture(rng, side) * (0.6 + 0.4 * ramp(rng, side)[..., None])
    if rng.uniform() < 0.5:
        image = softened(image, rng.uniform(0.5, 5))
    sun = rng.normal(size=3)
    sun[2] = abs(sun[2]) + 0.5
    sun /= np.linalg.norm(sun)
    for _ in range(int(rng.integers(2, 9))):
        radius, centre = side * rng.uniform(0.05, 0.3), rng.uniform(0, side, 2)
        down, across = (rows - centre[0]) / radius, (columns - centre[1]) / radius
        if rng.uniform() < 0.3:
            across = across * 0  # a rod
        flat = down * down + across * across
        up = np.sqrt(np.clip(1 - flat, 0, 1))
        light = np.clip(down * sun[0] + across * sun[1] + up * sun[2], 0, 1)
        shine = np.clip(2 * light * up - sun[2], 0, 1) ** rng.uniform(8, 60) * rng.uniform(0, 0.9)
        shadow = np.clip(1.3 - np.hypot(down + 0.5 * sun[0], across + 0.5 * sun[1]), 0, 1)
        image = image * (1 - 0.5 * shadow[..., None])
        ball = texture(rng, side) * (0.15 + light[..., None]) + shine[..., None]
        cover = np.clip((1 - np.sqrt(flat)) * radius + 0.5, 0, 1)[..., None]
        image = image + cover * (ball - image)
    return image.astype(np.float32)


def collage(rng: Random, side: int) -> Floats:
    """Two pictures joined along a wandering edge, one at times out of focus."""
    kinds = [dead_leaves, clouds, terrain, cells, town, thicket, landscape, marble]
    one, other = (kinds[int(i)](rng, side) for i in rng.choice(len(kinds), 2, replace=False))
    if rng.uniform() < 0.6:
        other = softened(other, rng.uniform(1, 6))
    field = spectral(rng, side, rng.uniform(1.6, 2.4))
    sharp = np.exp(rng.uniform(np.log(2), np.log(60)))
    field = gaussian_filter(field, 1.0, mode="wrap")
    cover = np.clip(0.5 + sharp * field / 2, 0, 1)[..., None]
    return (other + cover * (one - other)).astype(np.float32)


#: The kinds, with their shares in the mix.
PICTURES: dict[Picture, float] = {
    dead_leaves: 5,
    collage: 3,
    landscape: 3,
    town: 2,
    still_life: 2,
    thicket: 2,
    cells: 1.5,
    terrain: 1.5,
    clouds: 1.2,
    glow: 0.7,
    writing: 1.5,
    marble: 1,
    fractal: 1,
}
