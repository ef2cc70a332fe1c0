from __future__ import annotations

import json
from pathlib import Path

import pytest

from vision_ik.cli import benches
from vision_ik.cli.bench import available
from vision_ik.cli.main import main

GOOD = """
from vision_ik.cli.benches import Figure
TITLE = "Accuracy of one thing"
def run(*, level):
    return [
        Figure(name="median error", value=1.23456, unit="mm", target="at most 1.5", met=True, note=f"level={level}"),
        Figure(name="not measured", value=float("nan")),
    ]
"""
MISSED = """
from vision_ik.cli.benches import Figure
TITLE = "A target that is missed"
def run(*, level):
    return [Figure(name="solved", value=99.1, unit="%", target="at least 99.8", met=False)]
"""
SIDE_BY_SIDE = """
from vision_ik.cli.benches import Figure, Table
TITLE = "Two ways"
def run(*, level):
    columns = ("seeds", "first shot [%]")
    rows = (("random", 27.125), ("net", 99.9964), ("none", float("nan")))
    return [Table(name="panda", columns=columns, rows=rows, note="100 targets")]
"""
BROKEN = """
TITLE = "Broken"
def run(*, level):
    raise RuntimeError("no luck")
"""


@pytest.fixture
def three_benches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the benches by one that is good, one that misses its target and one that breaks."""
    folder = tmp_path / "benches"
    folder.mkdir()
    for name, text in (("zgood", GOOD), ("zmissed", MISSED), ("zbroken", BROKEN), ("_common", "")):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(benches, "__path__", [str(folder)])
    return folder


@pytest.mark.usefixtures("three_benches")
def test_benches_are_found_by_their_files_and_private_modules_are_not() -> None:
    assert available() == ["zbroken", "zgood", "zmissed"]


@pytest.mark.usefixtures("three_benches")
def test_the_figures_stand_beside_their_targets_and_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "zgood", "zmissed"]) == 0
    captured = capsys.readouterr()
    for text in ("Accuracy of one thing", "median error", "1.235", "at most 1.5", "yes", "99.1", "no", "Python"):
        assert text in captured.out
    assert "Accuracy of one thing" in captured.err


def test_a_table_stands_below_the_figures_and_in_the_json(
    three_benches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (three_benches / "ztable.py").write_text(SIDE_BY_SIDE, encoding="utf-8")
    assert main(["bench", "ztable"]) == 0
    printed = capsys.readouterr().out
    for text in ("Two ways", "panda", "first shot [%]", "27.12", "99.9964", "100 targets"):
        assert text in printed
    assert "nan" not in printed
    assert main(["bench", "ztable", "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["benches"][0]["tables"]
    assert table["columns"] == ["seeds", "first shot [%]"]
    assert table["rows"] == [["random", 27.125], ["net", 99.9964], ["none", None]]


def test_a_table_with_a_short_row_is_refused() -> None:
    with pytest.raises(ValueError, match="must have 2 cells"):
        benches.Table(name="t", columns=("a", "b"), rows=(("only one",),))


@pytest.mark.parametrize(("flags", "level"), [([], "normal"), (["--quick"], "quick"), (["--full"], "full")])
@pytest.mark.usefixtures("three_benches")
def test_a_bench_is_told_how_much_to_measure(flags: list[str], level: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "zgood", "--json", *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["level"] == level
    assert document["benches"][0]["figures"][0]["note"] == f"level={level}"


@pytest.mark.usefixtures("three_benches")
def test_quick_and_full_at_once_are_a_mistake() -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["bench", "zgood", "--quick", "--full"])
    assert leaving.value.code == 64


@pytest.mark.usefixtures("three_benches")
def test_json_on_stdout_is_nothing_but_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "zgood", "--json", "--quick"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["level"] == "quick"
    assert document["machine"]["numpy"]
    (bench,) = document["benches"]
    assert bench["name"] == "zgood"
    assert bench["error"] == ""
    assert bench["figures"][0]["value"] == 1.23456
    assert bench["figures"][0]["note"] == "level=quick"
    assert bench["figures"][1]["value"] is None


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 1)])
@pytest.mark.usefixtures("three_benches")
def test_a_missed_target_fails_only_when_strict(strict: list[str], code: int) -> None:
    assert main(["bench", "zmissed", *strict]) == code
    assert main(["bench", "zgood", *strict]) == 0


@pytest.mark.usefixtures("three_benches")
def test_a_broken_bench_does_not_cost_the_figures_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "figures.json"
    assert main(["bench", "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert "median error" in captured.out
    assert "RuntimeError: no luck" in captured.out
    assert "No figures from: zbroken." in captured.err
    errors = {bench["name"]: bench["error"] for bench in json.loads(out.read_text(encoding="utf-8"))["benches"]}
    assert errors == {"zbroken": "RuntimeError: no luck", "zgood": "", "zmissed": ""}


@pytest.mark.usefixtures("three_benches")
def test_a_broken_bench_alone_shows_its_traceback_with_debug(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "zbroken", "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("three_benches")
def test_an_unknown_bench_is_an_error_that_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "nope"]) == 2
    assert "zbroken, zgood, zmissed" in capsys.readouterr().err


def test_the_list_names_each_bench_and_its_title(three_benches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list"]) == 0
    listing = capsys.readouterr().out
    assert "zgood" in listing
    assert "Accuracy of one thing" in listing
    assert "median error" not in listing


def test_what_a_bench_tells_reaches_its_listener_and_nobody_else() -> None:
    heard: list[str] = []
    benches.tell("to nobody")
    token = benches.listener.set(heard.append)
    benches.tell("half way")
    benches.listener.reset(token)
    benches.tell("to nobody again")
    assert heard == ["half way"]


def test_a_bench_shows_where_it_is(
    three_benches: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.replace(
        "    return [", "    from vision_ik.cli.benches import tell\n    tell('half way')\n    return [", 1
    )
    (three_benches / "ztalks.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr("vision_ik.cli.console._PLAIN_INTERVAL", 0.0)
    assert main(["bench", "ztalks"]) == 0
    assert "Accuracy of one thing: half way" in capsys.readouterr().err
