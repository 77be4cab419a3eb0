"""Text that commands a terminal, or a browser, through every command: in seeds, datasets, manifests, names, replies."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.poison import write_poisoned
from tests.system.echoes import Echoes, echoing
from tests.system.every_command import ASK, FRONT, LOOK, Ended, asking, doctor, forked, looking, warm_up, write_seeds

CONTROLS = "".join(map(chr, range(0xA0)))
COMMANDS = (
    "\x1b[2J\x1b[31mred\x1b[0m \x1b]0;owned\x07 \x1b]52;c;cm0gLXJm\x07 \x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\"
    " \x1bP1$r0m\x1b\\ \x1b_Gi=1;\x1b\\ \x9b31m \x9d0;x\x9c \x90x\x9c"
    " \u202etxet\u202c \u2066a\u2069 \u200f \u061c \u2028\u2029"
)
MARKUP = (
    "<script>alert(1)</script> </script><img src=x onerror=alert(1)> \"' onmouseover='x' <!-- ]]> javascript:alert(1)"
)
SURROGATE = "\ud800 and \udc00"
HOSTILE = f"{CONTROLS} {COMMANDS} {MARKUP}"
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)
"""C0 without tab and line feed, DEL, C1, what turns the direction of writing, surrogates, tags."""


def assert_harmless(ended: Ended) -> None:
    for name, stream in (("stdout", ended.out), ("stderr", ended.err)):
        text = stream.decode("utf-8")
        found = UNSAFE.search(text)
        assert not found, f"{ended.args}: {found!r} on {name}: {text[max(0, found.start() - 80) : found.end() + 80]!r}"
    assert b"Traceback" not in ended.err, ended.err.decode()
    assert ended.code in (0, 2, 3, 4, 5), ended


class Elements(HTMLParser):
    """What a browser would make of a page. `tests/reporting` knows each element that a page may have."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(name)
        self.attributes |= {key for key, _ in attributes}
        self.links |= {str(value) for key, value in attributes if key == "href"}


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    if request.node.get_closest_marker("slow"):
        warm_up()
    write_seeds(tmp_path, HOSTILE)
    return tmp_path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echoes]:
    with echoing(tmp_path_factory.mktemp("server"), HOSTILE) as server:
        yield server


@pytest.fixture
def echoes(server: Echoes) -> Echoes:
    return server.forgetful()


def test_the_corpus_is_unsafe_and_the_pattern_lets_plain_text_through() -> None:
    assert len(UNSAFE.findall(CONTROLS)) == 0x20 - 2 + 0x21
    assert not UNSAFE.search("tab\there\nText, größer, 面包 \U0001f600 \u00a0")


@pytest.mark.parametrize("how", ["said", "refused", pytest.param("busy", marks=pytest.mark.slow)])
def test_label_commands_no_terminal(how: str, echoes: Echoes, place: Path) -> None:
    ended = forked(asking("label", echoes.url(how), "--limit", "3"), place)
    assert_harmless(ended)
    assert ended.code == {"said": 0, "refused": 4, "busy": 3}[how], ended.err
    if how == "refused":
        assert rb"\x1b]52;c;" in ended.err, "it is shown, so that the attack is seen"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, "said") for name in sorted(set(ASK) - {"label"})),
        *((name, "refused") for name in ("feedback", "doctor")),
    ],
)
def test_no_command_that_asks_does(name: str, how: str, echoes: Echoes, place: Path) -> None:
    url = echoes.url(how)
    assert_harmless(forked(doctor(url) if name == "doctor" else asking(name, url), place))


@pytest.fixture
def dataset(echoes: Echoes, place: Path) -> Path:
    """A dataset with hostile text in every position, one beside it that a command wrote, and a recipe."""
    assert forked(asking("label", echoes.url("said"), "--limit", "4"), place).code == 0
    write_seeds(place, HOSTILE + SURROGATE)
    shutil.copy(place / "seeds.jsonl", place / "other.jsonl")
    return write_poisoned(place, HOSTILE)


@pytest.mark.slow
def test_no_command_that_looks_does(echoes: Echoes, place: Path, dataset: Path) -> None:
    recipe = place / f"{COMMANDS.replace('/', '')[:60]}.jinja"
    recipe.write_text(FRONT.replace("X.", f'"{MARKUP[:20]}"') + "{{ instruction }}{{ nope }}")
    for name in LOOK:
        for args in looking(name, str(dataset), "label.jsonl", str(recipe), echoes.root + "/refused"):
            assert_harmless(forked(args, place))
    page = Elements()
    page.feed((place / "page.html").read_text(encoding="utf-8"))
    assert {"table", "svg", "details"} <= page.names
    assert not page.names & {"script", "img", "iframe", "object", "embed", "link", "base", "form", "input", "animate"}
    assert not [key for key in page.attributes if key.startswith("on") or key in ("src", "srcdoc", "style", "action")]
    assert all(link.startswith("#") for link in page.links)


@pytest.mark.parametrize(
    "args",
    [
        ("label", "\x1b]0;x\x07.jsonl", "-r", "answer", "-o", "o.jsonl"),
        ("label", "seeds.jsonl", "-r", "\x1b[31mx", "-o", "o.jsonl"),
        ("label", "seeds.jsonl", "-r", "answer", "-t", "echo", "-o", "\x1b[31m\u202e.jsonl"),
        ("label", "seeds.jsonl", "-r", "answer", "--set", "\x1b[31m=1", "-o", "o.jsonl"),
        ("filter", "seeds.jsonl", "-c", "regex:(\x1b[31m", "-o", "o.jsonl"),
        ("\x1b[31mlabel",),
    ],
)
def test_arguments_are_shown_escaped(args: tuple[str, ...], place: Path) -> None:
    assert_harmless(forked(args, place))
