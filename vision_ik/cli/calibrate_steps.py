"""``vision-ik calibrate hand-eye`` and ``all``: the wizard in a terminal, from files, or with an arm that moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibration import Observer, Sighting, ValidationReport
from calibration.files.observations import read_pose_pairs
from calibration.wizard import Answer, Answers, Checked, Command, Do, Goal, Import, Lens, Step, Wizard, drive
from calibration.wizard.lenses import lens_before
from sim import load_scene
from vision_ik.arms import open_arm
from vision_ik.cameras import load_any_intrinsics, open_camera
from vision_ik.cameras.override import OtherLens
from vision_ik.cli import console
from vision_ik.cli.calibrate import AllOptions, HandEyeOptions
from vision_ik.cli.calibrate_report import present, present_steps
from vision_ik.cli.calibrate_rig import (
    existing_rig,
    hint_at_tag_size,
    known_board,
    new_rig,
    require_board,
    rig_and_robot,
    with_tag_size,
)
from vision_ik.cli.main import EXIT_FOUND, EXIT_OK
from vision_ik.clock import MonotonicClock
from vision_ik.errors import ConfigError, VisionIkError
from vision_ik.ik import load_solver
from vision_ik.layouts import board_table
from vision_ik.rig import Mount, Rig
from vision_ik.transforms import Transform
from vision_ik.types import Board, Camera, CameraIntrinsics

if TYPE_CHECKING:
    from sim import Scene

_VIEWS = 15
_MOST_VIEWS = 40
"""Where an accuracy is asked for."""
GOES_ON = "Everything taken so far is kept: the same command goes on from there, and --restart begins anew."


def calibrate_steps(options: HandEyeOptions | AllOptions) -> int:
    """Calibrate, print the result, and write it into the rig; 1 where the check did not pass.

    Raises:
        VisionIkError: It cannot be done; what was taken is kept.
    """
    if options.undo or options.status:
        return stand(options.rig, _goal(options), undo=options.undo, as_json=options.json)
    if options.from_ is not None:
        return _from_files(options, options.from_)
    if not options.restart and _folder(options.rig).is_dir():
        with Wizard(options.rig, goal=_goal(options)) as wizard:
            if wizard.view.finished:
                return _done_before(wizard, options)
    if options.source.startswith("sim:"):
        return _simulated(options)
    return _real(options) if options.auto else _by_hand(options)


def _goal(options: HandEyeOptions | AllOptions) -> Goal:
    return "all" if isinstance(options, AllOptions) else "hand-eye"


def _folder(rig: Path) -> Path:
    return (rig.parent if rig.suffix == ".toml" else rig) / "calibration"


def _done_before(wizard: Wizard, options: HandEyeOptions | AllOptions) -> int:
    """Show what an earlier run came to: nothing is taken or written."""
    view = wizard.view
    present(view, as_json=options.json)
    console.say(
        f"{view.todo} Nothing was taken anew: --restart does that (the old views stay in {wizard.folder}), "
        "--undo takes back what was written."
    )
    return EXIT_FOUND if view.results.get("check", {}).get("passed") is False else EXIT_OK


def stand(rig: Path, goal: Goal, *, undo: bool, as_json: bool) -> int:
    """Say where the calibration stands, after taking back what was done last if that was asked for.

    Raises:
        ConfigError: There is none, or nothing to take back.
    """
    if not _folder(rig).is_dir():
        raise ConfigError(f"Nobody has calibrated {rig} yet.", "Give a source, or --from a folder of views.")
    with Wizard(rig, goal=goal) as wizard:
        if goal == "tool" and not (wizard.state.of("touches") or wizard.outcome(Step.TOOL)):
            raise ConfigError(
                f"Nobody has calibrated the tool of {rig} yet.",
                f"`vision-ik calibrate all --rig {rig} --status` tells of its camera; touch a point to find the tool.",
            )
        if undo:
            what = wizard.view.can_undo
            wizard.handle(Do(Command.UNDO))
            console.say(f"Taken back: {what}.")
        present_steps(wizard.view, as_json=as_json)
    return EXIT_OK


def _from_files(options: HandEyeOptions | AllOptions, path: Path) -> int:
    from vision_ik.cli.calibrate_files import board_of_files, calibrate_pairs

    rig, robot = rig_and_robot(options)
    pairs = read_pose_pairs(path, mount=options.mount or (rig.mount if rig.T_mount_camera is not None else None))
    if pairs is not None:
        return calibrate_pairs(options, rig, robot, pairs, path)
    board = board_of_files(options, rig, path)
    with _opened(options, rig, board, anew=True, mount=rig.mount) as wizard:
        wizard.handle(Answer("checks", 0))
        with console.Stages() as stages:
            with stages.stage("Read the views") as stage:
                try:
                    view = wizard.handle(Import(path=path))
                except VisionIkError:
                    wizard.withdraw()
                    raise
                stage.update(f"{len(wizard.state.of('views'))} views")
            for name in view.rejected:
                stages.say(f"The board was not found in {name}.")
            if options.mount is not None:
                wizard.handle(Answer("mount", options.mount))
            wizard.handle(Do(Command.ENOUGH, Step.VIEWS))
            _give_lens(wizard, options, rig)
            _compute(wizard, stages)
        code = _end(wizard, options)
    hint_at_tag_size(rig)
    return code


def _simulated(options: HandEyeOptions | AllOptions) -> int:
    if not options.auto:
        raise ConfigError("Nobody can move a simulated arm by hand.", "Add --auto.")
    # Depth is for the check alone.
    more = {"camera": {"depth": True}} if isinstance(options, AllOptions) else {}
    with load_scene(options.source.removeprefix("sim:") or "calibration_board", **more) as scene:
        if scene.board is None:
            raise ConfigError(f"The scene {scene.name} has no board.", "Choose sim:calibration_board.")
        if not any(placement.name == "board" for placement in scene.world.placements()):
            scene.mount_board()
        truth = scene.true_rig()
        rig = existing_rig(options.rig) or scene.blank_rig()
        rig = with_tag_size(replace(rig, robot=scene.robot.name, base=None, tip=None), options)
        with _opened(options, rig, scene.board, anew=options.restart, mount=truth.mount) as wizard:
            floor = -float(scene.file.T_world_base.translation[2])
            seen: deque[Sighting] = deque(maxlen=1)
            observe = Observer(
                scene.arm,
                _camera(wizard, options, scene),
                scene.board,
                scene.robot,
                clock=scene.world,
                speed=options.speed,
                on_sighting=seen.append,
            )
            _drive(wizard, observe, floor, seen, scene)
            code = _end(wizard, options, truth=truth.T_mount_camera, remarks=observe.remarks)
    hint_at_tag_size(rig)
    return code


def _camera(wizard: Wizard, options: HandEyeOptions | AllOptions, scene: Scene) -> Camera:
    """Return the scene's camera; one that hides its lens where that is to be found out, too."""
    known = scene.camera.intrinsics
    if options.intrinsics is not None:
        wizard.handle(Lens(intrinsics=load_any_intrinsics(options.intrinsics), origin=str(options.intrinsics)))
    elif isinstance(options, HandEyeOptions):
        wizard.handle(Lens(intrinsics=known, origin=options.source))
    else:
        wizard.handle(Answer("lens_from_views", True))
        return OtherLens(scene.camera, CameraIntrinsics.from_field_of_view(known.width, known.height))
    return scene.camera


