"""Base URLs, secrets and where they may go."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from distill_data.errors import UsageError
from distill_data.teachers.endpoint import (
    Credentials,
    base_url_of,
    is_loopback,
    normalise,
    proxy_of,
    read_credentials,
)
from distill_data.teachers.profiles import find_profile, load_profiles
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
        "http://2852039166/",
        "http://0xa9.254.43518/",
        "http://[fe80::1%25eth0]/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://[fd00:ec2::254]/v1",
        "http://metadata.google.internal/v1",
        "http://metadata.google.internal./v1",
        "http://[fd00:0ec2:0::254]/v1",
        "http://0x64.100.100.200/",
        "http://１６９。254.169.254/",
        "https://ü..example/v1",
    ],
)
def test_what_is_no_base_url_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match="base URL"):
        normalise(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        "https://joe:hunter22@x.example/v1",
        "https://hunter22@x.example/v1",
        "joe:hunter22@x.example",
        "https://x.example/v1?key=hunter22",
    ],
)
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
        ("http://127.1", True),
        ("http://2130706433", True),
        ("http://[::ffff:127.0.0.1]", True),
        ("http://0x0a000001", False),
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


CONFIG = """
[models.theirs]
model = "openai/m"
base_url = "{url}"
{more}
"""
NAMED = 'api_key_env = "MY_KEY"'
HEADER = 'headers = { X-Team = "MY_KEY" }'
OPENAI = "https://api.openai.com/v1"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An ambient key, another one, and a working directory without a configuration."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MY_KEY", "another-key")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("url", "more", "sent"),
    [
        (SAFE, "", []),
        ("http://localhost:8000/v1", "", []),
        (OPENAI, "", [f"Bearer {KEY}"]),
        (SAFE, NAMED, ["Bearer another-key"]),
        (SAFE, 'api_key_env = "OPENAI_API_KEY"', [f"Bearer {KEY}"]),
        (SAFE, HEADER, ["another-key"]),
    ],
)
def test_a_server_that_a_file_names_gets_only_the_keys_that_it_names(
    url: str, more: str, sent: list[str], keys: None
) -> None:
    Path("named.toml").write_text(CONFIG.format(url=url, more=more))
    profile = find_profile("theirs", load_profiles(Path("named.toml")))
    assert list(read_credentials(profile, base_url_of(profile)).headers.values()) == sent


@pytest.mark.parametrize("more", [NAMED, HEADER, 'api_key_env = "OPENAI_API_KEY"'])
def test_a_file_that_nobody_named_sends_no_key_to_another_machine(
    more: str, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("distill.toml").write_text(CONFIG.format(url=SAFE, more=more))
    found = find_profile("theirs", load_profiles())
    with pytest.raises(UsageError, match=r"to teacher\.example.*--config distill\.toml"):
        read_credentials(found, SAFE)
    assert read_credentials(find_profile("theirs", load_profiles(Path("distill.toml"))), SAFE).headers
    monkeypatch.setenv("DISTILL_CONFIG", "distill.toml")
    assert read_credentials(find_profile("theirs", load_profiles()), SAFE).headers


def test_a_file_that_nobody_named_may_do_the_rest(keys: None) -> None:
    Path("distill.toml").write_text(CONFIG.format(url="http://127.0.0.1:1/v1", more=NAMED))
    found = find_profile("theirs", load_profiles())
    assert dict(read_credentials(found, found.base_url).headers) == {"Authorization": "Bearer another-key"}
    Path("distill.toml").write_text(CONFIG.format(url=SAFE, more=""))
    assert not read_credentials(find_profile("theirs", load_profiles()), SAFE).headers


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_a_server_that_the_user_names_gets_the_ambient_key(
    how: str, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "variable":
        monkeypatch.setenv("OPENAI_BASE_URL", SAFE)
    profile = find_profile("openai/m", {}, base_url=SAFE if how == "flag" else None)
    url = base_url_of(profile)
    assert (url, dict(read_credentials(profile, url).headers)) == (SAFE, {"Authorization": f"Bearer {KEY}"})
    Path("distill.toml").write_text(CONFIG.format(url="https://elsewhere.example/v1", more=""))
    moved = find_profile("theirs", load_profiles(), base_url=SAFE)
    assert dict(read_credentials(moved, base_url_of(moved)).headers) == {"Authorization": f"Bearer {KEY}"}


SECRET = "sk-CANARY-0a1B/2c3D+4e5F=5e6F"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer [redacted]"),
        (f"?key={quote(SECRET, safe='')}&x=1", "?key=[redacted]&x=1"),
        (json.dumps({"key": SECRET}).replace("/", "\\/"), '{"key": "[redacted]"}'),
        ("Incorrect API key provided: sk-CANAR********5e6F. See", "Incorrect API key provided: [redacted]. See"),
        ("key sk-C...: no", "key [redacted]: no"),
        ("key sk-CANARY…5e6F: no", "key [redacted]: no"),
        ("key sk-CANARY[...]: no", "key [redacted]: no"),
        ("key sk-CANARY-0a1B/2••••: no", "key [redacted]: no"),
        ("an ellipsis… and • a bullet", "an ellipsis… and • a bullet"),
        (quote(SECRET), "[redacted]"),
        (quote(SECRET, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"), "[redacted]"),
        ("no ...5e6F", "no [redacted]"),
        ("**Bold** and a*** text... as it was", "**Bold** and a*** text... as it was"),
    ],
)
def test_what_a_server_says_back_is_redacted(said: str, left: str) -> None:
    assert Credentials({}, (SECRET, "")).redact_refusal(said.encode()).decode() == left


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_no_more_than_the_ends_of_a_key_in_base64_are_left(before: str) -> None:
    said = b64encode(f"{before}{SECRET} and more".encode())
    left = Credentials({}, (SECRET,)).redact(said).decode()
    assert "[redacted]" in left
    assert not any(said.decode()[at : at + 8] in left for at in range(len(before) + 4, len(SECRET)))


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


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://joe:hunter22@proxy.example:1080", "socks5 proxy"),
        ("http://joe:hunter22@proxy.example:port", "cannot be read"),
        ("http://joe:hunter22@[proxy", "cannot be read"),
        ("joe:hunter22@", "cannot be read"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_and_its_password_is_not_shown(
    proxy: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(UsageError, match=said) as refusal:
        proxy_of(SAFE)
    assert "hunter22" not in str(refusal.value)
    assert proxy_of("http://localhost:8000/v1") is None
