"""Read a URDF file into plain values: links, joints and simple shapes.

Only what kinematics and bounding shapes need is read; everything else is ignored.
Format: the URDF XML specification of ROS (wiki.ros.org/urdf/XML). One element of our own, which other parsers pass
over, keeps what the format has no place for: see `UrdfExtras`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np

from vision_ik.errors import RobotError
from vision_ik.transforms import Transform
from vision_ik.types import Floats

Rgba = tuple[float, float, float, float]
ShapeKind = Literal["cylinder", "capsule", "sphere", "box", "mesh"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shape:
    """One visual or collision element of a link."""

    kind: ShapeKind
    T_link_shape: Floats
    """(4, 4) pose of the shape's centre; cylinders and capsules lie along its z."""
    size: tuple[float, ...]
    """[m] (radius, length) of a cylinder or capsule, (radius,) of a sphere, edges of a box; a mesh's scale (3,)."""
    rgba: Rgba | None = None
    """Red, green, blue and opacity, 0 to 1; None where the file gives none."""
    mesh: str = ""
    """File name of a mesh as the URDF gives it, often ``package://...``."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UrdfLink:
    """A link with its shapes."""

    name: str
    collisions: tuple[Shape, ...]
    visuals: tuple[Shape, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UrdfJoint:
    """A joint; limits are None where the file gives none."""

    name: str
    kind: str
    """revolute, continuous, prismatic, fixed, planar or floating."""
    parent: str
    child: str
    T_parent_joint: Floats
    """(4, 4) pose of the joint frame, and of the child link at zero, in the parent link."""
    axis: Floats
    """(3,) unit axis in the joint frame; zero for a fixed joint."""
    lower: float | None = None
    """[rad], or [m] for a prismatic joint."""
    upper: float | None = None
    """[rad] or [m]."""
    velocity: float | None = None
    """Largest speed [rad/s] or [m/s]."""
    mimic: str = ""
    """Joint this one mimics; empty when it moves on its own."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UrdfExtras:
    """What the element ``<vision_ik>`` of a file adds: the chain that is meant, and its joints' values."""

    base: str
    """Link the chain starts from."""
    tip: str
    """Link it ends at."""
    home: Floats
    """(n,) [rad], [m]"""
    acceleration: Floats
    """(n,) [rad/s^2], [m/s^2]"""
    jerk: Floats
    """(n,) [rad/s^3], [m/s^3]"""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UrdfTree:
    """Links and joints of one file, checked to form a tree."""

    name: str
    path: Path
    links: dict[str, UrdfLink]
    joints: dict[str, UrdfJoint]
    """By child link."""
    root: str
    children: dict[str, list[UrdfJoint]] = field(default_factory=dict[str, list[UrdfJoint]])
    """Joints that leave a link, by parent link."""
    extras: UrdfExtras | None = None


