"""From a URDF tree to the serial chain between two of its links."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vision_ik.errors import RobotError
from vision_ik.robots.capsules import link_capsules
from vision_ik.robots.description import UrdfJoint, UrdfTree
from vision_ik.robots.model import RobotModel
from vision_ik.transforms import Transform, exp_rotation
from vision_ik.types import Floats

DEFAULT_VELOCITY = 1.0
"""[rad/s] For a continuous joint whose URDF has no <limit> (the format lets it go without)."""
DEFAULT_ACCELERATION = 2.5
"""[rad/s^2], [m/s^2] URDF has no such limit. An eighth to a quarter of what makers of light arms publish
(Franka FR3 10, UFACTORY xArm 20 rad/s^2)."""
DEFAULT_JERK = 50.0
"""[rad/s^3], [m/s^3] Reaches the default acceleration in 0.05 s."""

_MOVING = ("revolute", "continuous", "prismatic")
_LINKS = "base= and tip= (--base and --tip on the command line)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The two links a chain runs between."""

    base: str
    tip: str


def build_robot(tree: UrdfTree, base: str | None = None, tip: str | None = None) -> RobotModel:
    """Return the arm between two links of a URDF.

    A joint whose two limits are equal stays a joint of the chain, and keeps that value.

    Args:
        tree: The parsed file.
        base: Link to start from; by default the one that the file names in ``<vision_ik>``, or the root.
        tip: Link to end at; by default the one that the file names, or the only leaf below the base.

    Raises:
        RobotError: There is no chain between the links, or one of its joints cannot be used.
    """
    extras = tree.extras
    if extras is not None and base in (None, extras.base):
        base, tip = extras.base, tip or extras.tip
    ends = _choose_ends(tree, base, tip)
    joints = _path(tree, ends)
    moving = [joint for joint in joints if joint.kind != "fixed"]
    if all(joint.kind != "continuous" and joint.lower is not None and joint.lower == joint.upper for joint in moving):
        raise RobotError(
            f"Nothing moves between {ends.base!r} and {ends.tip!r} in {tree.path}.",
            f"Choose {_LINKS} so that joints lie between them; {_moving_words(tree)}",
            path=tree.path,
            base=ends.base,
            tip=ends.tip,
        )
    for joint in moving:
        _check_joint(joint, tree)
    links, frames, Ts_frame_link, fixed = _carry_links(tree, ends, moving)
    velocity = [DEFAULT_VELOCITY if joint.velocity is None else joint.velocity for joint in moving]
    lower = np.array(
        [-np.inf if joint.lower is None or joint.kind == "continuous" else joint.lower for joint in moving]
    )
    upper = np.array([np.inf if joint.upper is None or joint.kind == "continuous" else joint.upper for joint in moving])
    robot = RobotModel(
        name=tree.name,
        joint_names=tuple(joint.name for joint in moving),
        base=ends.base,
        tip=ends.tip,
        fixed=fixed,
        prismatic=np.array([joint.kind == "prismatic" for joint in moving]),
        lower=lower,
        upper=upper,
        velocity=np.array(velocity),
        acceleration=np.full(len(moving), DEFAULT_ACCELERATION),
        jerk=np.full(len(moving), DEFAULT_JERK),
        home=_middle(lower, upper),
        links=links,
        link_frames=np.array(frames),
        Ts_frame_link=Ts_frame_link,
        capsules=tuple(capsule for link in links for capsule in link_capsules(tree, link)),
        urdf_path=tree.path.resolve(),
    )
    if extras is None or ends != Ends(base=extras.base, tip=extras.tip):
        return robot
    try:
        return replace(robot, home=extras.home, acceleration=extras.acceleration, jerk=extras.jerk)
    except ValueError as error:
        raise RobotError(
            f"<vision_ik> in {tree.path} does not fit the arm: {str(error).rstrip('.')}.",
            "Mend its values, one per joint, or remove the element.",
            path=tree.path,
        ) from error


def _choose_ends(tree: UrdfTree, base: str | None, tip: str | None) -> Ends:
    for link in (base, tip):
        if link is not None and link not in tree.links:
            raise RobotError(
                f"{tree.path} has no link {link!r}.",
                f"Its links are: {', '.join(tree.links)}.",
                path=tree.path,
                link=link,
            )
    start = tree.root if base is None else base
    if tip is not None:
        return Ends(base=start, tip=tip)
    below = [start]
    for link in below:
        below += [joint.child for joint in tree.children[link]]
    leaves = [link for link in below if not tree.children[link]]
    if len(leaves) > 1:
        raise RobotError(
            f"{tree.path} branches below {start!r}: it could end at {', '.join(leaves)}.",
            "Say which with tip= (--tip on the command line).",
            path=tree.path,
            leaves=tuple(leaves),
        )
    return Ends(base=start, tip=leaves[0])