def _real(options: HandEyeOptions | AllOptions) -> int:
    if not options.arm or not options.yes:
        raise ConfigError(
            "The arm will move by itself.",
            "Name it with --arm, clear its surroundings, keep a hand on its stop, and agree with --yes.",
        )
    rig, robot = rig_and_robot(options)
    board = require_board(options, rig)
    mount = options.mount or rig.mount
    with _opened(options, rig, board, anew=options.restart, mount=mount) as wizard, ExitStack() as stack:
        if isinstance(options, HandEyeOptions) and options.intrinsics is None and rig.intrinsics is None:
            raise ConfigError(
                "The lens is unknown.", "Run `vision-ik calibrate camera` or `all`, or give --intrinsics."
            )
        _give_lens(wizard, options, rig)
        clock = MonotonicClock()
        wishes = options.device.settings()
        camera = stack.enter_context(open_camera(options.source, intrinsics=wizard.lens, clock=clock, settings=wishes))
        arm = stack.enter_context(open_arm(options.arm, clock=clock))
        seen: deque[Sighting] = deque(maxlen=1)
        observe = Observer(arm, camera, board, robot, clock=clock, speed=options.speed, on_sighting=seen.append)
        _drive(wizard, observe, options.floor_mm / 1000.0, seen)
        code = _end(wizard, options, remarks=observe.remarks)
    hint_at_tag_size(rig)
    return code


def _by_hand(options: HandEyeOptions | AllOptions) -> int:
    from vision_ik.cli.calibrate_by_hand import by_hand

    new = existing_rig(options.rig) is None and not options.robot
    rig = with_tag_size(new_rig(options, ""), options) if new else rig_and_robot(options)[0]
    with _opened(options, rig, known_board(options, rig), anew=options.restart, mount=options.mount) as wizard:
        if options.intrinsics is not None or isinstance(options, HandEyeOptions):
            _give_lens(wizard, options, rig)
            wizard.handle(Answer("lens_from_views", False))
        by_hand(wizard, options)
        return _end(wizard, options)


