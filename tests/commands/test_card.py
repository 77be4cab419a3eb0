"""Cards: their YAML and Markdown by real parsers, what they say, and that no text of a row or manifest breaks them."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from distill_data.commands.card import card, look_at
from distill_data.errors import DamageError, DistillError, UsageError
from distill_data.recipes.shipped import commands
from distill_data.reporting.card import WRITERS, Look, Wishes, write_card
from tests.cli.command import paragraph, run
from tests.fixtures import FIXTURES

PARSER = MarkdownIt("commonmark", {"html": True})


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The committed run over `@sentiment`, as a run leaves it."""
    for name in ("out.jsonl", "out.rejects.jsonl"):
        (tmp_path / name).write_bytes((FIXTURES / "sentiment" / name).read_bytes())
    result = orjson.loads((FIXTURES / "sentiment" / "out.result.json").read_bytes())
    (tmp_path / "out.manifest.json").write_bytes(orjson.dumps({"result": result, "history": {}}))
    return tmp_path / "out.jsonl"


def parts(text: str) -> tuple[dict[str, Any], list[Any]]:
    """The YAML before a card as a value, and the card's tokens."""
    before, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert text.startswith("---\n")
    return dict(yaml.safe_load(before)), PARSER.parse(body)


def headings(tokens: list[Any]) -> list[str]:
    return [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]


def test_a_card_says_what_the_manifest_and_the_rows_say(dataset: Path) -> None:
    text = card(str(dataset), license="cc-by-4.0", title="Moods of *notes*").text
    front, tokens = parts(text)
    assert front == {
        "pretty_name": "Moods of *notes*",
        "license": "cc-by-4.0",
        "language": ["en", "zh"],
        "size_categories": ["n<1K"],
        "task_categories": ["text-classification", "text-generation"],
        "tags": ["synthetic", "distillation", "distill-data", "annotate"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "out.jsonl"}]}],
    }
    assert headings(tokens)[:3] == [r"Moods of \*notes\*", "How it was made", "1. `label`"]
    for said in (
        "[arXiv:2303.16854](https://arxiv.org/abs/2303.16854)",
        "- teacher: `local/smollm2`",
        "- 24 items = 24 kept + 0 rejected + 0 failed",
        "- equal to the seeds' own answer: 21 of 24",
        "`smollm2` (24 rows)",
        "- `prompt`: list of chat messages",
        "- Licence of the seeds: CC0 1.0; they are `@sentiment`, which comes with distill-data.",
        "- Outputs of `local/smollm2` are subject to its provider's terms.",
        "- Licence of the dataset: `cc-by-4.0`.",
        hashlib.sha256((dataset.parent / "out.manifest.json").read_bytes()).hexdigest(),
        'load_dataset("json", data_files="out.jsonl", split="train")',
    ):
        assert said in text
    example = next(token for token in tokens if token.type == "fence" and '"b58feb415b78d5f9"' in token.content)
    assert orjson.loads(example.content) == orjson.loads(dataset.read_bytes().split(b"\n")[0])


def test_its_own_check_of_the_files_tells_whole_from_changed(dataset: Path) -> None:
    _, tokens = parts(card(str(dataset)).text)
    script = next(token.content for token in tokens if token.type == "fence" and token.info == "sh")

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", script], cwd=dataset.parent, capture_output=True, text=True, check=False)

    assert (check().returncode, check().stdout) == (0, "out.jsonl: OK\n")
    dataset.write_bytes(dataset.read_bytes().replace(b"positive", b"Positive", 1))
    assert check().returncode == 1


def test_every_step_of_the_lineage_stands_in_it(dataset: Path) -> None:
    out, again = dataset.with_name("short.jsonl"), dataset.with_name("b.jsonl")
    assert run("filter", dataset, "-c", "language@x:en", "-o", out, "-q").returncode == 0
    assert run("filter", out, "-c", "length@x:1,200", "-o", again, "-q").returncode == 0
    front, tokens = parts(card(str(again)).text)
    assert [each for each in headings(tokens) if each[0].isdigit()] == ["1. `label`", "2. `filter`", "3. `filter`"]
    steps = [token.content for token in tokens if token.type == "inline" and " rows = " in token.content]
    assert len(steps) == 2
    assert front["configs"][0]["data_files"][0]["path"] == "b.jsonl"
    assert "came from elsewhere" not in card(str(again)).text


