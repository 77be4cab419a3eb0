"""A key goes to its server and nowhere else: every command, every way to end, at debug level, all files and streams."""

from __future__ import annotations

import base64
import logging
import shutil
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from distill_data.engine.journal import Journal
from distill_data.teachers.wire import Wire
from tests.poison import write_poisoned
from tests.system.echoes import Echoes, echoing
from tests.system.every_command import (
    ASK,
    FEW,
    LOOK,
    NAMES,
    Ended,
    asking,
    doctor,
    forked,
    looking,
    warm_up,
    write_seeds,
)

RANDOM = "Q7XvZ2kWq9Jx4VbZ8QyXm3Kz"
KEY = f"sk-CANARY-{RANDOM}"
HEADER = f"team-CANARY-{RANDOM[::-1]}"
SECRETS = {"OPENAI_API_KEY": KEY, "TEAM": HEADER, "HF_TOKEN": f"hf_{RANDOM}", "OPENAI_LOG": "debug"}
OTHERWISE = {"--json", "--dry-run", "--row", "--rejects"}
"""Options that show in another way what is shown already."""
WITH_HEADER = ("--header", "X-Team=TEAM")
FAULTS = [
    "base64", "400", "quota", "500", "garbage", "error-in-200", "cuts", "redirect", "here", "nowhere",
]  # fmt: skip


def traces() -> list[bytes]:
    """What would tell the secret: as it is, in other spellings, and any four characters of its random part."""
    found = []
    for secret in (KEY, HEADER):
        plain = secret.encode()
        shifts = [base64.b64encode(bytes(shift) + plain)[8:-4] for shift in range(3)]
        quoted = urllib.parse.quote(secret).replace("-", "%2D").encode()
        found += [
            plain,
            plain[::-1],
            quoted,
            plain.hex().encode(),
            *(shift[at : at + 8] for shift in shifts for at in (0, 8)),
        ]
    for text in (RANDOM, RANDOM[::-1]):
        found += [text[at : at + 4].encode() for at in range(len(text) - 3)]
    return found


TRACES = traces()


def everything(folder: Path, ended: Ended) -> Iterator[tuple[str, bytes]]:
    yield "stdout", ended.out
    yield "stderr", ended.err
    for path in sorted(folder.rglob("*")):
        yield str(path), str(path.relative_to(folder)).encode()
        if path.is_file() and path.name != "ledger.jsonl":
            yield str(path), path.read_bytes()


def assert_clean(folder: Path, ended: Ended) -> None:
    for where, data in everything(folder, ended):
        assert not [trace for trace in TRACES if trace in data], f"{ended.args} left the key in {where}: {data!r}"


def debug() -> None:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    if request.node.get_closest_marker("slow"):
        warm_up()
    write_seeds(tmp_path, "hello")
    return tmp_path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echoes]:
    with echoing(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def echoes(server: Echoes) -> Echoes:
    return server.forgetful()


def ask(name: str, echoes: Echoes, how: str, place: Path, before: Callable[[], None] = debug) -> Ended:
    """Run a command that asks, twice where it left something behind: a resumed run reads what the first one wrote."""
    url = "http://127.0.0.1:1/v1" if how == "nowhere" else echoes.url(how)
    few = FEW if name == "label" else ()
    args = doctor(url, *WITH_HEADER) if name == "doctor" else asking(name, url, *WITH_HEADER, *few)
    ended = forked(args, place, SECRETS, before)
    assert_clean(place, ended)
    return ended


def test_the_table_has_every_command() -> None:
    assert sorted({*ASK, *LOOK, "doctor"}) == NAMES


@pytest.mark.parametrize("how", ["ok", "401", "masked"])
def test_label_tells_nobody(how: str, echoes: Echoes, place: Path) -> None:
    ended = ask("label", echoes, how, place)
    assert ended.code == (0 if how == "ok" else 4)
    sent = echoes.ledger()
    assert sent
    assert {(line["headers"].get("authorization"), line["headers"].get("x-team")) for line in sent} == {
        (f"Bearer {KEY}", HEADER)
    }
    assert (b"[redacted]" in ended.err) is (how != "ok")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how"),
    [
        *(("label", how) for how in FAULTS),
        *(("feature", how) for how in ("401", "garbage")),
        *(("doctor", how) for how in ("masked", "500", "redirect")),
    ],
)
def test_no_fault_makes_a_command_tell(name: str, how: str, echoes: Echoes, place: Path) -> None:
    ended = ask(name, echoes, how, place)
    assert ended.code in (2, 3, 4) or (name, how) == ("doctor", "400"), ended
    assert b"Traceback" not in ended.err
    assert not [line for line in echoes.ledger() if "elsewhere" in line["path"]], "a redirect was followed"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ok", "401"])
