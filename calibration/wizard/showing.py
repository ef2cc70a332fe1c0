"""The view of the state that front ends show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from calibration.wizard.events import Accuracy, Command, Question, Status, StepView, Verdict, Wants, WizardView
from calibration.wizard.guidance import COMMANDED, next_for_lens, next_pose, question_of
from calibration.wizard.steps import TITLES, Step
from calibration.wizard.tooling import next_touch
from calibration.wizard.work import spread_deg

if TYPE_CHECKING:
    from calibration.wizard.machine import Wizard

_LEFT_OUT = " was left out: "
_HIDDEN = ("provenance", "lens", "joint_covariance", "T_holder_board", "T_flange_tool")
"""Parts of results that are kept, and shown to nobody."""


def show(wizard: Wizard, verdict: Verdict | None, hint: str) -> WizardView:
    """Return what there is to see."""
    step, state, document = wizard.step, wizard.state, wizard.document
    stale = "" if step is None else wizard.staleness(step)
    asked = None if step is None else question_of(step, wizard.goal, state.answers)
    wants, command, todo, done, wanted = _next(wizard, step, stale, asked, hint)
    solved = wizard.outcome(Step.SOLVE) or {}
    lens = wizard.outcome(Step.CAMERA) or {}
    tool = wizard.outcome(Step.TOOL) or {}
    told = [facts for step, facts in ((Step.CAMERA, lens), (Step.TOOL, tool)) if step in wizard.steps]
    rejected = {
        name: reason
        for facts in ({"rejected": state.left_out}, *told)
        for name, reason in facts.get("rejected", {}).items()
    }
    rejected |= {
        view["name"]: view["reason"] + (f"; {view['repair']}" if view["repair"] else "")
        for view in solved.get("views", ())
        if not view["used"]
    }
    following = document.states[document.at + 1] if document.at + 1 < len(document.states) else None
    return WizardView(
        goal=wizard.goal,
        step=step,
        todo=todo,
        wants=wants,
        question=asked,
        command=command,
        steps=tuple(_step_view(wizard, each, step) for each in wizard.steps),
        done=done,
        wanted=wanted,
        accuracy=tuple(Accuracy(views=n, sigma_mm=mm, sigma_deg=deg) for n, mm, deg in wizard.predicted()),
        wanted_mm=wizard.setting("accuracy_mm"),
        verdict=verdict,
        rejected=rejected,
        warnings=_warnings(wizard, [*told, solved if Step.SOLVE in wizard.steps else {}]),
        results={
            str(each): {key: value for key, value in facts.items() if key not in _HIDDEN}
            for each in wizard.steps
            if (facts := wizard.outcome(each)) is not None
        },
        can_undo=state.did if document.at > 0 else "",
        can_redo="" if following is None else following.did,
        resumed=wizard.resumed,
    )


def _next(
    wizard: Wizard, step: Step | None, stale: str, asked: Question | None, hint: str
) -> tuple[Wants, Command | None, str, int, int]:
    """Return what is wanted, the command for it, the sentence, and the pictures done and wanted."""
    state = wizard.state
    if step is None:
        return "nothing", None, "Everything is done and written into the rig.", 0, 0
    if asked is not None:
        return "answer", None, asked.text, 0, 0
    if step is Step.VIEWS:
        done, wanted = len(state.of("views")), int(wizard.setting("views"))
        if stale:
            said = f"The views are old, for {stale}: repeat views, or keep views if they hold all the same."
            return "command", None, said, done, wanted
        spread = spread_deg([wizard.document.taken[name]["T_base_flange"] for name in state.of("views")])
        return "posed picture", None, next_pose(done, wizard.mount, spread, hint), done, wanted
    if step is Step.TOUCHES:
        done, wanted = len(state.of("touches")), int(wizard.setting("touches"))
        if stale:
            said = f"The touches are old, for {stale}: repeat touches, or keep touches if they hold all the same."
            return "command", None, said, done, wanted
        return "touch", None, next_touch(done, hint), done, wanted
    if step is Step.CAMERA and not wizard.lens_from_views:
        done, wanted = len(state.of("camera")), int(wizard.setting("pictures"))
        if done < wanted and not state.answers.get("enough_camera"):
            return "picture", None, next_for_lens(done, hint), done, wanted
    if step is Step.CHECK:
        done, wanted = len(state.of("checks")), int(wizard.setting("checks"))
        if done < wanted and not state.answers.get("enough_check"):
            said = "Take a view that the result was not computed from, from a place of its own."
            return "posed picture", None, said, done, wanted
    command, sentence = COMMANDED[step]
    return "command", command, f"{sentence[:-1]} anew, for {stale}." if stale else sentence, 0, 0


def _step_view(wizard: Wizard, each: Step, now: Step | None) -> StepView:
    stale = wizard.staleness(each)
    status: Status = "open"
    if stale:
        status = "stale"
    elif each is now:
        status = "now"
    elif wizard.is_done(each):
        status = "done"
    note = f"old: {stale}" if stale else _note(wizard, each)
    return StepView(step=each, title=TITLES[each], status=status, note=note)


def _note(wizard: Wizard, step: Step) -> str:
    """Return what came of a step, in a few words."""
    facts = wizard.outcome(step) or {}
    match step:
        case Step.SETUP:
            told = wizard.state.answers.get("robot") or {}
            return ", ".join(str(part) for part in (told.get("robot"), wizard.state.answers.get("mount")) if part)
        case Step.BOARD:
            board = wizard.board
            return "" if board is None else "{:.1f} x {:.1f} mm".format(*(1000.0 * x for x in board.size_m))
        case Step.VIEWS:
            return f"{len(wizard.state.of('views'))} views"
        case Step.CAMERA if facts and (refined := _refined(wizard)):
            return refined
        case Step.CAMERA if "given" in facts:
            return f"from {facts['given']}"
        case Step.CAMERA if facts:
            return f"focal {facts['focal_px'][0]:.1f} ± {facts['focal_sigma_px']:.1f} px"
        case Step.SOLVE if facts:
            return f"± {facts['sigma_mm']:.2f} mm, ± {facts['sigma_deg']:.3f} deg"
        case Step.CHECK if facts:
            verdict = {True: ", passed", False: ", failed", None: ""}[facts["passed"]]
            return f"{facts['error_mm']:.2f} mm, {facts['error_deg']:.3f} deg off on {facts['source']}{verdict}"
        case Step.TOUCHES:
            return f"{len(wizard.state.of('touches'))} touches"
        case Step.TOOL if facts:
            return f"± {facts['sigma_mm']:.2f} mm"
        case Step.SAVE if facts:
            return str(facts["file"])
        case _:
            return ""


def _refined(wizard: Wizard) -> str:
    """Return the lens that belongs to the result, where that is not the one it was computed with; else nothing."""
    solved = wizard.outcome(Step.SOLVE) or {}
    if Step.SOLVE not in wizard.steps or wizard.staleness(Step.SOLVE) or not solved.get("lens_refined"):
        return ""
    sigma = solved.get("focal_sigma_px")
    known = "" if sigma is None else f" ± {sigma:.2f}"
    return f"focal {solved['lens']['K'][0][0]:.2f}{known} px, refined together with the result"


def _warnings(wizard: Wizard, results: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    told = [warning for facts in results for warning in facts.get("warnings", ())] + list(
        wizard.setting("remarks") or ()
    )
    return without_repeats([*told, *wizard.evidence.remarks])


def without_repeats(warnings: Sequence[str]) -> tuple[str, ...]:
    """Return warnings once each, and of those that a view was left out the last: what comes later knows more of it."""
    last = {warning.split(_LEFT_OUT)[0]: warning for warning in warnings if _LEFT_OUT in warning}
    return tuple(dict.fromkeys(w for w in warnings if last.get(w.split(_LEFT_OUT)[0], w) == w))