def _path(tree: UrdfTree, ends: Ends) -> list[UrdfJoint]:
    """Return the joints from base to tip."""
    joints: list[UrdfJoint] = []
    link = ends.tip
    while link != ends.base:
        joint = tree.joints.get(link)
        if joint is None:
            raise RobotError(
                f"No chain leads from {ends.base!r} down to {ends.tip!r} in {tree.path}.",
                f"Choose base and tip on one branch; the links are: {', '.join(tree.links)}.",
                path=tree.path,
                base=ends.base,
                tip=ends.tip,
            )
        joints.append(joint)
        link = joint.parent
    return joints[::-1]


def _check_joint(joint: UrdfJoint, tree: UrdfTree) -> None:
    """Refuse a joint of the chain that cannot be driven on its own between known limits."""
    cause, remedy = "", "Add a complete <limit lower= upper= velocity=> to the joint."
    if joint.kind not in _MOVING:
        cause = f"is {joint.kind}, but only revolute, continuous, prismatic and fixed joints can be solved for."
        remedy = f"Choose {_LINKS} so that the chain leaves it out."
    elif joint.mimic:
        cause = f"mimics {joint.mimic!r}, but every joint of the chain must move on its own."
        remedy = f"Choose {_LINKS} so that the chain leaves it out, or drop <mimic>."
    elif joint.kind != "continuous" and (joint.lower is None or joint.upper is None):
        cause = "has no position limits."
    elif joint.kind != "continuous" and (joint.lower or 0.0) > (joint.upper or 0.0):
        cause = f"has its lower limit {joint.lower:g} above the upper limit {joint.upper:g}."
        remedy = "Mend the limits."
    elif joint.kind != "continuous" and joint.velocity is None:
        cause = "has no velocity limit."
    elif joint.velocity is not None and joint.velocity <= 0.0:
        cause = f"has a velocity limit of {joint.velocity:g}, so it could never move."
    if cause:
        raise RobotError(f"Joint {joint.name!r} of {tree.path} {cause}", remedy, path=tree.path, joint=joint.name)


def _moving_words(tree: UrdfTree) -> str:
    """Return where something moves, as the end of a remedy."""
    moving = [f"{j.name} ({j.parent} to {j.child})" for j in tree.joints.values() if j.kind in _MOVING]
    return f"the moving joints are: {', '.join(moving)}." if moving else "none of its joints moves at all."


def _carry_links(
    tree: UrdfTree, ends: Ends, moving: list[UrdfJoint]
) -> tuple[tuple[str, ...], list[int], Floats, Floats]:
    """Walk the tree below the base and express each link in the frame that carries it.

    Returns:
        Link names, frame of each, pose of each in its frame, and ``fixed`` of the chain.
    """
    number = {joint.name: i for i, joint in enumerate(moving)}
    fixed = np.empty((len(moving) + 1, 4, 4))
    carried = {ends.base: (0, np.eye(4))}
    queue = [ends.base]
    for link in queue:
        frame, T_frame_link = carried[link]
        for joint in tree.children[link]:
            T_frame_joint = T_frame_link @ joint.T_parent_joint
            i = number.get(joint.name)
            if i is None:
                carried[joint.child] = (frame, T_frame_joint @ _held(joint))
            else:
                T_joint_turned = turn_to_z(joint.axis)
                fixed[i] = T_frame_joint @ T_joint_turned
                carried[joint.child] = (i + 1, T_joint_turned.T)
            queue.append(joint.child)
    fixed[-1] = carried[ends.tip][1]
    return tuple(carried), [frame for frame, _ in carried.values()], np.stack([T for _, T in carried.values()]), fixed


def turn_to_z(axis: Floats) -> Floats:
    """Return the (4, 4) rotation whose z column is ``axis``: the shortest one, exact along a coordinate axis."""
    T = np.eye(4)
    x, y, z = axis
    # Near -z the shortest rotation is ill-conditioned; half a turn about x goes before it there.
    turned = z < -0.999
    if turned:
        y, z = -y, -z
    # Rodrigues' formula for the rotation from z to the axis, with cos = z and sin * u = (-y, x, 0).
    k = 1.0 / (1.0 + z)
    T[:3, :3] = [[1.0 - k * x * x, -k * x * y, x], [-k * x * y, 1.0 - k * y * y, y], [-x, -y, z]]
    if turned:
        T[1:3] *= -1.0
    return T


def _held(joint: UrdfJoint) -> Floats:
    """Return the (4, 4) motion of a joint off the chain, held at zero or its limit nearest to it."""
    T = np.eye(4)
    if joint.kind not in ("revolute", "prismatic"):
        return T
    low = -np.inf if joint.lower is None else joint.lower
    high = np.inf if joint.upper is None else joint.upper
    q = min(max(0.0, low), high)
    if joint.kind == "prismatic":
        return Transform.from_translation(q * joint.axis).matrix
    return Transform.from_parts(exp_rotation(q * joint.axis), np.zeros(3)).matrix


def _middle(lower: Floats, upper: Floats) -> Floats:
    """Return the middle of each range, at most half a turn from zero where the limits allow it."""
    finite = np.isfinite(lower) & np.isfinite(upper)
    middle = np.where(finite, 0.5 * (np.where(finite, lower, 0.0) + np.where(finite, upper, 0.0)), 0.0)
    return np.clip(np.clip(middle, -np.pi, np.pi), lower, upper)