@contextmanager
def _opened(
    options: HandEyeOptions | AllOptions, rig: Rig, board: Board | None, *, mount: Mount | None, anew: bool
) -> Generator[Wizard]:
    """Open the wizard of the rig, with what the options tell it.

    Args:
        options: What was asked for.
        rig: What is known apart from results.
        board: What is shown; None where nobody said.
        mount: Who carries the camera; None where it is asked.
        anew: Whether views of earlier runs are put aside; those of a run that came to its end always are.
    """
    with Wizard(options.rig, goal=_goal(options), template=rig) as wizard:
        if wizard.resumed and (anew or wizard.step is None):
            wizard.handle(Do(Command.RESTART))
        elif wizard.resumed:
            console.say(f"Going on: {wizard.resumed}. --restart begins anew.")
        told: dict[str, Any] = {"robot": {"robot": rig.robot, "base": rig.base, "tip": rig.tip}} if rig.robot else {}
        if board is not None:
            told |= {"board": board_table(board)}
        if board is not None and (options.measured_edge_mm is not None or options.auto or options.from_ is not None):
            told |= {"edge_mm": 0.0}  # the board comes as it was measured
        source = str(options.from_.resolve()) if options.from_ is not None else options.source
        told |= dict.fromkeys(("enough_camera", "enough_views", "enough_check"), False)
        told |= {} if mount is None else {"mount": mount}
        told |= {"camera": "" if options.from_ is not None else source, "source": source}
        accuracy = {"accuracy_mm": options.accuracy_mm, "accuracy_deg": options.accuracy_deg}
        most = _MOST_VIEWS if options.accuracy_mm is not None else _VIEWS
        told |= {"views": options.views or most, "speed": options.speed} | accuracy
        if isinstance(options, AllOptions):
            told |= {name: getattr(options, name) for name in ("model", "pictures", "checks")}
            told |= {"tolerance_mm": options.tolerance_mm, "tolerance_deg": options.tolerance_deg}
        else:
            told |= {"model": "pinhole"}
        wizard.handle(Answers(told))
        stale = wizard.staleness(Step.VIEWS)
        if stale:
            raise ConfigError(
                f"Views were taken before, but {stale} now.",
                f"Give --restart to take new ones (the old stay in {wizard.folder}), or say what was said before.",
            )
        try:
            yield wizard
        except BaseException as error:
            if wizard.state.views:
                error.add_note(GOES_ON)
            raise


def _give_lens(wizard: Wizard, options: HandEyeOptions | AllOptions, rig: Rig) -> None:
    """Tell the wizard the lens, or that it is computed from the views."""
    if options.intrinsics is not None:
        wizard.handle(Lens(intrinsics=load_any_intrinsics(options.intrinsics), origin=str(options.intrinsics)))
    elif isinstance(options, HandEyeOptions) and rig.intrinsics is not None:
        lens, facts = lens_before(rig)
        wizard.handle(Lens(intrinsics=lens or rig.intrinsics, origin=str(wizard.rig_file), facts=facts))
    else:
        wizard.handle(Answer("lens_from_views", True))


def _drive(
    wizard: Wizard, observe: Observer, floor: float, seen: Sequence[Sighting], scene: Scene | None = None
) -> None:
    """Let the arm take the views, compute everything from them, and check it.

    Args:
        wizard: That knows what is wanted.
        observe: Arm, camera and board.
        floor: Height of the table in the base frame [m].
        seen: Where the observer leaves its last sighting.
        scene: The simulation, where it is one.
    """
    from vision_ik.cli.calibrate_validate import further_checks

    console.say_if_compiling()
    solver = load_solver(observe.robot)
    with console.Stages() as stages:
        with stages.stage("Take views") as stage:

            def tell(doing: str, done: int, wanted: int) -> None:
                stage.update(f"{doing}, {done} of {wanted} views", completed=done, total=wanted)

            drive(wizard, observe, solver, floor=floor, on_progress=tell)
            stage.update(f"{len(wizard.state.of('views'))} views, {len(wizard.state.of('checks'))} for the check")
        _compute(wizard, stages, lambda: further_checks(wizard, observe, seen[-1] if seen else None, floor, scene))


def _compute(
    wizard: Wizard, stages: console.Stages, check: Callable[[], ValidationReport | None] | None = None
) -> None:
    """Do what needs no person, up to the end; ``check`` may look at arm and camera before the rig is written."""
    view = wizard.view
    while view.command is not None and view.step is not None:
        step = view.step
        if step is Step.SAVE and Step.CHECK in wizard.steps and check is not None:
            with stages.stage("Check it with arm and camera") as stage:
                report, check = check(), None
                if report is not None:
                    view = wizard.handle(Checked(report=report))
                    made = [each.name for each in report.checks if not each.skipped]
                    stage.update(", ".join(made) or "nothing that could be")
            continue
        with stages.stage(view.todo.removesuffix(".").partition(";")[0]) as stage:
            view = wizard.handle(Do(view.command))
            stage.update(next(each.note for each in view.steps if each.step is step))


def _end(
    wizard: Wizard, options: HandEyeOptions | AllOptions, *, truth: Transform | None = None, remarks: Sequence[str] = ()
) -> int:
    from vision_ik.cli.calibrate_files import write_page

    view = wizard.view
    for remark in remarks:
        console.warn(remark)
    if not view.finished:
        present_steps(view, as_json=options.json)
        return EXIT_FOUND
    present(view, as_json=options.json, truth=truth)
    write_page(wizard, options, remarks)
    check = view.results.get("check", {})
    return EXIT_FOUND if check.get("passed") is False else EXIT_OK