@pytest.mark.parametrize("name", sorted(set(ASK) - {"label", "feature"}))
def test_every_command_that_asks_keeps_it(name: str, how: str, echoes: Echoes, place: Path) -> None:
    ended = ask(name, echoes, how, place)
    assert ended.code in (0, 3, 4), ended
    assert f"Bearer {KEY}" in {line["headers"].get("authorization") for line in echoes.ledger()}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["401", "redirect"])
def test_the_batch_lane_keeps_it(how: str, echoes: Echoes, place: Path) -> None:
    ended = forked(asking("label", echoes.url(how), *WITH_HEADER, "--lane", "batch"), place, SECRETS, debug)
    assert_clean(place, ended)
    assert ended.code in (2, 3, 4), ended


@pytest.mark.slow
def test_a_server_that_hangs_is_told_nothing_more(echoes: Echoes, place: Path) -> None:
    args = [*asking("label", echoes.url("hangs"), *WITH_HEADER, "--limit", "1")]
    args[args.index("--timeout") + 1] = "0.2"
    ended = forked(tuple(args), place, SECRETS, debug)
    assert_clean(place, ended)
    assert ended.code == 3 or ended.code == 4


@pytest.mark.slow
def test_commands_that_ask_nobody_do_not_know_it(echoes: Echoes, place: Path) -> None:
    made = forked(asking("label", echoes.url("ok")), place, SECRETS)
    assert made.code == 0, made.err
    data = write_poisoned(place, "plain")
    shutil.copy(place / "seeds.jsonl", place / "other.jsonl")
    asked = len(echoes.ledger())
    for name in LOOK:
        for args in looking(name, str(data), "label.jsonl", "r.jinja", f"{echoes.root}/401"):
            if OTHERWISE & {*args}:
                continue
            assert_clean(place, forked(args, place, SECRETS, debug))
    hub = {"api"} if find_spec("huggingface_hub") else set()
    assert {line["path"].split("/")[2] for line in echoes.ledger()[asked:]} == hub, "only push asks, and the Hub"


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


def bug_in_the_transport() -> None:
    debug()
    Wire.ask = boom  # type: ignore[assignment, method-assign]


def bug_in_the_journal() -> None:
    debug()
    Journal.commit = boom  # type: ignore[assignment, method-assign]


@pytest.mark.parametrize("bug", [bug_in_the_transport, bug_in_the_journal])
def test_a_traceback_does_not_hold_it(bug: Callable[[], None], echoes: Echoes, place: Path) -> None:
    ended = ask("label", echoes, "401" if bug is bug_in_the_transport else "ok", place, bug)
    assert ended.code == 1
    assert b"RuntimeError: a bug of ours" in ended.err


@pytest.mark.parametrize(
    "name",
    ["label", *(pytest.param(name, marks=pytest.mark.slow) for name in ("expand", "feedback", "score", "doctor"))],
)
def test_a_key_in_a_url_is_refused_and_not_shown(name: str, place: Path) -> None:
    url = f"https://user:{KEY}@127.0.0.1:1/v1"
    ended = forked(doctor(url) if name == "doctor" else asking(name, url), place, {}, debug)
    assert_clean(place, ended)
    assert ended.code == 2
    assert b"holds a user name or password" in ended.err + ended.out


@pytest.mark.parametrize("option", [("--api-key", KEY), ("--api-key-env", KEY), ("--header", f"X-Team={KEY}")])
def test_a_key_as_an_argument_is_refused_and_not_shown(option: tuple[str, str], place: Path) -> None:
    ended = forked(asking("label", "http://127.0.0.1:1/v1", *option), place)
    assert_clean(place, ended)
    assert ended.code == 2
