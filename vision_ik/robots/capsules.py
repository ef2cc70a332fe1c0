"""The shape of an arm as capsules, from the collision elements of its URDF.

Cylinders, capsules, spheres and boxes become capsules that contain them. Meshes are not opened:
a link that has nothing else gets a stand-in, a stick from its frame to the joints that leave it.
A capsule written as a cylinder with a sphere at each end (what every URDF parser can read, and
how the catalogue does it) comes back as one capsule.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vision_ik.robots.description import Rgba, Shape, UrdfLink, UrdfTree
from vision_ik.robots.model import Capsule
from vision_ik.types import Floats

STAND_IN_RADIUS = 0.04
"""[m] Half the thickness of a typical table-top arm."""
_GREY: Rgba = (0.7, 0.7, 0.7, 1.0)
_CONTAINED = 1e-9
"""[m] Slack when a capsule is dropped because another contains it."""


def link_capsules(tree: UrdfTree, name: str) -> list[Capsule]:
    """Return the capsules of one link, in its frame."""
    link = tree.links[name]
    capsules: list[Capsule] = []
    for shape in link.collisions:
        if shape.kind == "mesh":
            continue
        p0, p1, radius = _bounds(shape)
        if radius > 0.0:
            capsules.append(Capsule(link=name, p0=p0, p1=p1, radius=radius, rgba=_colour(shape, link)))
    has_mesh = any(shape.kind == "mesh" for shape in (*link.collisions, *link.visuals))
    if not capsules and has_mesh:
        return _stand_ins(tree, link)
    return [c for i, c in enumerate(capsules) if not _is_inside(c, capsules[:i], capsules[i + 1 :])]


def _bounds(shape: Shape) -> tuple[Floats, Floats, float]:
    """Return ends and radius of a capsule that contains the shape, in the link frame."""
    T = shape.T_link_shape
    axis, half, radius = T[:3, 2], 0.0, 0.0
    if shape.kind == "sphere":
        radius = shape.size[0]
    elif shape.kind in ("cylinder", "capsule"):
        radius, half = shape.size[0], 0.5 * shape.size[1]
    else:
        # Along the longest edge; the corners of the cross-section lie on the wall, so the flat
        # ends need the whole length as axis.
        edges = np.array(shape.size)
        longest = int(np.argmax(edges))
        axis, half = T[:3, longest], 0.5 * float(edges[longest])
        radius = 0.5 * float(np.linalg.norm(np.delete(edges, longest)))
    return T[:3, 3] - half * axis, T[:3, 3] + half * axis, radius


def _colour(shape: Shape, link: UrdfLink) -> Rgba:
    """Return the colour of the visual that looks like this collision shape, else the link's first one."""
    alike = (
        visual.rgba
        for visual in link.visuals
        if visual.kind == shape.kind
        and np.allclose(visual.size, shape.size)
        and np.allclose(visual.T_link_shape, shape.T_link_shape)
    )
    return _first((*alike, *(visual.rgba for visual in link.visuals))) or _GREY


def _stand_ins(tree: UrdfTree, link: UrdfLink) -> list[Capsule]:
    rgba = _first(visual.rgba for visual in link.visuals) or _GREY
    ends = [joint.T_parent_joint[:3, 3] for joint in tree.children[link.name]] or [np.zeros(3)]
    return [
        Capsule(link=link.name, p0=np.zeros(3), p1=end, radius=STAND_IN_RADIUS, rgba=rgba, stand_in=True)
        for end in ends
    ]


def _is_inside(inner: Capsule, before: list[Capsule], after: list[Capsule]) -> bool:
    """Tell whether another capsule contains this one; of two equal ones the later goes."""
    return any(_contains(outer, inner) for outer in before) or any(
        _contains(outer, inner) and not _contains(inner, outer) for outer in after
    )


def _contains(outer: Capsule, inner: Capsule) -> bool:
    reach = outer.radius - inner.radius + _CONTAINED
    return reach >= 0.0 and all(_distance(end, outer) <= reach for end in (inner.p0, inner.p1))


def _distance(point: Floats, capsule: Capsule) -> float:
    """Return the distance of a point to the capsule's axis [m]."""
    along = capsule.p1 - capsule.p0
    length2 = float(along @ along)
    s = 0.0 if length2 == 0.0 else min(max(float((point - capsule.p0) @ along) / length2, 0.0), 1.0)
    return float(np.linalg.norm(point - capsule.p0 - s * along))


def _first(colours: Iterable[Rgba | None]) -> Rgba | None:
    return next((rgba for rgba in colours if rgba is not None), None)
