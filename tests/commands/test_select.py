"""`select` and `stats` on real files, as functions and from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from distill_data.cli.app import make_app
from distill_data.commands.select import STRATEGIES, Choosing, select
from distill_data.commands.stats import stats
from distill_data.errors import SeedError, UsageError, YieldError
from tests.system.command import run

TOPICS = ("bread", "rain", "maps")


def rows(count: int = 30) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"Tell me about {TOPICS[number % 3]}, number {number}.",
            "completion": f"It is about {TOPICS[number % 3]} and the number {number}, 第{number}个。",
            "topic": TOPICS[number % 3],
            "quality": float(number % 5),
            "complexity": float(number % 7),
            "ifd": number / 20,
            "pass_rate": (number % 11) / 10,
            "embedding": [float(number % 3 == axis) + number / 1000 for axis in range(3)],
        }
        for number in range(count)
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return written(tmp_path / "in.jsonl", rows())


def written(path: Path, these: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in these), encoding="utf-8")
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


ALL: dict[str, Choosing] = {
    "top": Choosing(by="quality"),
    "deita": Choosing(),
    "ifd": Choosing(),
    "balance": Choosing(per="topic"),
    "band": Choosing(),
    "k-centre": Choosing(),
}


def test_every_strategy_is_tried_here() -> None:
    assert ALL.keys() == STRATEGIES.keys()


@pytest.mark.parametrize("how", ALL)
def test_rows_are_kept_as_they_are_in_their_order_and_none_is_lost(how: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    done = select(str(data), how=how, budget="20%", output=str(out), choosing=ALL[how])
    kept, given = lines(out), lines(data)
    assert 0 < len(kept) <= 6
    assert kept == [line for line in given if line in set(kept)]
    rejects = [json.loads(line) for line in lines(tmp_path / "out.rejects.jsonl")]
    assert [json.loads(line) for line in given if line not in set(kept)] == [each["row"] for each in rejects]
    assert all(each["reason"] and each["detail"] for each in rejects)
    assert done.result["kept"] + done.result["rejected"] == 30
    assert select(str(data), how=how, budget="20%", output=str(out), choosing=ALL[how]).changed is False


@pytest.mark.parametrize("how", ALL)
def test_the_order_of_the_file_decides_nothing(how: str, data: Path, tmp_path: Path) -> None:
    turned = written(tmp_path / "turned.jsonl", rows()[::-1])
    found = []
    for source in (data, turned):
        out = tmp_path / f"{source.stem}.out.jsonl"
        select(str(source), how=how, budget=7, output=str(out), choosing=ALL[how])
        found.append(sorted(lines(out)))
    assert found[0] == found[1]


def test_the_manifest_says_what_rows_were_compared_by(data: Path, tmp_path: Path) -> None:
    def settings(**choosing: Any) -> dict[str, Any]:
        done = select(str(data), how="deita", budget=5, output=str(tmp_path / "o.jsonl"), choosing=Choosing(**choosing))
        return dict(done.result["settings"])

    assert settings() == {
        "how": "deita", "budget": "5", "by": "complexity*quality", "on": "embedding", "alike": 0.9,
        "likeness": "embeddings",
    }  # fmt: skip
    assert settings(on="x")["likeness"] == "words"
    written(data, [{name: value for name, value in row.items() if name != "embedding"} for row in rows()])
    assert (settings()["on"], settings()["likeness"]) == ("x+y", "words")


def test_a_product_of_columns_and_a_column_with_a_star_in_its_name(tmp_path: Path) -> None:
    data = written(tmp_path / "a.jsonl", [{"a": 2, "b": 5, "a*b": 1}, {"a": 3, "b": 1, "a*b": 7}])
    out = tmp_path / "out.jsonl"
    select(str(data), how="top", budget=1, output=str(out), choosing=Choosing(by="a*b"))
    assert json.loads(lines(out)[0])["a"] == 3
    written(data, [{"a": 2, "b": 5}, {"a": 3, "b": 1}])
    select(str(data), how="top", budget=1, output=str(out), choosing=Choosing(by="a*b"))
    assert json.loads(lines(out)[0])["a"] == 2


@pytest.mark.parametrize(
    ("budget", "kept"), [("1", 1), ("0.1", 3), ("10%", 3), ("1%", 1), ("100%", 30), ("1.0", 30), (99, 30), (0.5, 15)]
)
def test_budgets(budget: str | float, kept: int, data: Path, tmp_path: Path) -> None:
    done = select(
        str(data), how="top", budget=budget, output=str(tmp_path / "o.jsonl"), choosing=Choosing(by="quality")
    )
    assert done.result["kept"] == kept


@pytest.mark.parametrize("budget", ["0", "-1", "0%", "101%", "1.5", "nan", "many", "", "5 rows", "1e999", "%"])
def test_what_is_no_budget(budget: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="number of rows from 1, or a share"):
        select(str(data), how="top", budget=budget, output=str(tmp_path / "o.jsonl"), choosing=Choosing(by="quality"))


@pytest.mark.parametrize(
    ("how", "choosing", "words"),
    [
        ("tpo", Choosing(), "Did you mean 'top'"),
        ("top", Choosing(), "--how top needs --by COLUMN"),
        ("balance", Choosing(), "--how balance needs --per COLUMN"),
        ("top", Choosing(by="quality", per="topic"), "--per is for --how balance"),
        ("ifd", Choosing(alike=0.5), "--alike is for --how deita"),
        ("deita", Choosing(min=0.5), "--min is for --how band"),
        ("k-centre", Choosing(by="quality"), "--by is for --how top and deita and ifd"),
        ("band", Choosing(min=0.9, max=0.1), "no two ends of a band"),
        ("band", Choosing(max=float("inf")), "no two ends of a band"),
        ("band", Choosing(min=float("nan")), "no two ends of a band"),
        ("deita", Choosing(alike=5), "a cosine above 0 and at most 1"),
        ("deita", Choosing(alike=float("nan")), "a cosine above 0 and at most 1"),
        ("top", Choosing(by="nope"), r"in.jsonl:1: there is no column 'nope'"),
        ("top", Choosing(by="topic"), r"in.jsonl:1: the column 'topic' holds no number, but 'bread'"),
        ("balance", Choosing(per="nope"), r"in.jsonl:1: there is no column 'nope'"),
        ("k-centre", Choosing(on="nope"), r"in.jsonl:1: there is no column 'nope'"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_written(
    how: str, choosing: Choosing, words: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        select(str(data), how=how, budget=5, output=str(tmp_path / "o.jsonl"), choosing=choosing)
    assert str(caught.value).count("in.jsonl") <= 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(
    ("how", "column", "recipe"),
    [
        ("ifd", "ifd", "ifd"),
        ("deita", "complexity", "complexity"),
        ("band", "pass_rate", "pass-rate"),
        ("k-centre", "embedding", "embedding"),
    ],
)
def test_a_row_without_a_score_is_named_with_how_to_add_it(
    how: str, column: str, recipe: str, data: Path, tmp_path: Path
) -> None:
    these = rows()
    del these[16][column]
    written(data, these)
    with pytest.raises(UsageError, match=rf"in.jsonl:17: there is no column '{column}'.*score IN -r {recipe} -o OUT"):
        select(str(data), how=how, budget=5, output=str(tmp_path / "o.jsonl"))


@pytest.mark.parametrize("value", [None, "0.5", True, [1]])
def test_a_score_that_is_no_number(value: Any, data: Path, tmp_path: Path) -> None:
    these = rows()
    these[3]["ifd"] = value
    with pytest.raises(UsageError, match=r"in.jsonl:4: the column 'ifd' holds no number"):
        select(str(written(data, these)), how="ifd", budget=5, output=str(tmp_path / "o.jsonl"))


@pytest.mark.parametrize("value", [[1.0], [1.0, 2.0, "3"], [], "text", [1e300, 0.0, 0.0]])
def test_embeddings_of_other_shapes(value: Any, data: Path, tmp_path: Path) -> None:
    these = rows()
    these[3]["embedding"] = value
    with pytest.raises(UsageError, match=r"in.jsonl:4: the column 'embedding' must hold 3 numbers"):
        select(str(written(data, these)), how="k-centre", budget=5, output=str(tmp_path / "o.jsonl"))


def test_a_band_that_holds_nothing(data: Path, tmp_path: Path) -> None:
    with pytest.raises(YieldError, match="of 30 rows none is left"):
        select(str(data), how="band", budget=5, output=str(tmp_path / "o.jsonl"), choosing=Choosing(min=7, max=8))


def test_from_the_command_line_and_through_pipes(data: Path, tmp_path: Path) -> None:
    balanced = ["select", str(data), "--how", "balance", "--per", "topic", "--by", "quality", "--budget", "6", "-o"]
    done = run(*balanced, tmp_path / "out.jsonl").ended(0)
    assert "30 rows = 6 kept + 24 rejected" in done.err
    assert not done.out
    topics = [json.loads(line)["topic"] for line in lines(tmp_path / "out.jsonl")]
    assert sorted(topics) == sorted(TOPICS * 2)
    assert run(*balanced, "-").ended(0).out.encode() == (tmp_path / "out.jsonl").read_bytes()
    centred = run("select", data, "--how", "k-centre", "--budget", "3", "-o", tmp_path / "c.jsonl").ended(0)
    assert "compared by the cosine of embeddings in embedding" in centred.err
    run("select", data, "--how", "top", "--budget", "3", "-o", tmp_path / "d.jsonl").complained(2, "--by COLUMN")


def test_the_help_shows_each_strategy_with_its_options() -> None:
    shown = (
        CliRunner().invoke(make_app(), ["select", "--help"]).stdout.partition("How, and")[2].partition("Examples")[0]
    )
    for name, strategy in STRATEGIES.items():
        line = next(line for line in shown.split("\n") if line.strip().startswith(name))
        assert all(f"--{option}" in line for option in strategy.options if option != "on")
        for default in strategy.options.values():
            assert default in (..., None) or f"[{default}]" in line


def test_stats_for_people_and_for_machines(data: Path, tmp_path: Path) -> None:
    shown = run("stats", data).ended(0).out
    for words in (
        "in.jsonl: 30 rows",
        "values of topic:",
        "33.3%  bread",
        "pass_rate",
        "Vendi score of 30",
        "self-BLEU",
    ):
        assert words in shown
    assert max(map(len, shown.split("\n"))) <= 100
    found = json.loads(run("stats", data, "--json").ended(0).out)
    assert found == json.loads(json.dumps(stats(str(data))))
    assert found["labels"]["topic"] == dict.fromkeys(sorted(TOPICS), 10)


def test_stats_of_rows_from_elsewhere_mixed_hostile_and_empty(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(
        '{"instruction": "Say \\u001b[31mred\\u202e", "output": "\\u001b]0;x\\u0007", "label": "\\u001b[2J"}\n'
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "你好"}]}\n'
        '{"\\u001b[1mcolumn": 1, "label": "\\u001b[2J"}\n{}\n'
    )
    shown = run("stats", mixed).ended(0).out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "4 rows" in shown
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "blank.jsonl").write_bytes(b"\n\n")
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    for name in ("empty", "blank", "latin", "absent"):
        run("stats", tmp_path / f"{name}.jsonl").complained(2, name)
    run("stats", mixed, "--on", "nope").complained(2, "no row has the column 'nope'")


def test_stats_of_other_texts(data: Path) -> None:
    assert list(stats(str(data), on=("topic", "x"))["texts"]) == ["topic", "x"]
    with pytest.raises(SeedError, match="names no column"):
        stats(str(data), on=("a++b",))


@pytest.mark.slow
def test_one_row_of_twenty_megabytes(tmp_path: Path) -> None:
    big = written(tmp_path / "big.jsonl", [{"prompt": "x", "completion": "word " * 4_000_000, "quality": 1.0}])
    assert stats(str(big))["texts"]["y"]["characters"]["max"] == 20_000_000
    done = select(str(big), how="top", budget=1, output=str(tmp_path / "o.jsonl"), choosing=Choosing(by="quality"))
    assert done.result["kept"] == 1
