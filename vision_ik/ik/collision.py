"""Whether an arm touches itself: capsules from its URDF, and the pairs of them to keep apart.

Example::

    model = CollisionModel.from_robot(load_robot("panda"))
    model.collides(q)
    model.distance(q).links
    print(model.matrix())
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import lru_cache, partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision_ik.errors import RobotError
from vision_ik.ik import collision_kernels as kernels
from vision_ik.ik.collision_kernels import CollisionArrays
from vision_ik.ik.collision_matrix import Ints, Reason, disabled_links, reasons_of
from vision_ik.robots import Capsule, RobotModel
from vision_ik.robots.description import Shape, read_urdf
from vision_ik.robots.kernels import fk_frames
from vision_ik.types import Floats

if TYPE_CHECKING:
    from vision_ik.ik.collision_meshes import Bound

SAMPLES = 1000
"""Random postures in which a pair must touch each time to count as always touching."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SelfDistance:
    """Where an arm is nearest to itself."""

    distance: float
    """Between the surfaces of two capsules [m]; negative where they overlap, infinite if there is nothing to check."""
    links: tuple[str, str]
    """The links they belong to; empty names if there is nothing to check."""
    points: Floats
    """(2, 3) nearest, or deepest, point of each in the base frame [m]; NaN if there is nothing to check."""

    def __post_init__(self) -> None:
        self.points.setflags(write=False)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class CollisionModel:
    """The capsules of an arm, and the pairs of them that must not touch. Immutable.

    Capsules are sorted by the frame that carries them: 0 the base, i + 1 the one behind joint i.
    """

    robot: RobotModel
    links: tuple[str, ...]
    """Link of each of the M capsules."""
    frames: Ints
    """(M,) frame that carries each capsule."""
    p0: Floats
    """(M, 3) one end of its axis, in that frame [m]."""
    p1: Floats
    """(M, 3) the other end [m]."""
    radius: Floats
    """(M,) [m]"""
    stand_in: NDArray[np.bool_]
    """(M,) True for a stick in place of a mesh that could not be opened; it does not bound the link."""
    reasons: dict[tuple[int, int], Reason]
    """Why each pair of capsules is kept apart or left out."""
    pairs: Ints
    """(P, 2) the capsules that are kept apart, the pair that touches in most postures first."""
    margin: float
    """[m] Capsules nearer than this count as touching."""
    arrays: CollisionArrays = field(init=False)
    """The same for compiled code: see `vision_ik.ik.collision_kernels`."""

    def __post_init__(self) -> None:
        for name in ("frames", "p0", "p1", "radius", "stand_in", "pairs"):
            getattr(self, name).setflags(write=False)
        object.__setattr__(self, "arrays", _arrays(self.frames, self.p0, self.p1, self.radius, self.pairs, self.margin))

    def __reduce__(self) -> tuple[partial[CollisionModel], tuple[()]]:
        # Built anew, so that copies hold read-only arrays too: writable ones are another type to numba.
        return partial(CollisionModel, **{f.name: getattr(self, f.name) for f in fields(self) if f.init}), ()

    @classmethod
    def from_robot(
        cls,
        robot: RobotModel,
        *,
        margin: float = 0.0,
        disabled: Iterable[tuple[str, str]] | str | Path = (),
        samples: int = SAMPLES,
    ) -> CollisionModel:
        """Return the model of an arm: the same one each time.

        Args:
            robot: The arm. What it carries counts if it is among ``robot.capsules``. Links that have only meshes
                get capsules around them where Open3D can read the files.
            margin: Capsules nearer than this count as touching [m].
            disabled: Pairs of links to leave out, or the path of an SRDF with ``disable_collisions``.
            samples: Random postures that tell which pairs always touch.

        Raises:
            RobotError: ``disabled`` names an unknown link, or the SRDF cannot be read.
            ValueError: ``margin`` is not finite, or ``samples`` is negative.
        """
        if not np.isfinite(margin) or samples < 0:
            raise ValueError(f"margin ({margin}) must be finite and samples ({samples}) not negative.")
        frame_of = dict(zip(robot.links, robot.link_frames.tolist(), strict=True))
        capsules = sorted(_with_meshes(robot), key=lambda capsule: frame_of[capsule.link])
        links = tuple(capsule.link for capsule in capsules)
        frames = np.array([frame_of[link] for link in links], dtype=np.int64)
        p0, p1 = _ends(robot, capsules)
        radius = np.array([capsule.radius for capsule in capsules])
        every = np.array(list(combinations(range(len(links)), 2)), dtype=np.int64).reshape(-1, 2)
        reasons, hits = reasons_of(
            robot,
            _arrays(frames, p0, p1, radius, every, margin),
            links,
            disabled_links(disabled, robot.links),
            samples,
        )
        checked = np.array([reason == Reason.CHECKED for reason in reasons], dtype=bool)
        often_first = np.argsort(-hits[checked], kind="stable")
        return cls(
            robot=robot,
            links=links,
            frames=frames,
            p0=p0,
            p1=p1,
            radius=radius,
            stand_in=np.array([capsule.stand_in for capsule in capsules], dtype=bool),
            reasons={(i, j): reason for (i, j), reason in zip(every.tolist(), reasons, strict=True)},
            pairs=np.ascontiguousarray(every[checked][often_first]),
            margin=float(margin),
        )

    @classmethod
    def from_whole_robot(cls, robot: RobotModel) -> CollisionModel:
        """Return the model of an arm of whose links none is left out.

        Raises:
            RobotError: Some are: see `unbounded`.
        """
        model = cls.from_robot(robot)
        if model.approximate:
            raise RobotError(
                f"Self-collision of {robot.name} cannot be judged: no shape is known of {', '.join(model.unbounded)}.",
                "Give the URDF collision shapes or readable meshes there, or pass CollisionModel.from_robot(robot) as "
                "self_collision to accept what it leaves out.",
                robot=robot.name,
                links=model.unbounded,
            )
        return model

    def __repr__(self) -> str:
        return (
            f"CollisionModel(robot={self.robot.name!r}, capsules={len(self.links)}, pairs={len(self.pairs)}, "
            f"margin={self.margin:g}, unbounded={self.unbounded})"
        )

    @property
    def approximate(self) -> bool:
        """Whether the shape of some link is unknown (see `unbounded`); collisions may be missed."""
        return bool(self.unbounded)

    @property
    def unbounded(self) -> tuple[str, ...]:
        """Links of unknown shape.

        These are links with a stick in place of a mesh that was not found or read, and the link behind each joint of
        the chain where nothing that this joint carries has a shape. So bare frames do not count where something fixed
        to them has a shape (flanges, tool frames), nor does a bare base, or a link behind a joint that is held.
        """
        links = {link: None for link, stands_in in zip(self.links, self.stand_in, strict=True) if stands_in}
        carried = self.robot.link_frames.tolist()
        moving = np.flatnonzero(self.robot.lower < self.robot.upper) + 1
        bare = set(moving.tolist()).difference(self.frames.tolist())
        return (*links, *(self.robot.links[carried.index(frame)] for frame in sorted(bare)))

    def collides(self, q: ArrayLike) -> bool:
        """Tell whether the arm touches itself in the posture ``q`` (n,) [rad], [m].

        Raises:
            ValueError: ``q`` has another shape, or is not finite.
        """
        return bool(self.collides_batch(self._posture(q))[0])

    def collides_batch(self, q: ArrayLike) -> NDArray[np.bool_]:
        """Return (N,) whether the arm touches itself in each posture of ``q`` (N, n).

        Raises:
            ValueError: ``q`` has another shape, or is not finite.
        """
        postures = self._postures(q)
        out = np.empty(len(postures), dtype=np.bool_)
        kernels.collides_batch(self.arrays, self.robot.fixed, self.robot.prismatic, postures, out)
        return out

    def distance(self, q: ArrayLike) -> SelfDistance:
        """Return where the arm is nearest to itself in the posture ``q`` (n,); the margin is left out.

        Raises:
            ValueError: ``q`` has another shape, or is not finite.
        """
        posture = self._postures(self._posture(q))[0]
        points = np.full((2, 3), np.nan)
        Ts = np.empty((self.robot.n + 1, 4, 4))
        fk_frames(self.robot.fixed, self.robot.prismatic, posture, Ts)
        distance, pair = kernels.self_distance(self.arrays, Ts)
        if pair < 0:
            return SelfDistance(distance=distance, links=("", ""), points=points)
        kernels.pair_points(self.arrays, Ts, pair, points)
        first, second = self.pairs[pair].tolist()
        return SelfDistance(distance=distance, links=(self.links[first], self.links[second]), points=points)

    def distance_batch(self, q: ArrayLike) -> Floats:
        """Return (N,) smallest distance of the arm to itself in each posture of ``q`` (N, n) [m].

        Raises:
            ValueError: ``q`` has another shape, or is not finite.
        """
        postures = self._postures(q)
        out, pair = np.empty(len(postures)), np.empty(len(postures), dtype=np.int64)
        kernels.distance_batch(self.arrays, self.robot.fixed, self.robot.prismatic, postures, out, pair)
        return out

    def matrix(self) -> str:
        """Return the self-collision matrix as text: one line per pair of links and reason, with its capsule pairs."""
        counts: dict[tuple[str, str, Reason], int] = {}
        for (i, j), reason in self.reasons.items():
            key = (self.links[i], self.links[j], reason)
            counts[key] = counts.get(key, 0) + 1
        width = max((len(link) for link in self.links), default=0)
        return "\n".join(f"{a:{width}}  {b:{width}}  {reason:10}  {count}" for (a, b, reason), count in counts.items())

    def _posture(self, q: ArrayLike) -> Floats:
        posture = np.asarray(q, dtype=np.float64)
        if posture.shape != (self.robot.n,):
            raise ValueError(f"q must have shape ({self.robot.n},), not {posture.shape}.")
        return posture[None]

    def _postures(self, q: ArrayLike) -> Floats:
        postures = np.array(q, dtype=np.float64, order="C")
        if postures.size == 0:
            postures = postures.reshape(0, self.robot.n)
        if postures.ndim != 2 or postures.shape[1] != self.robot.n:
            raise ValueError(f"q must have shape (N, {self.robot.n}), not {postures.shape}.")
        if not np.isfinite(postures).all():
            raise ValueError("q must be finite.")
        return postures


