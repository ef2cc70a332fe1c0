"""``vision-ik calibrate tool``: touches of one point in, where the tip is on the flange out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from calibration.wizard import Answers, Command, Do, Import, Step, Wizard, WizardView
from calibration.wizard.tooling import read_touches
from vision_ik.cli import console
from vision_ik.cli.calibrate import ToolOptions
from vision_ik.cli.calibrate_by_hand import by_hand
from vision_ik.cli.calibrate_report import present_steps
from vision_ik.cli.calibrate_rig import existing_rig, new_rig, rig_and_robot
from vision_ik.cli.calibrate_steps import GOES_ON, stand
from vision_ik.cli.main import EXIT_FOUND, EXIT_OK
from vision_ik.errors import ConfigError, VisionIkError
from vision_ik.rig import Rig
from vision_ik.robots import load_robot


def calibrate_tool(options: ToolOptions) -> int:
    """Find the tool, print it, and write it into the rig.

    Raises:
        VisionIkError: The touches do not tell, or something cannot be read or written.
    """
    if options.tag is not None:
        from vision_ik.cli.calibrate_tool_tag import calibrate_by_tag

        return calibrate_by_tag(options)
    if options.undo or options.status:
        return stand(options.rig, "tool", undo=options.undo, as_json=options.json)
    new = existing_rig(options.rig) is None and not options.robot and options.from_ is None
    rig = new_rig(options, "") if new else rig_and_robot(options)[0]
    with Wizard(options.rig, goal="tool", template=rig) as wizard:
        had = wizard.state.of("touches")
        if had and (options.restart or options.from_ is not None or wizard.step is None):
            wizard.handle(Do(Command.REPEAT, Step.TOUCHES))
        elif had:
            console.say(f"Going on: {len(had)} touches were made before. --restart begins anew.")
        robot = {"robot": rig.robot, "base": rig.base, "tip": rig.tip}
        told: dict[str, Any] = {"robot": robot} if rig.robot else {}
        told["behind"] = _behind(options, rig)
        wizard.handle(Answers(told | {"touches": options.touches, "enough_touches": False, "source": options.arm}))
        try:
            if options.from_ is None:
                by_hand(wizard, options)
            else:
                _from_file(wizard, options.from_)
        except BaseException as error:
            if wizard.state.of("touches"):
                error.add_note(GOES_ON)
            raise
        return _end(wizard.view, options)


def tool_table(facts: Mapping[str, Any], *, what: str, of: str) -> object:
    """Return where the tool is, as a table.

    Args:
        facts: From ``tool_facts``.
        what: The tool's origin is.
        of: What it was computed from.
    """
    place = ", ".join(f"{1e3 * x:.2f}" for x in facts["translation"])
    turn = (f"{facts['sigma_deg']:.3f}", "deg") if facts["sigma_deg"] > 0.0 else ("", "")
    rows: list[Sequence[str | Text]] = [
        [f"{what} in flange, position", place, f"{facts['sigma_mm']:.2f}", "mm"],
        ["orientation", facts["orientation"], *turn],
        [f"held-out {of}", f"{facts['held_out_mm']:.2f}", "", "mm"],
        ["arm noise", f"{facts['arm_noise_mm']:.2f} / {facts['arm_noise_deg']:.3f}", "", "mm / deg"],
        [f"{of} used", f"{facts['used']} of {facts['count']}", "", ""],
    ]
    return console.table(["tool", "value", "± sigma", "unit"], rows, right={"value", "± sigma"})


def _behind(options: ToolOptions, rig: Rig) -> list[list[Any]]:
    """Return the poses in which each point behind the tip touched a fixed one."""
    if not options.behind:
        return []
    if not rig.robot:
        raise ConfigError("The arm is unknown.", "Name it with --robot, such as --robot panda.")
    robot = load_robot(rig.robot, rig.base, rig.tip)
    return [[touch["T_base_flange"] for touch in read_touches(path, robot).values()] for path in options.behind]


def _from_file(wizard: Wizard, path: Path) -> None:
    try:
        wizard.handle(Import(path=path, role="touches"))
    except VisionIkError:
        wizard.withdraw()
        raise
    view = wizard.handle(Do(Command.ENOUGH, Step.TOUCHES))
    while view.command is not None:
        view = wizard.handle(Do(view.command))


def _end(view: WizardView, options: ToolOptions) -> int:
    if not view.finished:
        present_steps(view, as_json=options.json)
        return EXIT_FOUND
    facts, file = view.results["tool"], view.results["save"]["file"]
    if options.json:
        console.write_json({"file": file, **facts})
    else:
        console.results().print(tool_table(facts, what="tip", of="touches"))
    for name, reason in view.rejected.items():
        console.warn(f"Touch {name} was left out: it {reason}.")
    for warning in view.warnings:
        console.warn(warning)
    console.say(f"Written to {file}.")
    return EXIT_OK
