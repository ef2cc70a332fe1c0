"""Shapes for the picture: link meshes, capsules, boxes. They take no part in the physics."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from vision_ik.robots import RobotModel
from vision_ik.types import Floats

Rgb: TypeAlias = tuple[float, float, float]

_ENOUGH = 4000
"""Triangles of one link that are kept of a file."""
_FRANKA = "franka_panda/meshes"
_MESHES: dict[str, dict[str, str]] = {
    "panda": {
        "panda_link0": f"{_FRANKA}/collision/link0.obj",
        **{f"panda_link{i}": f"{_FRANKA}/visual/link{i}.obj" for i in range(1, 7)},
        "panda_link7": f"{_FRANKA}/collision/link7.obj",
    },
    "iiwa14": {f"iiwa_link_{i}": f"kuka_iiwa/meshes/link_{i}.obj" for i in range(8)},
}
"""Meshes in pybullet_data that share the link frames of a catalogue arm, by its name and link."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Mesh:
    """Triangles with smooth normals and one colour each."""

    vertices: NDArray[np.float32]
    """(V, 3) [m]"""
    normals: NDArray[np.float32]
    """(3M, 3) unit normal at each corner of each triangle."""
    triangles: NDArray[np.uint32]
    """(M, 3)"""
    colours: NDArray[np.float32]
    """(M, 3) BGR reflectance, linear, 0..1."""


def robot_meshes(robot: RobotModel) -> dict[str, Mesh]:
    """Return what each link looks like, in its frame: the maker's mesh where there is one, else its capsules."""
    meshes: dict[str, Mesh] = {}
    files = _mesh_files(robot.name)
    for link in robot.links:
        if link in files:
            meshes[link] = load_mesh(files[link])
            continue
        parts = [capsule_mesh(c.p0, c.p1, c.radius, c.rgba[:3]) for c in robot.capsules if c.link == link]
        if parts:
            meshes[link] = join(parts)
    return meshes


def _mesh_files(robot_name: str) -> dict[str, Path]:
    spec = importlib.util.find_spec("pybullet_data")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent
    files = {link: folder / name for link, name in _MESHES.get(robot_name, {}).items()}
    return files if all(file.is_file() for file in files.values()) else {}


def load_mesh(path: Path) -> Mesh:
    """Read a mesh file with its colours (texture or material) through Open3D."""
    import open3d as o3d

    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        model = o3d.io.read_triangle_mesh(path, enable_post_processing=False)
    colours = _file_colours(model, len(model.triangles))
    middles = _middles(model)
    if len(model.triangles) > _ENOUGH:
        # Rays and shading touch little memory then: a third less time, and no difference to be seen.
        bare = o3d.geometry.TriangleMesh(model.vertices, model.triangles)  # without texture coordinates
        model = bare.merge_close_vertices(1e-5).simplify_quadric_decimation(_ENOUGH)
        _, nearest = KDTree(middles).query(_middles(model))
        colours = colours[nearest]
    vertices = np.asarray(model.vertices, dtype=np.float32)
    triangles = np.asarray(model.triangles, dtype=np.uint32)
    return Mesh(vertices=vertices, normals=_smooth_normals(vertices, triangles), triangles=triangles, colours=colours)


def _middles(model: Any) -> Floats:
    return np.asarray(model.vertices)[np.asarray(model.triangles)].mean(axis=1)


def _file_colours(model: Any, count: int) -> NDArray[np.float32]:
    """Sample the texture at the middle of each triangle; near-white plastic without one."""
    uvs = np.asarray(model.triangle_uvs, dtype=np.float64)
    textures = [np.asarray(t) for t in model.textures]
    materials = np.asarray(model.triangle_material_ids, dtype=np.int64)
    colours = np.full((count, 3), 0.82, dtype=np.float32)
    if len(uvs) != 3 * count or len(materials) != count:
        return colours
    middles = uvs.reshape(count, 3, 2).mean(axis=1) % 1.0
    for i, texture in enumerate(textures):
        chosen = materials == i
        if texture.ndim != 3 or not chosen.any():
            continue
        height, width = texture.shape[:2]
        rows = np.clip((middles[chosen, 1] * height).astype(np.int64), 0, height - 1)
        columns = np.clip((middles[chosen, 0] * width).astype(np.int64), 0, width - 1)
        colours[chosen] = _linear(texture[rows, columns, :3].astype(np.float32) / 255.0)
    return colours