def _with_meshes(robot: RobotModel) -> list[Capsule]:
    """Return the capsules of an arm, stand-ins replaced by capsules around the meshes they stand for."""
    stood_in = {capsule.link for capsule in robot.capsules if capsule.stand_in}
    if not stood_in:
        return list(robot.capsules)
    capsules = [capsule for capsule in robot.capsules if not capsule.stand_in]
    tree = read_urdf(robot.urdf_path)
    for name in sorted(stood_in):
        link = tree.links[name]
        shapes = [shape for shape in link.collisions if shape.mesh] or [shape for shape in link.visuals if shape.mesh]
        bounds = [_mesh_bounds(shape, robot.urdf_path) for shape in shapes]
        if all(bounds):
            capsules += [Capsule(link=name, p0=b.p0, p1=b.p1, radius=b.radius) for part in bounds for b in part]
        else:
            capsules += [capsule for capsule in robot.capsules if capsule.link == name and capsule.stand_in]
    return capsules


def _mesh_bounds(shape: Shape, urdf: Path) -> list[Bound]:
    """Return capsules around a mesh, in its link's frame; none where the file cannot be found or read."""
    from vision_ik.ik.collision_meshes import Bound, find_mesh  # brings scipy.optimize, which few arms need

    path = find_mesh(shape.mesh, urdf)
    if path is None:
        return []
    R, t = shape.T_link_shape[:3, :3], shape.T_link_shape[:3, 3]
    bounds = _file_bounds(path, path.stat().st_mtime_ns, shape.size)
    return [Bound(R @ bound.p0 + t, R @ bound.p1 + t, bound.radius) for bound in bounds]