def test_rows_that_no_model_wrote_are_not_said_to_be(dataset: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "clean.jsonl", tmp_path / "again.jsonl"
    assert run("filter", "@tasks", "-c", "words@x:1,999", "-o", out, "-q").returncode == 0
    assert run("filter", out, "-c", "words@x:1,999", "-o", again, "-q").returncode == 0
    text = card(str(again)).text
    assert "Models" not in text
    assert "No recorded step had a model write them; they came from elsewhere, and nothing here says who" in text
    assert "- rows from elsewhere, with no manifest beside them: `@tasks`, SHA-256" in text
    assert "- Licence of the rows: CC0 1.0; they are `@tasks`, which comes with distill-data." in text
    assert "its maker must check that these terms" not in text
    assert parts(text)[0]["tags"] == ["distill-data"]
    assert "Models wrote what is in them; nothing says that a person" in card(str(dataset)).text


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"command": "feedback"}], "Models wrote or judged what is in them; nothing"),
        ([{"command": "label"}, {"command": "feedback"}], "Models wrote what is in them; nothing"),
        (
            [{"command": "label"}, {"command": "merge", "elsewhere": [{"name": "a.csv", "sha256": "0"}]}],
            "Models wrote what is in them, beside rows that came from elsewhere; nothing",
        ),
        (
            [{"command": "score", "teachers": {"teacher": "m"}}],
            "nothing here says who wrote them. What models said about them was added.",
        ),
        ([{"command": "feature", "recipe": {"name": "generated"}}], "Models wrote what is in them"),
        ([{"command": "feature", "recipe": {"name": "topk"}}], "No recorded step had a model write them"),
    ],
)
def test_a_card_says_who_wrote_the_rows_as_far_as_the_steps_tell(steps: list[dict[str, Any]], said: str) -> None:
    result = {"files": {"dataset": {"name": "a.jsonl", "sha256": "0"}}}
    assert said in write_card(result, steps, Look(1, {}, [], {}, [], {}), Wishes("t"), "0")


def test_every_command_of_recipes_writes_rows_or_adds_to_them() -> None:
    assert set(commands()) == WRITERS | {"score", "feature"}


