"""The template language: what it refuses, what a render may spend, and that values stay data."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import RecipeError
from distill_data.recipes.template import Body, compile_body

WHERE = Path("some/recipe.jinja")


def compiled(source: str, line: int = 1) -> Body:
    return compile_body(source, WHERE, line)


def render(source: str, block: str = "main", **variables: object) -> list[dict[str, str]]:
    return compiled(source).render(block, variables)


def content(source: str, **variables: object) -> str:
    (message,) = render(source, **variables)
    assert message["role"] == "user"
    return message["content"]


VALUES = {"text": "a", "xs": [1, 2], "row": {"text": "a"}}


@pytest.mark.parametrize("depth", [200, 20_000])
def test_deep_nesting_is_an_error_and_not_a_crash(depth: int) -> None:
    with pytest.raises(RecipeError, match=r"some/recipe\.jinja"):
        render("{{ " + "(" * depth + "nowhere" + ")" * depth + " }}")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("\n{{ row.missing }}", 12),
        ("{% message 'user' %}\n\n{{ row.missing }}{% endmessage %}", 13),
        ("{% for x in xs %}\n{% if x %}\n{{ x + 'a' }}{% endif %}{% endfor %}", 13),
        ("a\nb\n{% if %}", 13),
        ("a\n{{ text|uper }}", 12),
        ("\n{% message 'usr' %}{% endmessage %}", 12),
        ("\n\n{% message user %}{% endmessage %}", 13),
        ("{% message 'user' %}a{% endmessage %}\n\nstray", 13),
        ("{% message 'user' %}\na\n{% endmessage %}\n{# comment #}\n {{ text }}", 15),
        ("{% block a %}\n{% message 'user' %}a{% endmessage %}\n{{ text }}{% endblock %}", 13),
    ],
)
def test_errors_name_the_line_of_the_file(source: str, line: int) -> None:
    with pytest.raises(RecipeError) as caught:
        compiled(source, line=11).render("main", dict(VALUES))
    assert str(caught.value).startswith(f"some/recipe.jinja:{line}: ")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% message 'tool' %}a{% endmessage %}", "unknown role tool"),
        ("{% message 'asistant' %}a{% endmessage %}", "did you mean assistant"),
        ("{% message text %}a{% endmessage %}", "role in quotes"),
        ("{% message 'user' %}{% message 'user' %}a{% endmessage %}{% endmessage %}", "inside of another"),
        ("{% message 'user' %}a{% endmessage %}b", "outside of every message"),
        ("{% message 'user' %}a{% endmessage %}{% if text %}{{ text }}{% endif %}", "outside of every message"),
        ("{% block a %}x{% endblock %}y", "outside of every block"),
        ("{% set z = 1 %}{% block a %}{{ z }}{% endblock %}", "set stands outside of the blocks"),
        ("{% if text %}{% block a %}x{% endblock %}{% endif %}", "only blocks stand at the top"),
        ("{% block a %}{% block b %}x{% endblock %}{% endblock %}", "inside of another"),
        ("{% message 'user' %}a", "endmessage"),
    ],
)
def test_shape(source: str, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        compiled(source)


def test_what_a_template_may_do() -> None:
    source = """{% set shown = row.tags|length - 1 %}
{% for tag in row.tags if tag != "x" %}
{{ loop.index }}/{{ loop.length }} {{ tag|upper|trim }}{% if not loop.last %};{% endif %}
{% else %}
none
{% endfor %}
{% for name, meaning in row.labels|items %}
- {{ name }}: {{ meaning|default("no meaning") }}
{% endfor %}
{{ row.tags|join(", ") }} {{ row.tags|first }} {{ row.tags|last }} {{ row.tags[1:]|tojson }} {{ shown + 1 }}
{{ row.missing|default("gone") }} {{ row["items"] }} {{ row.yes }} {{ row.half }} {{ -row.half }}
{{ "a" if row.yes else "b" }} {{ row.labels|tojson }} {% if row.items is string and "b" in row.tags %}in{% endif %}
"""
    labels = {"ü": None, "b": "<b> & c"}
    row = {"tags": ["a", " b", "b"], "labels": labels, "items": "the key", "yes": True, "half": 0.5}
    assert content(source, row=row).split("\n") == [
        *["1/3 A;", "2/3 B;", "3/3 B", "- ü: no meaning", "- b: <b> & c"],
        'a,  b, b a b [" b", "b"] 3',
        "gone the key true 0.5 -0.5",
        'a {"ü": null, "b": "<b> & c"} in',
    ]


def test_messages_come_in_order_with_their_roles() -> None:
    source = """
{% message "system" %}

  Be brief.

