"""`text`, `code`, `list`, and the fences that the last two and `json` share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import ParseError
from distill_data.parsing import make_parser

LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


def refused(name: str, reply: str) -> str:
    with pytest.raises(ParseError) as error:
        make_parser(name, None)(reply)
    return error.value.reason


def test_text_is_stripped_and_never_empty() -> None:
    assert make_parser("text", None)("\n a\u2028b \r\n") == {"text": "a\u2028b"}
    assert refused("text", "") == "empty"
    assert refused("text", " \n\u3000") == "empty"


@pytest.mark.parametrize(
    ("reply", "code", "language"),
    [
        ("```python\nprint(1)\n```", "print(1)", "python"),
        ("Here:\r\n```\r\na\r\n\r\n  b\r\n```\r\nbye", "a\n\n  b", ""),
        ("````md\n```\ninner\n```\n````", "```\ninner\n```", "md"),
        ("~~~ sh -x\n``` \n~~~~", "``` ", "sh"),
        ("  ```c\n    a;\n  b;\n c;\n  ```", "  a;\nb;\nc;", "c"),
        ("1. Run:\n      ```\n      x\n      ```", "x", ""),
        ("`code` ```inline``` \n```\nx\u2028y\n```", "x\u2028y", ""),
    ],
)
def test_code_reads_one_fenced_block(reply: str, code: str, language: str) -> None:
    assert make_parser("code", None)(reply) == {"code": code, "language": language}


def test_code_refuses_what_is_not_one_whole_block() -> None:
    assert refused("code", "print(1)") == "no-code"
    assert refused("code", "``` `print(1)` ```") == "no-code"
    assert refused("code", "```\na\n```\n```\nb\n```") == "several-blocks"
    assert refused("code", "```\na") == "unclosed-fence"
    assert refused("code", "```\na\n``` b") == "unclosed-fence"
    assert refused("code", "````\na\n```") == "unclosed-fence"
    assert refused("code", "```\n \n```") == "empty"


@given(
    st.lists(LINES.filter(lambda line: "`" not in line), min_size=1).filter(lambda lines: any(map(str.strip, lines)))
)
def test_code_comes_back_as_it_was_written(lines: list[str]) -> None:
    code = "\n".join(lines)
    assert make_parser("code", None)(f"Look:\n```text\n{code}\n```\n") == {"code": code, "language": "text"}


@pytest.mark.parametrize(
    ("reply", "items"),
    [
        ("1. a\n2. b", ["a", "b"]),
        ("Here are two:\n\n1) a\n\n2) b\n\n", ["a", "b"]),
        ("7. a\r\n8. b\r\n9. c", ["a", "b", "c"]),
        ("1. a\ngoes on\n   and on\n2. b 3. not an item", ["a\ngoes on\n   and on", "b 3. not an item"]),
        ("1. a\n   1. inner\n   2. inner\n2. b", ["a\n   1. inner\n   2. inner", "b"]),
        ("1. a\n\n   second paragraph\n2. b", ["a\n\n   second paragraph", "b"]),
        ("1. Run this:\n```\n5. x\n\ny\n```\n2. b", ["Run this:\n```\n5. x\n\ny\n```", "b"]),
        ("1、写一首诗\n２．画画", ["写一首诗", "画画"]),
        ("1.5 litres\n1. a", ["a"]),
        ("1.\n   a\n2. b", ["a", "b"]),
        ("9. a\n10. b", ["a", "b"]),
    ],
)
def test_list_reads_a_numbered_list(reply: str, items: list[str]) -> None:
    assert make_parser("list", None)(reply) == {"items": items}


def test_list_refuses_what_is_not_one_whole_list() -> None:
    assert refused("list", "- a\n- b") == "no-list"
    assert refused("list", "") == "no-list"
    assert refused("list", "1. a\n3. b") == "misnumbered"
    assert refused("list", "1. a\n1. b") == "misnumbered"
    assert refused("list", "1. a\n2.\n3. c") == "empty"
    assert refused("list", "1. a\n2. b\n\nLet me know!") == "text-after-item"
    assert refused("list", "1. a\n```\nx") == "unclosed-fence"


@given(st.lists(LINES.map(str.strip).filter(lambda line: line and line[0].isalpha()), min_size=1, max_size=20))
def test_list_items_come_back_as_they_were_written(items: list[str]) -> None:
    reply = "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))
    assert make_parser("list", None)(reply) == {"items": items}
