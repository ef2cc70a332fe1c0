"""What a wizard knows: answers, which views are kept, which steps were done on what. Small, plain, immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

FORMAT = 1
_MOST_STATES = 200
"""Kept for undo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A step that was done, and on what."""

    inputs: Mapping[str, str]
    """Digest of each input, by its name."""
    outcome: str = ""
    """Its result, by its number among the outcomes; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One moment of a calibration; each event makes the next."""

    answers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    views: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Names of the pictures that count, by what they are for."""
    records: Mapping[str, Record] = field(default_factory=dict[str, Record])
    """By step."""
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why pictures do not count, by what people call them."""
    did: str = ""
    """What led here, for undo: "the answer to mount", "view 0003.png"."""

    def of(self, role: str) -> tuple[str, ...]:
        """Return the names of the pictures for something."""
        return self.views.get(role, ())

    def answering(self, name: str, value: object) -> State:
        """Return the state with an answer."""
        return replace(self, answers={**self.answers, name: value}, did=f"the answer to {name!r}")

    def viewing(self, role: str, names: tuple[str, ...], did: str) -> State:
        """Return the state with other views."""
        return replace(self, views={**self.views, role: names}, did=did)

    def recording(self, step: str, record: Record | None, did: str) -> State:
        """Return the state with a step done, or (None) no longer done."""
        records = {name: known for name, known in self.records.items() if name != step}
        return replace(self, records=records if record is None else {**records, step: record}, did=did)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Everything a wizard keeps in its file."""

    taken: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Facts of every picture that was ever taken, by its name: never changed, never dropped."""
    outcomes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Results that were ever computed, by number."""
    predicted: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    """Sigma [mm] and [deg] foretold by a set of views, by its digest."""
    states: tuple[State, ...] = (State(),)
    at: int = 0
    """Which of the states is the present one."""

    @property
    def now(self) -> State:
        """The present state."""
        return self.states[self.at]

    def then(self, state: State) -> Document:
        """Return the document with a state that follows; states that were undone before are dropped."""
        states = (*self.states[: self.at + 1], state)[-_MOST_STATES:]
        return replace(self, states=states, at=len(states) - 1)

    def with_taken(self, name: str, facts: Mapping[str, Any]) -> Document:
        """Return the document with one more picture."""
        return replace(self, taken={**self.taken, name: facts})

    def with_outcome(self, facts: Mapping[str, Any]) -> tuple[Document, str]:
        """Return the document with one more result, and its number."""
        number = str(1 + max((int(key) for key in self.outcomes), default=0))
        return replace(self, outcomes={**self.outcomes, number: facts}), number

    def as_json(self) -> dict[str, Any]:
        """Return what is written."""
        return {
            "format": FORMAT,
            "at": self.at,
            "states": [asdict(state) for state in self.states],
            "taken": dict(self.taken),
            "outcomes": dict(self.outcomes),
            "predicted": dict(self.predicted),
        }


def parse_document(data: Mapping[str, Any]) -> Document:
    """Return the document that was written.

    Raises:
        KeyError, TypeError, ValueError: It is malformed.
    """
    if data["format"] != FORMAT:
        raise ValueError(f"its format is {data['format']!r}, and this version reads {FORMAT}")
    states = tuple(_state(entry) for entry in cast("list[dict[str, Any]]", data["states"]))
    at = int(data["at"])
    if not 0 <= at < len(states):
        raise ValueError(f"it has {len(states)} states, and is at number {at}")
    predicted = cast("dict[str, tuple[float, float]]", data["predicted"])
    document = Document(
        taken=dict(data["taken"]),
        outcomes=dict(data["outcomes"]),
        predicted={key: (float(mm), float(deg)) for key, (mm, deg) in predicted.items()},
        states=states,
        at=at,
    )
    for state in states:
        named = [name for names in state.views.values() for name in names]
        lost = [name for name in named if name not in document.taken]
        lost += [r.outcome for r in state.records.values() if r.outcome and r.outcome not in document.outcomes]
        if lost:
            raise ValueError(f"it names {lost[0]}, which it does not hold")
    return document


def _state(entry: Mapping[str, Any]) -> State:
    records = cast("dict[str, dict[str, Any]]", entry["records"])
    views = cast("dict[str, list[str]]", entry["views"])
    return State(
        answers=dict(entry["answers"]),
        views={role: tuple(names) for role, names in views.items()},
        records={step: Record(inputs=dict(r["inputs"]), outcome=str(r["outcome"])) for step, r in records.items()},
        left_out=dict(entry["left_out"]),
        did=str(entry["did"]),
    )