def capsule_mesh(p0: ArrayLike, p1: ArrayLike, radius: float, rgb: Rgb, *, sides: int = 28) -> Mesh:
    """Return a capsule around the segment p0-p1 [m]; a sphere when both ends meet."""
    start, end = np.asarray(p0, dtype=np.float64), np.asarray(p1, dtype=np.float64)
    axis = end - start
    length = float(np.linalg.norm(axis))
    frame = _frame_along(axis / length if length > 1e-9 else np.array([0.0, 0.0, 1.0]))
    latitudes = np.linspace(-0.5 * np.pi, 0.5 * np.pi, sides // 2 + 1)
    latitudes = np.insert(latitudes, sides // 4, latitudes[sides // 4])  # the equator twice: one ring per end
    around = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    z, r = np.sin(latitudes), np.cos(latitudes)
    directions = np.stack(
        [np.outer(r, np.cos(around)), np.outer(r, np.sin(around)), np.repeat(z[:, None], sides, axis=1)], axis=-1
    )
    directions = directions @ frame.T
    upper = np.arange(len(latitudes)) > sides // 4
    vertices = radius * directions + np.where(upper[:, None, None], end, start)
    triangles = _grid_triangles(len(latitudes), sides)
    points = vertices.reshape(-1, 3).astype(np.float32)
    flat = directions.reshape(-1, 3).astype(np.float32)
    return _coloured(points, flat[triangles].reshape(-1, 3), triangles, rgb)


def box_mesh(size: ArrayLike, rgb: Rgb) -> Mesh:
    """Return a box of edge lengths ``size`` (3,) [m] around the origin."""
    half = 0.5 * np.asarray(size, dtype=np.float64)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], dtype=np.uint32)
    vertices = (signs * half).astype(np.float32)
    flat = np.cross(
        vertices[triangles[:, 1]] - vertices[triangles[:, 0]], vertices[triangles[:, 2]] - vertices[triangles[:, 0]]
    )
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return _coloured(vertices, np.repeat(flat, 3, axis=0), triangles, rgb)


def join(meshes: list[Mesh]) -> Mesh:
    """Return one mesh of several in the same frame."""
    offsets = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    return Mesh(
        vertices=np.concatenate([m.vertices for m in meshes]),
        normals=np.concatenate([m.normals for m in meshes]),
        triangles=np.concatenate([m.triangles + np.uint32(o) for m, o in zip(meshes, offsets, strict=True)]),
        colours=np.concatenate([m.colours for m in meshes]),
    )


def moved(mesh: Mesh, T: Floats) -> Mesh:
    """Return the mesh after the rigid transform ``T`` (4, 4)."""
    return Mesh(
        vertices=(mesh.vertices @ T[:3, :3].T + T[:3, 3]).astype(np.float32),
        normals=(mesh.normals @ T[:3, :3].T).astype(np.float32),
        triangles=mesh.triangles,
        colours=mesh.colours,
    )


def _smooth_normals(
    vertices: NDArray[np.float32], triangles: NDArray[np.uint32], crease_deg: float = 40.0
) -> NDArray[np.float32]:
    """Return corner normals (3M, 3): the mean over faces that meet at a point, except across creases."""
    corners = vertices[triangles].astype(np.float64)
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(faces, axis=1, keepdims=True)
    flat = faces / np.maximum(area, 1e-20)
    # Files split vertices along texture seams: points that coincide to 10 um are one.
    _, point = np.unique(np.round(vertices * 1e5).astype(np.int64), axis=0, return_inverse=True)
    at = point.reshape(-1)[triangles].reshape(-1)
    total = np.zeros((int(at.max()) + 1, 3))
    np.add.at(total, at, np.repeat(faces, 3, axis=0))
    smooth = total[at] / np.maximum(np.linalg.norm(total[at], axis=1, keepdims=True), 1e-20)
    own = np.repeat(flat, 3, axis=0)
    keep = (smooth * own).sum(axis=1, keepdims=True) > np.cos(np.deg2rad(crease_deg))
    return np.where(keep, smooth, own).astype(np.float32)


def _coloured(
    vertices: NDArray[np.float32], normals: NDArray[np.float32], triangles: NDArray[np.uint32], rgb: Rgb
) -> Mesh:
    bgr = _linear(np.array(rgb[::-1], dtype=np.float32))
    return Mesh(vertices=vertices, normals=normals, triangles=triangles, colours=np.tile(bgr, (len(triangles), 1)))


def _grid_triangles(rings: int, sides: int) -> NDArray[np.uint32]:
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    a, b = i * sides + j, i * sides + (j + 1) % sides
    c, d = a + sides, b + sides
    lower = np.stack([a, b, d], axis=-1).reshape(-1, 3)
    upper = np.stack([a, d, c], axis=-1).reshape(-1, 3)
    return np.concatenate([lower, upper]).astype(np.uint32)


def _frame_along(z: Floats) -> Floats:
    """Return a rotation whose third column is the unit vector ``z``."""
    across = np.eye(3)[int(np.argmin(np.abs(z)))]
    x = np.cross(across, z)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


def _linear(colour: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn display values into reflectance (display gamma 2)."""
    return (colour * colour).astype(np.float32)
