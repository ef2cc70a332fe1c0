"""The designs that are compared, and the one way to train any of them."""

from __future__ import annotations

from dataclasses import replace

from vision_ik.learning.designs.design import Design, Fitted, Task
from vision_ik.learning.designs.flows import FlowFit, FlowMatchingFit
from vision_ik.learning.designs.heads import HeadsFit

DRAWS = (1, 8, 32)
"""How many samples of a flow are tried."""


def fit(design: Design, task: Task) -> list[tuple[str, Fitted]]:
    """Train a design on an arm; return it with its name, a flow once for each number of draws.

    Raises:
        MissingDependencyError: It is a conditional flow and zuko is not installed.
        ValueError: It conditions on the elbow of an arm that has none.
    """
    if design.kind == "heads":
        return [(design.name, HeadsFit(design, task).fit())]
    flow = FlowFit(design, task).fit() if design.kind == "flow" else FlowMatchingFit(design, task).fit()
    return [(f"{design.name}, best of {draws}", flow.drawing(draws)) for draws in DRAWS]


REFERENCE = Design(name="reference: 64 x 2, 32 heads, quotient, settle, judge", layers=1)
"""What the others differ from."""

PARTS = (
    Design(name="plain regression, 1 head", layers=1, heads=1, quotient=False, settle=False, judge=False),
    Design(name="32 heads, winner takes all", layers=1, quotient=False, settle=False, judge=False),
    Design(name="32 heads, quotient", layers=1, settle=False, judge=False),
    Design(name="32 heads, quotient, settle", layers=1, judge=False),
    Design(name="32 heads, quotient, judge", layers=1, settle=False),
    Design(name="32 heads, settle, judge (no quotient)", layers=1, quotient=False),
    REFERENCE,
)
"""From nothing to the reference, each part alone or left out."""

IDEAS = (
    replace(REFERENCE, name="reference, judge blind to steps", grade=1.0),
    replace(REFERENCE, name="reference + FK loss on the winner", fk_weight=1.0),
    replace(REFERENCE, name="reference + loss through 1 step", unrolled=1),
    replace(REFERENCE, name="reference + loss through 2 steps", unrolled=2),
    replace(REFERENCE, name="reference, joints as unit vectors", unit_vectors=True),
    replace(REFERENCE, name="reference, sees q_start", condition="start"),
    replace(REFERENCE, name="8 heads at 8 elbow angles", condition="elbow", heads=8, samples=8),
    Design(name="neural spline flow", kind="flow", width=64, layers=3, learning_rate=2e-3),
    Design(name="flow matching", kind="flow matching", width=128, layers=2),
)
"""Other losses, inputs, outputs, and generative designs."""

SIZES = (
    replace(REFERENCE, name="64 x 1", layers=0),
    replace(REFERENCE, name="64 x 3", layers=2),
    replace(REFERENCE, name="32 x 2", width=32),
    replace(REFERENCE, name="48 x 2", width=48),
    replace(REFERENCE, name="96 x 2", width=96),
    replace(REFERENCE, name="64 x 2, 16 heads", heads=16),
    replace(REFERENCE, name="64 x 2, 64 heads", heads=64),
    replace(REFERENCE, name="64 x 2, judge without the pose", judge_sees_pose=False),
    replace(REFERENCE, name="64 x 2, judge of 96", judges=96),
    replace(REFERENCE, name="64 x 2, batches of 2048", batch=2048),
)
"""How much of what."""

RIVALS = (REFERENCE, *(design for design in SIZES if design.name in {"64 x 3", "48 x 2"}))
"""Worth a longer training."""
