"""Base URLs, secrets and where they may go."""

from __future__ import annotations

from typing import Any

import pytest

from distill_data.errors import UsageError
from distill_data.teachers.endpoint import is_loopback, normalise, proxy_of, read_credentials
from distill_data.teachers.protocol import Profile

KEY = "sk-0123456789"
AWAY = "http://teacher.example/v1"
SAFE = "https://teacher.example/v1"


def credentials(url: str, **settings: Any) -> dict[str, str]:
    return dict(read_credentials(Profile("mine", "openai/m", **settings), url).headers)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("https://API.Example:443/v1/", "https://api.example/v1"),
        ("http://localhost:80", "http://localhost"),
        ("HTTP://127.0.0.1:8000//", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://api.example:8443/a/b", "https://api.example:8443/a/b"),
    ],
)
def test_one_spelling_for_each_url(written: str, normal: str) -> None:
    assert normalise(written) == normal
    assert normalise(normal) == normal


@pytest.mark.parametrize(
    "wrong",
    [
        "localhost:8000",
        "ftp://teacher.example",
        "https://",
        "",
        "https://teacher.example/v1?key=1",
        "https://teacher.example/v1#top",
        "https://teacher.example:port/v1",
        "https://[::1/v1",
        "https://teacher.example/v 1",
        "https://teacher.example/v1/chat/completions",
        "https://teacher.example/v1/completions",
        "https://teacher.example/v1/embeddings/",
        "http://169.254.169.254/latest",
    ],
)
def test_what_is_no_base_url_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match="base URL"):
        normalise(wrong)


@pytest.mark.parametrize("wrong", ["https://joe:hunter22@teacher.example/v1", "https://hunter22@teacher.example/v1"])
def test_a_password_in_the_url_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(UsageError) as refusal:
        normalise(wrong)
    assert "hunter22" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "home"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http://box.localhost", True),
        ("http://localhost.example", False),
        ("http://10.0.0.1", False),
        ("http://127.0.0.1.example", False),
    ],
)
def test_loopback(url: str, home: bool) -> None:
    assert is_loopback(url) is home


def test_the_ambient_key_goes_over_tls_and_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for url in (SAFE, "http://localhost:8000/v1"):
        assert credentials(url) == {"Authorization": f"Bearer {KEY}"}


def test_the_ambient_key_stays_at_home_in_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert credentials(AWAY) == {}
    assert credentials(AWAY, insecure_http=True) == {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize("named", [{"api_key_env": "MY_KEY"}, {"headers": {"api-key": "MY_KEY"}}])
def test_a_named_secret_in_plain_text_is_an_error(monkeypatch: pytest.MonkeyPatch, named: dict[str, Any]) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(UsageError, match="insecure_http"):
        credentials(AWAY, **named)
    assert KEY in " ".join(credentials(AWAY, insecure_http=True, **named).values())


def test_a_named_key_wins_over_the_ambient_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MY_KEY", " mine\n")
    assert credentials(SAFE, api_key_env="MY_KEY") == {"Authorization": "Bearer mine"}


def test_a_header_may_take_the_place_of_the_bearer_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("BASIC", "Basic abc")
    assert credentials(SAFE, headers={"authorization": "BASIC"}) == {"authorization": "Basic abc"}


@pytest.mark.parametrize("named", [{"api_key_env": "MY_KEY"}, {"headers": {"api-key": "MY_KEY"}}])
@pytest.mark.parametrize("value", [None, "", "  ", "two\nlines", "schlüssel"])
def test_an_unusable_variable_is_named_and_its_value_is_not(
    monkeypatch: pytest.MonkeyPatch, named: dict[str, Any], value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(UsageError, match="MY_KEY") as refusal:
        credentials(SAFE, **named)
    assert not (value and value.strip() and value.strip() in str(refusal.value))


def test_openai_without_a_key_is_an_error_and_other_servers_are_not() -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        credentials("https://api.openai.com/v1")
    assert credentials(SAFE) == {}


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_of(SAFE) is None
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert proxy_of(SAFE) == "http://proxy.example:3128"
    assert proxy_of(AWAY) is None
    assert proxy_of("https://localhost/v1") is None
    monkeypatch.setenv("no_proxy", "teacher.example")
    assert proxy_of(SAFE) is None


def test_a_proxy_without_a_scheme_speaks_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "proxy.example:3128")
    assert proxy_of(SAFE) == "http://proxy.example:3128"


def test_another_kind_of_proxy_is_refused_and_its_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://joe:hunter22@proxy.example:1080")
    with pytest.raises(UsageError, match="socks5 proxy") as refusal:
        proxy_of(SAFE)
    assert "hunter22" not in str(refusal.value)
    assert proxy_of("http://localhost:8000/v1") is None
