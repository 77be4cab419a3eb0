"""check-recipe finds what is wrong, all of it, and survives whatever the file says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from distill_data.commands.check_recipe import check_recipe, problems
from distill_data.errors import UsageError
from distill_data.parsing import patterns
from distill_data.recipes import load_recipe, recipe_path

Write = Callable[..., Path]


def test_a_whole_recipe_has_no_problems(write: Write) -> None:
    assert check_recipe(str(write())) == []


def test_one_problem_that_stops_loading(write: Write) -> None:
    path = write(("gold: colour", "gould: colour"))
    assert check_recipe(str(path)) == [f"{path}:7: gould: unknown key; did you mean gold?"]
    assert check_recipe("/nowhere.jinja") == ["/nowhere.jinja: cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            [("{{ task }}", "{{ taks }}")],
            [":19: taks is no column", "settings.task: nothing uses", ":19: 'taks' is undefined"],
        ),
        ([("{{ task }}", "")], [":4: settings.task: nothing uses this setting"]),
        ([("{{ size }}", "")], [":3: columns.size: no template uses this column"]),
        ([("{{ size }}", "{{ row|tojson }}")], []),
        ([("{{ size }}", "{{ row['size'] }}")], []),
        ([("gold: colour\n", ""), ("{{ shown.colour }}", "c")], [":3: columns.colour: no template uses this column"]),
        (
            [("demonstrations: {from: seeds, pick: fixed, k: 0, by: text}\n", "")],
            ["demonstrations is no column, no setting"],
        ),
        ([("in demonstrations", "in []")], ["no template shows them"]),
        ([("{{ shown.colour }}", "{{ shown.color }}")], [":16: there is no 'color'; did you mean colour"]),
        ([("parser: {choice: $colours}", "parser: chioce")], [":6: parser: There is no parser 'chioce'"]),
        ([("parser: {choice: $colours}", "parser: {choice: 5}")], [":6: parser: parser 'choice' needs a list"]),
        (
            [("parser: {choice: $colours}", "parser: text")],
            [
                ":11: record.completion.content: the parser gives no field answer",
                ":11: record.answer: the parser gives no field answer",
            ],
        ),
        ([("verifier: normalised", "verifier: normalized")], [":8: verifier: There is no verifier 'normalized'"]),
        ([("verifier: normalised", "checks: [word]")], [":8: checks: There is no check 'word'"]),
        (
            [("verifier: normalised", "checks: [{refusal: text}]")],
            ["check 'refusal' reads the field 'text', which is not there"],
        ),
        (
            [("verifier: normalised", "checks: [{words: {field: answer, min: 5}}]")],
            [":12: example.reply: the check words rejects it: too-short"],
        ),
        ([("reply: Red.", "reply: Green.")], [":12: example.reply: the parser choice refuses it: not-a-choice"]),
        (
            [("reply: Red.", "reply: Blue.")],
            [":12: example.reply: the verifier normalised finds its answer 'blue' wrong, gold is 'red'"],
        ),
        (
            [("{text: a tomato, colour: red}", "{colour: red}")],
            [":12: example.row: the recipe colour needs the column text"],
        ),
        ([("example: {row: {text: a tomato, colour: red}, reply: Red.}\n", "")], ["there is no example"]),
        ([("{{ text }}\n", "{{ text + 1 }}\n")], [":19: + takes numbers"]),
        (
            [("verifier: normalised", "strategy: vote"), ("limit: 8,", "limit: 8, agreement: 0.5,")],
            [],
        ),
        ([("limit: 8,", "limit: 8, keep: 2,")], [":4: settings.keep: nothing uses this setting"]),
        (
            [("{{ task }}", ""), ("reply: Red.", "reply: Green."), ("verifier: normalised", "checks: [refusal]")],
            ["settings.task: nothing uses", "not-a-choice"],
        ),
    ],
)
def test_problems(write: Write, changes: list[tuple[str, str]], expected: list[str]) -> None:
    path = write(*changes)
    found = problems(path)
    assert len(found) == len(expected), found
    for problem, part in zip(found, expected, strict=True):
        assert problem.startswith(str(path)) and part in problem


def test_blocks_are_all_rendered(write: Write) -> None:
    path = write(
        ("{% for shown", "{% block a %}{{ row.nowhere }}{% endblock %}{% block b %}{% for shown"),
        ("{{ text }}\n{% endmessage %}\n", "{{ text }}\n{% endmessage %}\n{% endblock %}"),
    )
    assert [problem.partition(": ")[2] for problem in problems(path)] == [
        "there is no 'nowhere'; known are colour, size, text"
    ]


def test_a_pattern_that_backtracks_without_end_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.1)
    path = write(
        ("verifier: normalised", 'verifier: {regex: "(r|r)*[^r]"}'),
        ("reply: Red.", "reply: " + "r" * 60),
        ("red: warm", "r" * 60 + ": warm"),
    )
    (problem,) = problems(path)
    assert "took longer than 0.1 s on this text" in problem


def test_a_row_that_is_null_is_named(write: Write) -> None:
    path = write(("{{ text }}\n", "{{ row.extra }}\n"), ("{text: a tomato,", "{text: a tomato, extra: null,"))
    (problem,) = problems(path)
    assert problem == f'{path}:19: this value is null; write |default("…") where it may be'


def test_nothing_in_the_current_directory_is_imported(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write()
    (tmp_path / "yaml.py").write_text("raise SystemExit('imported from the current directory')")
    monkeypatch.chdir(tmp_path)
    assert check_recipe(str(path)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("curate/tools", "parser: {choice: [met, not met]}, choices: [met, not met]", "parser: text", "parser choice"),
        ("curate/recommend", "candidates: list, next", "candidates: optional, next", "the column candidates"),
        ("expand/compose", "k: 2", "k: many", "--set k=many: must be a whole number"),
        ("expand/alpaca", "content: output}, answer: output", "content: value}", "no stage gives a field value"),
    ],
)
def test_what_a_growing_strategy_needs(tmp_path: Path, name: str, old: str, new: str, expected: str) -> None:
    command, _, recipe = name.partition("/")
    text = load_recipe(recipe, command).path.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / command / f"{recipe}.jinja"
    path.parent.mkdir()
    path.write_text(text.replace(old, new), encoding="utf-8", newline="")
    assert any(expected in problem for problem in problems(path)), problems(path)


def test_a_file_elsewhere_is_told_whose_recipe_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_bytes((recipe_path("paraphrase", "expand")).read_bytes())
    assert check_recipe(str(path), "expand") == []
    assert any("x is no column" in problem for problem in check_recipe(str(path)))
    with pytest.raises(UsageError, match="did you mean expand"):
        check_recipe(str(path), "expnd")
