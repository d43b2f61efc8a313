"""Regions of every shape at random, and what sphgeom says of them, as JSON lines.

usage: regions.py COUNT SEED
"""

import json
import random
import sys

from lsst.sphgeom import (
    Angle,
    Box,
    Circle,
    ConvexPolygon,
    Ellipse,
    HealpixPixelization,
    HtmPixelization,
    IntersectionRegion,
    LonLat,
    UnionRegion,
    UnitVector3d,
)


def point(near=None, radius=180.0):
    """A point anywhere, or in a square around another one (degrees)."""
    if near is None:
        return random.uniform(0, 360), random.choice([random.uniform(-90, 90), 90, -90, 0])
    ra, dec = near
    return (ra + random.uniform(-radius, radius)) % 360, max(-90.0, min(90.0, dec + random.uniform(-radius, radius)))


def vector(at):
    return UnitVector3d(LonLat.fromDegrees(*at))


def region(near, size, depth=0):
    """A region of about a size (degrees) near a point."""
    kind = random.choice(["polygon", "polygon", "circle", "box", "ellipse", "union", "intersection"][: 7 if depth == 0 else 5])
    centre = point(near, size)
    if kind == "polygon":
        while True:
            try:
                return ConvexPolygon([vector(point(centre, size)) for _ in range(random.randint(3, 7))])
            except ValueError:
                centre = point(near, size)
    if kind == "circle":
        return Circle(vector(centre), Angle.fromDegrees(random.choice([size, size / 3, 0.0, 179.0])))
    if kind == "box":
        lon, lat = centre
        low, high = max(-90.0, lat - size / 2), min(90.0, lat + size / 3)
        return Box.fromDegrees(lon, low, (lon + random.uniform(0.1, 2) * size) % 360, high)
    if kind == "ellipse":
        alpha, beta = (Angle.fromDegrees(min(89.0, size * f)) for f in (1.0, random.uniform(0.2, 1)))
        return Ellipse(vector(centre), alpha, beta, Angle.fromDegrees(random.uniform(0, 180)))
    parts = [region(centre, size, depth + 1) for _ in range(random.randint(2, 3))]
    return UnionRegion(*parts) if kind == "union" else IntersectionRegion(*parts)


def healpix(region):
    """A level, and the HEALPix pixels of it that touch a region; none of regions that are refused."""
    level = 2 if region.getBoundingCircle().getOpeningAngle().asDegrees() > 5 else 5
    try:
        return level, [list(r) for r in HealpixPixelization(level).envelope(region).ranges()]
    except (ValueError, RuntimeError):
        return level, None


def main(count, seed):
    random.seed(seed)
    left = int(count)
    while left:
        near, size = point(), random.choice([0.001, 0.1, 2.0, 15.0, 60.0])
        a, b = region(near, size), region(near, size * random.choice([0.1, 1, 3]))
        at, level = vector(point(near, size)), random.randint(0, 20)
        try:
            case = {
                "a": a.encode().hex(),
                "b": b.encode().hex(),
                "relate": sum(bit for bit in (1, 2, 4) if int(a.relate(b)) & bit),
                "overlaps": a.overlaps(b),
                "box": a.getBoundingBox().encode().hex(),
                "circle": a.getBoundingCircle().encode().hex(),
                "envelope": [list(r) for r in HtmPixelization(5).envelope(a).ranges()],
                "healpix": healpix(a),
                "point": [at.x(), at.y(), at.z()],
                "contains": a.contains(at),
                "level": level,
                "index": HtmPixelization(level).index(at),
            }
        except RuntimeError:
            # sphgeom finds no middle of some very flat polygons.
            continue
        print(json.dumps(case))
        left -= 1


if __name__ == "__main__":
    main(*sys.argv[1:])
