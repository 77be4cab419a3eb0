"""Texts of the command line become Options, or a clear UsageError."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from distill_data.cli.help import PlainCommand
from distill_data.cli.options import build_options, takes_options
from distill_data.commands.options import Options
from distill_data.errors import UsageError

SECRET = "sk-CANARY 7f3a9c51e2"


def parsed(*arguments: str) -> Options:
    """The options that a generating command gets for these arguments, through Typer."""
    got: list[Options] = []
    app = typer.Typer(rich_markup_mode=None, add_completion=False)

    @app.command(cls=PlainCommand)
    @takes_options
    def command(seeds: Annotated[str, typer.Argument()] = "", **options: Any) -> None:
        assert seeds == "s.jsonl"
        got.append(build_options(**options))

    result = CliRunner().invoke(app, ["s.jsonl", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return got[0]


def test_the_defaults_are_those_of_options() -> None:
    assert build_options() == Options() == parsed()


def test_a_command_can_do_without_some_of_them() -> None:
    def command(**options: Any) -> None: ...

    taken = inspect.signature(takes_options(command, without=("seed", "shuffle"))).parameters
    assert inspect.signature(build_options).parameters.keys() - taken.keys() == {"seed", "shuffle"}


def test_every_option_arrives() -> None:
    text = """
        --map a=b --map c=d --limit 3 --shuffle 0 -n 2 --set x=1 --set y=a=b --seed 7 --resample 0
        -t openai/a -t local/b --base-url http://h/v1 --api-key-env KEY --header X-A=A --header B=_b
        --timeout 1.5 --config d.toml --retry-failed --accept-drift --reuse r1 --reuse r2 --replay r3
        --run r4 --pilot 6 --dry-run --concurrency 8 --rpm 0.5 --tpm 1000 --max-cost 0.01
        --max-tokens-total 9 --max-failed 5%
    """
    options = parsed(*text.split())
    assert options == Options(
        teachers=("openai/a", "local/b"),
        base_url="http://h/v1",
        api_key_env="KEY",
        headers={"X-A": "A", "B": "_b"},
        samples=2,
        settings={"x": "1", "y": "a=b"},
        rename={"a": "b", "c": "d"},
        limit=3,
        shuffle=0,
        seed=7,
        concurrency=8,
        timeout=1.5,
        rpm=0.5,
        tpm=1000,
        max_cost=0.01,
        max_tokens_total=9,
        max_failed=0.05,
        resample=0,
        retry_failed=True,
        accept_drift=True,
        reuse=(Path("r1"), Path("r2")),
        replay=Path("r3"),
        run=Path("r4"),
        pilot=6,
        dry_run=True,
        config=Path("d.toml"),
    )


def test_the_test_above_changes_every_field() -> None:
    """A new option must get its place there: every field of Options is a parameter of build_options.

    Some are parameters of the commands that work in rounds, or on what students write, and of no other.
    """
    from dataclasses import fields
    from inspect import signature

    in_rounds = {"rows", "max_candidates", "answers", "answer_teacher"}
    of_students = {"students", "answers_column", "kind", "other_kinds", "canaries", "verifier", "allow_code"}
    names = {field.name for field in fields(Options)} - in_rounds - of_students - {"round", "previous"}
    assert names | {"api_key"} == set(signature(build_options).parameters)


@pytest.mark.parametrize(
    ("given_options", "says"),
    [
        ({"limit": 0}, "--limit 0"),
        ({"concurrency": -1}, "--concurrency -1"),
        ({"concurrency": 0}, "--concurrency 0"),
        ({"samples": 0}, "--samples 0"),
        ({"resample": -1}, "--resample -1"),
        ({"max_tokens_total": 0}, "--max-tokens-total 0"),
        ({"timeout": 0.0}, "--timeout 0"),
        ({"timeout": float("nan")}, "--timeout nan"),
        ({"rpm": -1.0}, "--rpm -1"),
        ({"tpm": float("inf")}, "--tpm inf"),
        ({"max_cost": 0.0}, "--max-cost 0"),
        ({"settings": ["temperature"]}, "--set temperature: this must be KEY=VALUE"),
        ({"settings": ["=1"]}, "--set =1"),
        ({"settings": ["a=1", "a=2"]}, "--set a is given twice"),
        ({"rename": ["a"]}, "--map a: this must be NEW=OLD"),
        ({"headers": ["A=B", "A=C"]}, "--header A is given twice"),
    ],
)
def test_what_cannot_be_is_refused(given_options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_options(**given_options)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "given_options",
    [{"api_key": SECRET}, {"api_key_env": SECRET}, {"headers": [f"Authorization={SECRET}"]}, {"headers": [SECRET]}],
)
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(given_options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="variable") as caught:
        build_options(**given_options)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "share"), [("1%", 0.01), ("0.05", 0.05), ("5 %", 0.05), ("0", 0.0), ("1", 1.0), ("100%", 1.0)]
)
def test_a_share_is_a_number_or_a_percentage(text: str, share: float) -> None:
    assert build_options(max_failed=text).max_failed == share


@given(st.one_of(st.text(), st.floats().map(str), st.floats().map(lambda number: f"{number}%")))
def test_any_other_text_is_no_share(text: str) -> None:
    try:
        assert 0 <= build_options(max_failed=text).max_failed <= 1
    except UsageError as error:
        assert text in str(error)


@given(st.dictionaries(st.text(min_size=1).filter(lambda key: "=" not in key), st.text()))
def test_pairs_are_cut_at_the_first_equals_sign(pairs: dict[str, str]) -> None:
    assert build_options(settings=[f"{key}={value}" for key, value in pairs.items()]).settings == pairs