def paths_in(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from paths_in(each, (*at, key))


@pytest.mark.slow
@pytest.mark.parametrize("odd", [None, -1.5, "x\nSUMS\nrm -rf x", ["a", None], {"a": []}])
def test_a_manifest_of_another_program_is_a_card_or_an_error(dataset: Path, odd: Any) -> None:
    manifest = dataset.with_name("out.manifest.json")
    step = {
        "command": "label", "recipe": {"name": "r", "digest": "d", "paper": "p"}, "teachers": {"teacher": "t"},
        "seeds": {"rows": 2, "digest": "k", "hub": "h", "revision": "r"}, "items": 3, "kept": 1, "rejected": 2,
        "reasons": {"m": 2, "n": 1}, "dropped": {"c": 1, "d": 2}, "measures": {"a": {"count": 1, "of": 2}},
        "gold": {"compared": 1, "equal": 1}, "judge": "d", "settings": {"labels": ["a"]},
    }  # fmt: skip
    own = orjson.loads(manifest.read_bytes())["result"]
    own |= {**step, "sources": [{"name": "a", "sha256": "b", "lineage": [step]}, {"name": "b", "hub": "c"}]}
    own["files"]["critique"] = {"name": "c.jsonl", "rows": 1, "bytes": 1, "sha256": "0"}
    for path in paths_in(own):
        result = {"result": copy.deepcopy(own)}
        inner: Any = result
        for key in ("result", *path)[:-1]:
            inner = inner[key]
        inner[("result", *path)[-1]] = odd
        manifest.write_bytes(orjson.dumps(result))
        try:
            _, tokens = parts(card(str(dataset)).text)
        except DistillError:
            continue
        sums = next(token.content for token in tokens if token.type == "fence" and token.info == "sh").split("\n")
        assert sums.index("SUMS") == len(sums) - 2


def test_rows_from_elsewhere_are_named_and_need_no_shape(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"frage": "Wie ist das Wetter heute in der Stadt und auf dem Land?", "n": 1}\n')
    assert run("filter", tmp_path / "a.jsonl", "-c", "regex@frage:.", "-o", tmp_path / "b.jsonl", "-q").returncode == 0
    text = card(str(tmp_path / "b.jsonl")).text
    front, _ = parts(text)
    assert front["language"] == ["de"]
    assert "no manifest beside them: `a.jsonl`, SHA-256" in text
    assert "- Licence of the rows from `a.jsonl`: not stated. The maker has to name it." in text
    assert "- `n`: number" in text


def test_a_card_is_written_once_and_left_alone_then(dataset: Path) -> None:
    target = dataset.with_name("README.md")
    first = run("card", dataset, "-o", target, "--license", "mit")
    assert (first.returncode, first.stdout, first.stderr) == (0, "", f"written: {target}\n")
    stamp = target.stat().st_mtime_ns
    again = run("card", dataset, "-o", target, "--license", "mit")
    assert (again.returncode, again.stderr, target.stat().st_mtime_ns) == (0, f"unchanged: {target}\n", stamp)
    assert parts(run("card", dataset, "--license", "MIT").stdout)[0]["license"] == "mit"  # as the Hub writes it
    assert run("card", dataset, "--license", "mit").stdout == target.read_text(encoding="utf-8")
    assert run("card", dataset, "--license", "cc0-1.0", "-o", target).stderr == f"written: {target}\n"


def test_a_markdown_file_that_is_no_card_stays(dataset: Path) -> None:
    target = dataset.with_name("README.md")
    target.write_text("# My project\n")
    assert "is there already and is no card" in paragraph(run("card", dataset, "-o", target), 2)
    assert target.read_text() == "# My project\n"


def test_what_has_no_card_is_said(dataset: Path) -> None:
    plain = dataset.with_name("plain.jsonl")
    plain.write_text('{"text": "x"}\n')
    assert "there is no manifest" in paragraph(run("card", plain), 2)
    assert "is no dataset that a command wrote; their names end in .jsonl" in paragraph(run("card", dataset.parent), 2)
    assert "must end in .md" in paragraph(run("card", dataset, "-o", dataset), 2)
    assert "not whole" in paragraph(run("card", dataset.with_name("out.partial.jsonl")), 2)
    dataset.write_bytes(dataset.read_bytes() + b'{"id": "x"}\n')
    with pytest.raises(DamageError, match=r"out\.jsonl: is not as its manifest says"):
        card(str(dataset))
    dataset.unlink()
    with pytest.raises(UsageError, match=r"out\.jsonl: cannot be read"):
        card(str(dataset))
    (dataset.parent / "out.manifest.json").write_bytes(b'{"result": 3}')
    with pytest.raises(DamageError, match="no manifest"):
        card(str(dataset))


HOSTILE = (
    "---\nlicense: mit\n---\n",
    "```\n````\n~~~\n# Heading\n",
    "</details><script>alert(1)</script>",
    "![x](https://example.com/x.png)",
    "`` ` ``` | a | b |\n|---|---|",
    "\x1b]0;x\x07\u202e\u2028\x85\0",
    "\n\n- item\n\n    code\n",
    "SUMS\nrm -rf x\n",
)
nasty = st.sampled_from(HOSTILE) | st.text()


@given(st.lists(nasty, min_size=12, max_size=12), nasty)
def test_no_text_of_a_row_or_a_manifest_breaks_a_card(texts: list[str], key: str) -> None:
    a, b, c, d, e, f, g, h, i, j, k, m = texts
    described = {"name": a, "rows": 1, "bytes": 1, "sha256": k}
    step = {
        "command": b,
        "recipe": {"name": c, "digest": d, "paper": e},
        "teachers": {"teacher": f, key: g},
        "settings": {h: [i, {"labels": j}]},
        "elsewhere": [{"name": g, "sha256": h}, {"name": g, "sha256": h, "hub": i, "revision": j}],
        "seeds": {"rows": 2, "digest": k, "hub": a, "revision": b},
        "items": 3, "kept": 1, "rejected": 2, "failed": 0,
        "reasons": {m: 2}, "dropped": {c: 1}, "measures": {key: {"count": 1, "of": 2}}, "judge": d,
    }  # fmt: skip
    result = {"files": {"dataset": described, key: described}, "sources": []}
    look = Look(1, {key: "text", a: "object"}, [b], {c: 5}, ["en"], {key: i, "text": j, "list": [k, m]})
    front, tokens = parts(write_card(result, [step], look, Wishes(d, e, f, g), "0" * 64))
    assert set(front) <= {
        "pretty_name", "license", "license_name", "language", "size_categories", "task_categories", "tags", "configs"
    }  # fmt: skip
    assert front["pretty_name"] == d.encode("utf-8", "replace").decode()
    assert front["configs"][0]["data_files"][0]["path"] == a.encode("utf-8", "replace").decode()
    kinds = [token.type for token in tokens]
    assert "html_block" not in kinds
    assert kinds.count("heading_open") == 6
    assert kinds.count("fence") == 4
    inner = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inner} <= {
        "text",
        "text_special",
        "code_inline",
        "softbreak",
        "link_open",
        "link_close",
    }
    links = [str(child.attrs["href"]) for child in inner if child.type == "link_open"]
    assert all(link.startswith("https://arxiv.org/abs/") for link in links)
    sums = next(token.content for token in tokens if token.info == "sh").split("\n")
    assert [line for line in sums if line == "SUMS"] == ["SUMS"]
    assert sums[-2] == "SUMS"


def test_a_look_tells_columns_models_and_mixed_shapes(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    rows: list[dict[str, Any]] = [
        {"prompt": [{"role": "user", "content": "x"}], "meta": {"model": "m"}, "kind": "sft", "n": 1.5},
        {"prompt": "x", "meta": {"model": "m"}, "kind": "prompt", "ok": True, "none": None, "tags": ["a"]},
        {"prompt": "x", "meta": {"model": 3}, "tags": []},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = look_at(path)
    assert (found.rows, found.kinds, found.models) == (3, ["prompt", "sft"], {"m": 2})
    assert found.columns == {
        "prompt": "list of chat messages or text",
        "meta": "object",
        "kind": "text",
        "n": "number",
        "ok": "true or false",
        "none": "nothing",
        "tags": "list, of text or list",
    }
