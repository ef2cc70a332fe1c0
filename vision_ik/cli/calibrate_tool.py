"""``vision-ik calibrate tool``: touches of one point in, where the tip is on the flange out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from calibration.wizard import Answers, Command, Do, Import, Step, Wizard, WizardView
from vision_ik.cli import console
from vision_ik.cli.calibrate import ToolOptions
from vision_ik.cli.calibrate_by_hand import by_hand
from vision_ik.cli.calibrate_report import present_steps
from vision_ik.cli.calibrate_rig import existing_rig, new_rig, rig_and_robot
from vision_ik.cli.calibrate_steps import GOES_ON, stand
from vision_ik.cli.main import EXIT_FOUND, EXIT_OK
from vision_ik.errors import VisionIkError


def calibrate_tool(options: ToolOptions) -> int:
    """Find the tool, print it, and write it into the rig.

    Raises:
        VisionIkError: The touches do not tell, or something cannot be read or written.
    """
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
        told = {"robot": robot} if rig.robot else {}
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
        place = ", ".join(f"{1e3 * x:.2f}" for x in facts["translation"])
        rows: list[Sequence[str | Text]] = [
            ["tip in flange, position", place, f"{facts['sigma_mm']:.2f}", "mm"],
            ["orientation", facts["orientation"], "", ""],
            ["held-out touches", f"{facts['held_out_mm']:.2f}", "", "mm"],
            ["arm noise", f"{facts['arm_noise_mm']:.2f} / {facts['arm_noise_deg']:.3f}", "", "mm / deg"],
            ["touches used", f"{facts['used']} of {facts['count']}", "", ""],
        ]
        console.results().print(console.table(["tool", "value", "± sigma", "unit"], rows, right={"value", "± sigma"}))
    for name, reason in view.rejected.items():
        console.warn(f"Touch {name} was left out: it {reason}.")
    for warning in view.warnings:
        console.warn(warning)
    console.say(f"Written to {file}.")
    return EXIT_OK