def read_urdf(path: str | Path) -> UrdfTree:
    """Read a URDF file.

    Raises:
        RobotError: The file cannot be read, is not URDF, or its links and joints form no tree.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RobotError(
            f"Could not read {file}: {error.strerror or error}.", "Give the path of a URDF file.", path=file
        ) from error
    return parse_urdf(data, file)


def parse_urdf(data: bytes, file: Path) -> UrdfTree:
    """Return the tree in the bytes of a URDF; ``file`` is what messages call it.

    Raises:
        RobotError: It is not URDF, or its links and joints form no tree.
    """
    root = _parse_xml(data, file)
    materials = {m.get("name", ""): rgba for m in root.findall("material") if (rgba := _colour(m, {}, file))}
    links: dict[str, UrdfLink] = {}
    for element in root.findall("link"):
        link = _link(element, materials, file)
        if link.name in links:
            raise _malformed(file, f"has two links named {link.name!r}.")
        links[link.name] = link
    joints = [_joint(element, file) for element in root.findall("joint")]
    tree = _tree(root.get("name") or file.stem, file, links, joints)
    own = root.find("vision_ik")
    return tree if own is None else replace(tree, extras=_extras(own, file))


def _extras(element: ElementTree.Element, file: Path) -> UrdfExtras:
    def values(key: str) -> Floats:
        return _numbers(element, key, None, "<vision_ik>", file, count=len(element.get(key, "0").split()))

    return UrdfExtras(
        base=element.get("base", ""),
        tip=element.get("tip", ""),
        home=values("home"),
        acceleration=values("acceleration"),
        jerk=values("jerk"),
    )


def _parse_xml(data: bytes, file: Path) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise RobotError(
            f"{file} is not well-formed XML: {error}.", "Mend the line it names, or export the URDF again.", path=file
        ) from error
    if root.tag != "robot":
        raise RobotError(
            f"{file} is not a URDF: its root element is <{root.tag}>, not <robot>.",
            "Give a URDF; other formats (SDF, MJCF) have to be converted first.",
            path=file,
        )
    if any("xacro" in element.tag for element in root.iter()):
        raise RobotError(f"{file} holds xacro macros.", "Expand it first: xacro arm.urdf.xacro > arm.urdf.", path=file)
    return root


def _tree(name: str, file: Path, links: dict[str, UrdfLink], joints: list[UrdfJoint]) -> UrdfTree:
    """Check that links and joints form one tree, and index it."""
    by_child: dict[str, UrdfJoint] = {}
    children: dict[str, list[UrdfJoint]] = {link: [] for link in links}
    names: set[str] = set()
    for joint in joints:
        if joint.name in names:
            raise _malformed(file, f"has two joints named {joint.name!r}.")
        names.add(joint.name)
        for end in (joint.parent, joint.child):
            if end not in links:
                raise _malformed(file, f"has a joint {joint.name!r} at a link {end!r} that does not exist.")
        if joint.child in by_child:
            other = by_child[joint.child].name
            raise _malformed(file, f"is no tree: link {joint.child!r} hangs on both {other!r} and {joint.name!r}.")
        by_child[joint.child] = joint
        children[joint.parent].append(joint)
    roots = [link for link in links if link not in by_child]
    if not links:
        raise _malformed(file, "has no links.")
    if not roots:
        raise _malformed(file, f"has no root: its links form a cycle ({', '.join(links)}).")
    reached = list(roots)
    for link in reached:
        reached += [joint.child for joint in children[link]]
    if len(reached) < len(links):
        cycle = [link for link in links if link not in set(reached)]
        raise _malformed(file, f"is no tree: the links {', '.join(cycle)} form a cycle.")
    if len(roots) > 1:
        raise _malformed(file, f"has several root links ({', '.join(roots)}); no joint joins them.")
    return UrdfTree(name=name, path=file, links=links, joints=by_child, root=roots[0], children=children)


def _joint(element: ElementTree.Element, file: Path) -> UrdfJoint:
    name = element.get("name", "")
    what = f"joint {name!r}"
    ends = [part.get("link", "") if (part := element.find(tag)) is not None else "" for tag in ("parent", "child")]
    if not name or not all(ends):
        raise _malformed(file, f"has a {what} without name, parent or child.")
    kind = element.get("type", "")
    if kind not in ("revolute", "continuous", "prismatic", "fixed", "planar", "floating"):
        raise _malformed(file, f"gives {what} the unknown type {kind!r}.")
    axis = np.zeros(3)
    if kind in ("revolute", "continuous", "prismatic"):
        axis = _numbers(element.find("axis"), "xyz", (1.0, 0.0, 0.0), what, file)
        norm = float(np.linalg.norm(axis))
        if norm < 1e-9:
            raise _malformed(file, f"gives {what} an axis of length zero.")
        axis = axis / norm
    limit, mimic = element.find("limit"), element.find("mimic")
    bounds = {
        key: float(_numbers(limit, key, (0.0,), what, file)[0])
        for key in ("lower", "upper", "velocity")
        if limit is not None and key in limit.attrib
    }
    return UrdfJoint(
        name=name,
        kind=kind,
        parent=ends[0],
        child=ends[1],
        T_parent_joint=_origin(element, what, file),
        axis=axis,
        mimic="" if mimic is None else mimic.get("joint", "another joint"),
        **bounds,
    )


def _link(element: ElementTree.Element, materials: dict[str, Rgba], file: Path) -> UrdfLink:
    name = element.get("name", "")
    if not name:
        raise _malformed(file, "has a link without a name.")
    shapes = {
        tag: tuple(shape for part in element.findall(tag) if (shape := _shape(part, materials, f"link {name!r}", file)))
        for tag in ("collision", "visual")
    }
    return UrdfLink(name=name, collisions=shapes["collision"], visuals=shapes["visual"])


_SIZES: dict[ShapeKind, tuple[str, ...]] = {
    "cylinder": ("radius", "length"),
    "capsule": ("radius", "length"),
    "sphere": ("radius",),
    "box": (),
    "mesh": (),
}


def _shape(element: ElementTree.Element, materials: dict[str, Rgba], what: str, file: Path) -> Shape | None:
    """Return the shape of a visual or collision element; None for kinds that are not known."""
    geometry = element.find("geometry")
    material = element.find("material")
    for kind, keys in _SIZES.items():
        body = None if geometry is None else geometry.find(kind)
        if body is None:
            continue
        size = tuple(float(_numbers(body, key, None, what, file)[0]) for key in keys)
        if kind == "box":
            size = tuple(_numbers(body, "size", None, what, file, count=3).tolist())
        if kind == "mesh":
            size = tuple(_numbers(body, "scale", (1.0, 1.0, 1.0), what, file).tolist())
        elif any(edge < 0.0 for edge in size):
            raise _malformed(file, f"gives {what} a shape of negative size.")
        return Shape(
            kind=kind,
            T_link_shape=_origin(element, what, file),
            size=size,
            rgba=None if material is None else _colour(material, materials, file),
            mesh=body.get("filename", ""),
        )
    return None


def _colour(material: ElementTree.Element, materials: dict[str, Rgba], file: Path) -> Rgba | None:
    name = material.get("name", "")
    colour = material.find("color")
    if colour is None:
        return materials.get(name)
    r, g, b, a = _numbers(colour, "rgba", None, f"material {name!r}", file, count=4).tolist()
    return (r, g, b, a)


def _origin(element: ElementTree.Element, what: str, file: Path) -> Floats:
    origin = element.find("origin")
    zero = (0.0, 0.0, 0.0)
    xyz = _numbers(origin, "xyz", zero, what, file)
    return Transform.from_xyz_rpy(xyz, _numbers(origin, "rpy", zero, what, file)).matrix


def _numbers(
    element: ElementTree.Element | None,
    key: str,
    default: tuple[float, ...] | None,
    what: str,
    file: Path,
    count: int | None = None,
) -> Floats:
    """Return the finite numbers of an attribute; ``default`` where it is missing and may be."""
    wanted = count or len(default or (0.0,))
    text = None if element is None else element.get(key)
    if text is None:
        if default is None:
            raise _malformed(file, f"gives {what} no {key}.")
        return np.array(default)
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError:
        values = np.empty(0)
    if len(values) != wanted or not np.isfinite(values).all():
        raise _malformed(file, f'gives {what} {key}="{text}"; that must be {wanted} finite number(s).')
    return values


def _malformed(file: Path, cause: str) -> RobotError:
    return RobotError(f"{file} {cause}", "Mend the URDF, or export it again.", path=file)
