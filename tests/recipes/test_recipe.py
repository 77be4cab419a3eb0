"""Recipes from files: what their keys mean, what is refused, what --set does."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from distill_data.errors import RecipeError, SeedError
from distill_data.recipes import REQUIRED, Demonstrations, RecordShape, Spec, apply_settings, load_recipe
from distill_data.recipes.recipe import Recipe

Write = Callable[..., Path]


def load(path: Path) -> Recipe:
    return load_recipe(str(path), "label")


def test_a_whole_recipe(write: Write) -> None:
    path = write()
    recipe = load(path)
    assert (recipe.name, recipe.command, recipe.path) == ("colour", "label", path)
    assert recipe.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert recipe.about == "Say what colour a thing has." and recipe.paper == ""
    assert recipe.strategy == "single" and recipe.samples == 1
    assert recipe.columns == {"text": REQUIRED, "colour": "", "size": "small"}
    assert recipe.settings["colours"] == {"red": "warm", "blue": "cold"}
    assert recipe.choices == ("red", "blue") and recipe.schema is None
    assert recipe.parser == Spec("choice", {"red": "warm", "blue": "cold"})
    assert recipe.checks == () and recipe.verifier == Spec("normalised", None)
    assert recipe.sampling == {"temperature": 0, "max_tokens": 8}
    assert recipe.demonstrations == Demonstrations("seeds", "fixed", 0, "text")
    assert recipe.record == RecordShape("sft", {"content": "answer"}, "answer")
    assert (recipe.gold, recipe.gold_by) == ("colour", "")
    assert recipe.example == {"row": {"text": "a tomato", "colour": "red"}, "reply": "Red."}
    assert recipe.blocks == {"main"}


def test_render_sees_columns_settings_and_demonstrations(write: Write) -> None:
    recipe = load(write())
    prompt = "Which colour? Say red or blue of this {} thing (0.5): {}"
    assert recipe.render("main", {"text": "a sea", "size": None, "other": [1]}) == [
        {"role": "user", "content": prompt.format("small", "a sea")}
    ]
    shown = {"text": "blood", "colour": "red"}
    assert recipe.render("main", {"text": "a sea", "size": "big"}, demonstrations=[shown]) == [
        {"role": "user", "content": "blood"},
        {"role": "assistant", "content": "red"},
        {"role": "user", "content": prompt.format("big", "a sea")},
    ]


def test_the_whole_row_is_there_and_columns_hide_nothing(write: Write) -> None:
    recipe = load(write(("{{ task }}", '{{ row["items"] }} {{ row.size }} {{ row.task }}')))
    row = {"text": "x", "items": "I", "task": "from the row"}
    assert recipe.render("main", row)[0]["content"].startswith("I small from the row Say red")
    with pytest.raises(RecipeError, match=r"colour\.jinja:19: there is no 'items'"):
        recipe.render("main", {"text": "x"})


def test_fill(write: Write) -> None:
    recipe = load(write())
    row = {"other": 1, "text": "", "colour": None}
    assert recipe.fill(row) == {"other": 1, "text": "", "colour": "", "size": "small"}
    assert row == {"other": 1, "text": "", "colour": None}
    for bad in ({"other": 1}, {"text": None}, {}):
        with pytest.raises(SeedError, match="colour needs the column text"):
            recipe.fill(bad)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("about: Say", "abuot: Say", r"colour\.jinja:2: abuot: unknown key; did you mean about"),
        ("about: Say what colour a thing has.", "about: true", "2: about: must be text, but is true; put it in quotes"),
        ("about: Say what colour a thing has.\n", "", "2: lacks the key about"),
        ("sampling: {temperature: 0, max_tokens: $limit}\n", "", "lacks the key sampling"),
        ("max_tokens", "max_token", "9: sampling.max_token: unknown key; did you mean max_tokens"),
        (", max_tokens: $limit", "", "9: sampling: lacks max_tokens; every request carries a token limit"),
        ("max_tokens: $limit", "max_tokens: 0", "9: sampling.max_tokens: is 0, but must be at least 1"),
        ("max_tokens: $limit", "max_tokens: $limits", "9: sampling.max_tokens: there is no setting limits; .*limit"),
        ("max_tokens: $limit", "max_tokens: 8, stop: [1]", "9: sampling.stop.0: must be text"),
        ("max_tokens: $limit", "max_tokens: 8, top_p: 2", "9: sampling.top_p: is 2, but must be from 0 to 1"),
        ("temperature: 0", "temperature: cold", "9: sampling.temperature: must be a number"),
        ("text: required", "text: requierd", "3: columns.text: must be required, optional, list or"),
        ("{default: small}", "{defalt: small}", "3: columns.size.defalt: unknown key; did you mean default"),
        ("{default: small}", "{default: null}", "3: columns.size.default: must not be empty"),
        ("{text: required", "{the text: required", "3: columns.the text: is no name"),
        ("colour: optional", "row: optional", "3: columns.row: is a name that templates use"),
        ("colour: optional", "task: optional", "3: columns.task: is also the name of a setting"),
        ("limit: 8", "temperature: 8", "4: settings.temperature: is the name of a sampling parameter"),
        ("limit: 8", "limit:", "4: settings.limit: has no value"),
        ("choices: $colours", "choices: [red, red]", "5: choices: must be different texts"),
        ("choices: $colours", "choices: [red, 1]", "5: choices.1: must be text, but is 1; put it in quotes"),
        ("choices: $colours", "choices: $colour", "5: choices: there is no setting colour; did you mean colours"),
        ("choices: $colours", "choices: red", "5: choices: must be a list"),
        ("red: warm", "no: warm", '4: settings.colours: no is read as false; write "no" in quotes'),
        ("parser: {choice: $colours}", "parser: {choice: [a], text: 1}", "6: parser: must be one name, or one"),
        ("parser: {choice: $colours}", "parser: [text]", "6: parser: must be a mapping"),
        ("gold: colour", "gold: color", "7: gold: color is not among the columns; did you mean colour"),
        ("gold: colour", "gold_by: color", "7: gold_by: color is not among the columns"),
        ("by: text", "by: txt", "10: demonstrations: txt is not among the columns"),
        ("pick: fixed", "pick: nearst", '10: demonstrations.pick: "nearst" is not a way to pick; did you mean nearest'),
        ("pick: fixed, k: 0, by: text", "pick: nearest, k: 0", "10: demonstrations: picks the nearest, so it needs"),
        ("k: 0", "k: -1", "10: demonstrations.k: is -1"),
        ("kind: sft", "kind: stf", '11: record.kind: "stf" is not a kind of record; did you mean sft'),
        ("{content: answer}", "{contents: answer}", "11: record.completion.contents: unknown key"),
        ("{content: answer}", "{reasoning_content: answer}", "11: record.completion: lacks the key content"),
        ("completion: {content: answer}, ", "", "11: record: needs one of the keys completion and parts"),
        ("kind: sft,", "kind: sft, parts: {a: {content: answer}},", "11: record: needs one of the keys"),
        ("completion: {content: answer}", "parts: {}", "11: record.parts: must have at least one part"),
        ("completion: {content: answer}", "parts: {a b: {content: answer}}", "11: record.parts.a b: is no name"),
        ("completion: {content: answer}", "parts: {a: {content: answer}}", "parts.a: needs the block student_a"),
        (
            "completion: {content: answer}",
            "parts: {a: {content: answer}, b: {content: answer, reasoning_content: answer}}",
            "11: record.parts: must all have the same keys",
        ),
        (
            "completion: {content: answer}, answer: answer",
            "parts: {a: {content: answer}}",
            "11: record: has parts, so it needs the key answer",
        ),
        (
            "answer: answer}",
            "answer: answer, privileged_context: sistem}",
            '"sistem" is not the role of a message; did',
        ),
        ("answer: answer}", "answer: answer, privileged_context: user}", "privileged_context: needs the block student"),
        ("verifier: normalised", "draw: [colour]", "8: draw.0: there is no setting colour; did you mean colours"),
        ("verifier: normalised", "draw: [task]", "4: settings.task: must be a list, but is the text"),
        ("share: 0.5}", "share: []}\ndraw: [share]", "4: settings.share: must have at least one entry"),
        ("example: {row: {text: a tomato, colour: red}, reply", "example: {reply", "12: example: lacks the key row"),
        ("reply: Red.", "reply: [Red.]", "12: example.reply: must be text, but is a list"),
        ("verifier: normalised", "strategy: Two Words", '8: strategy: "Two Words" is not the name'),
        ("verifier: normalised", "samples: 0", "8: samples: is 0, but must be at least 1"),
        ("verifier: normalised", "schema: [a]", "8: schema: must be a mapping"),
        ("verifier: normalised", "checks: words", "8: checks: must be a list"),
        ("---\nabout", "about", r"colour\.jinja:1: a recipe starts with"),
        ("{{ text }}\n", "{{ text|uper }}\n", r"colour\.jinja:19: unknown filter uper; did you mean upper"),
    ],
)
def test_front_matter_errors_name_line_and_remedy(write: Write, old: str, new: str, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem) as caught:
        load(write((old, new)))
    assert str(caught.value).startswith(str(write((old, new))))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        load(tmp_path / "none.jinja")
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        load(tmp_path)
    latin = tmp_path / "latin.jinja"
    latin.write_bytes(b"---\nabout: caf\xe9\n---\n")
    with pytest.raises(RecipeError, match=r"latin\.jinja:2: is not UTF-8"):
        load(latin)
    latin.write_bytes(b"---\n" + b"#" * (1 << 20))
    with pytest.raises(RecipeError, match="longer than"):
        load(latin)


def test_line_ends_of_windows(write: Write) -> None:
    path = write()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (message,) = load(path).render("main", {"text": "a\r\nb"})
    assert message["content"] == "Which colour? Say red or blue of this small thing (0.5): a\r\nb"


@pytest.mark.parametrize(
    ("key", "text", "read"),
    [
        ("temperature", "0.7", lambda recipe: recipe.sampling["temperature"] == 0.7),
        ("max_tokens", "99", lambda recipe: recipe.sampling["max_tokens"] == 99),
        ("limit", "99", lambda recipe: recipe.sampling["max_tokens"] == 99 and recipe.settings["limit"] == 99),
        ("stop", '["###", "no"]', lambda recipe: recipe.sampling.get("stop") == ["###", "no"]),
        ("logprobs", "true", lambda recipe: recipe.sampling.get("logprobs") is True),
        ("extra_body.top_a", "{b: 1e-3}", lambda recipe: recipe.sampling.get("extra_body") == {"top_a": {"b": 0.001}}),
        ("samples", "3", lambda recipe: recipe.samples == 3),
        ("demonstrations.k", "4", lambda recipe: recipe.demonstrations.k == 4),
        ("demonstrations.pick", "random", lambda recipe: recipe.demonstrations.pick == "random"),
        ("demonstrations.from", "a #1: b.jsonl", lambda recipe: recipe.demonstrations.source == "a #1: b.jsonl"),
        ("demonstrations.by", "colour", lambda recipe: recipe.demonstrations.by == "colour"),
        ("task", "Red: yes or no? #1", lambda recipe: recipe.settings["task"] == "Red: yes or no? #1"),
        ("task", "no", lambda recipe: recipe.settings["task"] == "no"),
        ("task", '"a: b"', lambda recipe: recipe.settings["task"] == "a: b"),
        ("task", '"a" or "b"', lambda recipe: recipe.settings["task"] == '"a" or "b"'),
        ("share", "1", lambda recipe: recipe.settings["share"] == 1),
        ("colours", "{green: '', no one: x}", lambda recipe: recipe.choices == ("green", "no one")),
        ("colours", "{green: ''}", lambda recipe: recipe.parser == Spec("choice", {"green": ""})),
    ],
)
def test_set(write: Write, key: str, text: str, read: object) -> None:
    recipe = load(write())
    changed = apply_settings(recipe, {key: text})
    assert read(changed) and not read(recipe)  # type: ignore[operator]
    assert (changed.name, changed.path, changed.digest) == (recipe.name, recipe.path, recipe.digest)


def test_set_again_and_several(write: Write) -> None:
    once = apply_settings(load(write()), {"task": "What?", "extra_body.a": "1"})
    twice = apply_settings(once, {"extra_body.b": "2", "colours": "{green: ''}"})
    assert twice.sampling["extra_body"] == {"a": 1, "b": 2}
    assert twice.render("main", {"text": "x"})[0]["content"] == "What? Say green of this small thing (0.5): x"


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("colors", "1", "--set colors: the recipe colour has no such setting; did you mean colours"),
        ("temprature", "1", "did you mean temperature"),
        ("temperature", "hot", "--set temperature: sampling.temperature: must be a number"),
        ("temperature", "no", "--set temperature: no is read as false"),
        ("max_tokens", "0", "--set max_tokens: sampling.max_tokens: is 0"),
        ("stop", "# x", "--set stop: sampling.stop: must be a list, but is empty"),
        ("samples", "1.5", "--set samples: samples: must be a whole number"),
        ("demonstrations.n", "1", "--set demonstrations.n: unknown key"),
        ("demonstrations.k", "many", "--set demonstrations.k: demonstrations.k: must be a whole number"),
        ("demonstrations.pick", "any", '--set demonstrations.pick: demonstrations.pick: "any" is not a way'),
        ("share", "much", '--set share: settings.share: must be a number, but is the text "much"'),
        ("share", "true", "--set share: settings.share: must be a number, but is true"),
        ("colours", "[green]", "--set colours: settings.colours: must be a mapping, but is a list"),
        ("colours", "{1: one}", "--set colours: the key 1 must stand in quotes"),
        ("colours", "{}", "choices: must be different texts, at least one"),
        ("limit", "0", "sampling.max_tokens: is 0, but must be at least 1"),
        ("task.x", "1", "has no such setting"),
        ("extra_body", "[1]", "--set extra_body: sampling.extra_body: must be a mapping"),
        ("extra_body.", "1", "has no such setting"),
        ("colours", "{a: *b}", "--set colours: not valid YAML: anchors"),
    ],
)
def test_set_refuses(write: Write, key: str, text: str, problem: str) -> None:
    with pytest.raises(RecipeError) as caught:
        apply_settings(load(write()), {key: text})
    assert problem in str(caught.value)


def test_set_leaves_the_recipe_and_its_line_numbers_alone(write: Write) -> None:
    recipe = load(write(("max_tokens: $limit", "max_tokens: $limit, stop: [a]")))
    apply_settings(recipe, {"stop": "[b]", "colours": "{green: ''}"})
    assert apply_settings(recipe, {}) == recipe
    with pytest.raises(RecipeError, match=r"^--set stop: sampling\.stop\.0: must be text"):
        apply_settings(recipe, {"stop": "[1]"})


def test_set_where_the_recipe_has_none(write: Write) -> None:
    bare = write(("demonstrations: {from: seeds, pick: fixed, k: 0, by: text}\n", ""))
    with pytest.raises(RecipeError, match="shows no demonstrations"):
        apply_settings(load(bare), {"demonstrations.k": "1"})
    whole = write(
        ("sampling: {temperature: 0, max_tokens: $limit}", "sampling: $params"),
        ("limit: 8", "params: {max_tokens: 8}"),
    )
    with pytest.raises(RecipeError, match=r"writes its sampling as \$params"):
        apply_settings(load(whole), {"temperature": "1"})
    assert apply_settings(load(whole), {"params": "{max_tokens: 9}"}).sampling == {"max_tokens": 9}


def test_a_list_column_may_be_json_text(write: Write) -> None:
    changes = ("size: {default: small}", "size: list"), ("{{ size }}", '{{ size|join("+") }} {{ row["size"]|length }}')
    recipe = load(write(*changes))
    assert recipe.columns["size"] is REQUIRED and recipe.lists == {"size"}
    for size in (["a", "b"], '["a", "b"]', ' [\n"a", "b"]'):
        assert recipe.fill({"text": "x", "size": size})["size"] == ["a", "b"]
        assert "this a+b 2 thing" in recipe.render("main", {"text": "x", "size": size})[0]["content"]
    for size in ([], "[]", "a", "", '"a"', "{}", '["a", 1]', ["a", None], ["a", " "], 5, "[" * 100_000):
        with pytest.raises(SeedError, match="colour needs a list of texts in the column size"):
            recipe.fill({"text": "x", "size": size})
    with pytest.raises(SeedError, match="colour needs the column size"):
        recipe.fill({"text": "x"})


def test_draw(write: Write) -> None:
    recipe = load(write(("share: 0.5}", "share: [1, 2, 3]}\ndraw: [share]")))
    assert recipe.draw == ("share",)
    drawn = [recipe.drawn(Random(number)) for number in range(30)]
    assert [value["share"] for value in drawn] == [Random(number).choice([1, 2, 3]) for number in range(30)]
    assert {value["share"] for value in drawn} == {1, 2, 3}
    assert "thing (3):" in recipe.render("main", {"text": "x"}, share=3)[0]["content"]
    assert "thing (1):" in recipe.render("main", {"text": "x"})[0]["content"], "the first, where none is given"
    assert apply_settings(recipe, {"share": "[9]"}).drawn(Random(0)) == {"share": 9}
    with pytest.raises(RecipeError, match=r"--set share: settings\.share: must have at least one entry"):
        apply_settings(recipe, {"share": "[]"})


PARTS = "parts: {a: {content: answer}, b: {content: answer}}, answer: answer, privileged_context: system}"


def test_a_record_with_parts(write: Write) -> None:
    recipe = load(
        write(
            ("completion: {content: answer}, answer: answer}", PARTS),
            ("{% for shown", "{% block main %}{% for shown"),
            (
                "{{ text }}\n{% endmessage %}\n",
                "{{ text }}\n{% endmessage %}{% endblock %}\n{% block student %}s{% endblock %}\n"
                "{% block student_a %}a{% endblock %}{% block student_b %}b{% endblock %}",
            ),
        )
    )
    assert recipe.record == RecordShape(
        "sft", {}, "answer", {"a": {"content": "answer"}, "b": {"content": "answer"}}, "system"
    )
    assert recipe.record.rows() == recipe.record.parts
    assert load(write()).record.rows() == {"": {"content": "answer"}}