@lru_cache(maxsize=256)
def _file_bounds(path: Path, modified: int, scale: tuple[float, ...]) -> tuple[Bound, ...]:
    """Return capsules around a mesh file in its own frame; ``modified`` [ns] tells one version from the next."""
    import open3d as o3d

    from vision_ik.ik.collision_meshes import bound_mesh

    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        mesh = o3d.io.read_triangle_mesh(path)
    vertices, triangles = np.asarray(mesh.vertices) * scale, np.asarray(mesh.triangles, dtype=np.int64)
    return tuple(bound_mesh(vertices, triangles)) if len(triangles) else ()


def _ends(robot: RobotModel, capsules: list[Capsule]) -> tuple[Floats, Floats]:
    """Return both ends (M, 3) of each capsule in the frame that carries it."""
    row = {link: k for k, link in enumerate(robot.links)}
    Ts_frame_link = robot.Ts_frame_link[[row[capsule.link] for capsule in capsules]].reshape(-1, 4, 4)
    R, t = Ts_frame_link[:, :3, :3], Ts_frame_link[:, :3, 3]
    ends = (np.array([getattr(capsule, end) for capsule in capsules]).reshape(-1, 3) for end in ("p0", "p1"))
    p0, p1 = ((R @ end[:, :, None])[:, :, 0] + t for end in ends)
    return p0, p1


def _arrays(frames: Ints, p0: Floats, p1: Floats, radius: Floats, pairs: Ints, margin: float) -> CollisionArrays:
    half = 0.5 * (p1 - p0)
    bound = np.linalg.norm(half, axis=1) + radius
    shapes = np.column_stack([0.5 * (p0 + p1), half, radius, bound])
    for array in (shapes, frames, pairs):  # writable ones are another type to numba
        array.setflags(write=False)
    return CollisionArrays(shapes=shapes, frames=frames, pairs=pairs, margin=margin)