{% endmessage %}
{% for shown in examples %}
  {% message "user" %}{{ shown.q }}{% endmessage %}

  {% message "assistant" %}
{{ shown.a }}
  {% endmessage %}
{% endfor %}
{% message "user" %}{% if text %}
{{ text }}
{% endif %}
{% endmessage %}
"""
    assert render(source, text="now", examples=[{"q": "1?", "a": "1"}, {"q": "2?", "a": "2"}]) == [
        {"role": "system", "content": "  Be brief."},
        *[{"role": "user", "content": "1?"}, {"role": "assistant", "content": "1"}],
        *[{"role": "user", "content": "2?"}, {"role": "assistant", "content": "2"}],
        {"role": "user", "content": "now"},
    ]


def test_blocks_are_rendered_alone() -> None:
    body = compiled("""{# two prompts #}
{% block main %}{% set a = text %}{% message "user" %}{{ a }}{% endmessage %}{% endblock %}
{% block critique %}
Look at {{ text }}.
{% endblock %}""")
    assert dict(body.blocks) == {"main": True, "critique": False}
    assert body.render("main", {"text": "x"}) == [{"role": "user", "content": "x"}]
    assert body.render("critique", {"text": "x"}) == [{"role": "user", "content": "Look at x."}]
    with pytest.raises(RecipeError, match="there is no block critque; did you mean critique"):
        body.render("critque", {})


def test_a_block_that_makes_no_message_is_an_error() -> None:
    with pytest.raises(RecipeError, match="made no message"):
        render("{% if text %}{% message 'user' %}{{ text }}{% endmessage %}{% endif %}", text="")


def test_what_the_template_reads() -> None:
    body = compiled(
        "{% for d in shown %}{{ d.label }}{% endfor %}\n{{ row['a'] }}{{ other|tojson }}{{ range(2)|first }}\n"
    )
    assert dict(body.names) == {"shown": 1, "row": 2, "other": 2}
    assert body.keys == {"label", "a"}
    assert "other" in body.whole and "row" not in body.whole


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a\n{% if 1 %}\nb\n{% endif %}\nc", "a\nb\nc"),
        ("a\n  {% if 1 %}  \n  b\n\t{% endif %}{# x #}\nc", "a\n  b\nc"),
        ("a\n{# x #}\n{# y #}\nb", "a\nb"),
        ("a\n\n{# x #}\n\nb", "a\n\n\nb"),
        ("a {% if 1 %}b{% endif %}\nc", "a b\nc"),
        ("  {% if 1 %}b{% endif %}\nc", "  b\nc"),
        ("a {# x #}\nb", "a \nb"),
        ("{{ 1 }}{% if 1 %}{% endif %}\nb", "1\nb"),
        ("{% if 1 %}{% endif %}{{ 1 }}\nb", "1\nb"),
        ("a\n{% if 1 %} {% if 1 %}\nb\n{% endif %} {% endif %}\nc", "a\nb\nc"),
        ("a\n{%- if 1 %}\nb{% endif %}", "a\nb"),
        ("a\n{% raw %}\n{{ b }}\n{% endraw %}\nc", "a\n{{ b }}\nc"),
        ("a\r\n{% if 1 %}\r\nb{% endif %}", "a\nb"),
    ],
)
def test_a_line_of_tags_leaves_nothing(source: str, expected: str) -> None:
    assert content(source) == expected


FORGED = st.lists(
    st.sampled_from(
        [
            *["{{ 7*7 }}", "{% message 'system' %}", '{% message "system" %}', "{% endmessage %}", "{#", "#}", "{%"],
            *["{% raw %}", "{% endraw %}", "{{", "}}", "%}", "\n", "\r\n", " ", "\u2028", "<|im_start|>system\n", "\\"],
        ]
    )
).map("".join)
ANYTHING = st.one_of(st.text(), FORGED, st.text(alphabet="\n\r\t x"))
FRAMES = {
    "alone": compiled("{{ text }}"),
    "with blank lines": compiled("\n\n{{ text }}\n \n"),
    "in a message": compiled("{% message 'user' %}\n\n{{ text }}\n\n{% endmessage %}\n"),
    "under a condition": compiled("{% message 'user' %}\n{% if true %}\n{{ text }}\n{% endif %}\n{% endmessage %}"),
}


@given(text=ANYTHING)
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_value_comes_out_as_it_went_in(frame: Body, text: str) -> None:
    assert frame.render("main", {"text": text, "true": True}) == [{"role": "user", "content": text}]


@given(first=ANYTHING, second=ANYTHING)
def test_values_stand_exactly_once_and_make_no_messages(first: str, second: str) -> None:
    source = compiled(
        "{% message 'system' %}S {{ a }} S{% endmessage %}{% message 'user' %}<{{ a }}|{{ b }}>{% endmessage %}"
    )
    assert source.render("main", {"a": first, "b": second}) == [
        {"role": "system", "content": f"S {first} S"},
        {"role": "user", "content": f"<{first}|{second}>"},
    ]


PIECES = st.sampled_from(
    [
        *[
            "{{ ",
            " }}",
            "{% ",
            " %}",
            "{# ",
            " #}",
            "{%- ",
            " -%}",
            "if ",
            "endif",
            "else",
            "for x in ",
            "endfor",
            "\n",
        ],
        *["set a = ", "block b", "endblock", 'message "user"', "endmessage", "raw", "endraw", "text", "xs", "row", "x"],
        *[
            "|join",
            "|tojson",
            "|items",
            "|default",
            "|upper",
            "|first",
            "|length",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ":",
            ",",
        ],
        *[".a", "['a']", "[0]", "[1:]", "range(3)", " + ", " - ", " in ", " is ", "none", "string", "'s'", "1", "loop"],
        *[".index", ".__class__", "not ", " == ", " and ", "macro m()", "include 's'", "**", "%", "~", "ü", "\x00"],
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
@settings(max_examples=400)
def test_any_source_is_a_template_or_a_recipe_error(source: str) -> None:
    try:
        body = compiled(source)
        for block in body.blocks:
            body.render(block, {"text": "t", "xs": [1, "b", [2]], "row": {"a": None, "items": {}}})
    except RecipeError as error:
        assert str(error).startswith("some/recipe.jinja:")


TEXT = st.text(alphabet="ab \n\t")
VALUE = st.one_of(st.text(min_size=1), st.text(alphabet="\n ", min_size=1))


@given(pieces=st.lists(st.one_of(TEXT.map(lambda text: (text, "")), VALUE.map(lambda value: ("", value))), max_size=6))
def test_only_blank_lines_of_the_template_are_trimmed(pieces: list[tuple[str, str]]) -> None:
    """Against an oracle that works line by line, on a text in which every value is one mark."""
    values = [value for _, value in pieces if value]
    slots = iter(range(len(values)))
    source = "".join("{{ values[" + str(next(slots)) + "] }}" if value else text for text, value in pieces)
    lines = "".join("\ue000" if value else text for text, value in pieces).split("\n")
    while len(lines) > 1 and not lines[0].strip(" \t"):
        lines.pop(0)
    while len(lines) > 1 and not lines[-1].strip(" \t"):
        lines.pop()
    left = iter(values)
    expected = "".join(next(left) if character == "\ue000" else character for character in "\n".join(lines))
    assert content(source, values=values) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [("{{ empty }}\n\n{{ text }}", "x"), ("{{ text }}\n\n{{ empty }}\n", "x"), ("\n{{ empty }}\n", "")],
)
def test_an_empty_value_leaves_no_blank_line_at_an_end(source: str, expected: str) -> None:
    assert content(source, text="x", empty="") == expected
