"""distill.toml and teacher names: what is read, and what every mistake is answered with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distill_data.errors import UsageError
from distill_data.teachers import BACKENDS, Resolved, bound_concurrency
from distill_data.teachers.prices import FREE, Price
from distill_data.teachers.profiles import DEFAULT_TEACHER, find_profile, load_profiles
from distill_data.teachers.protocol import Capabilities, Profile

WHOLE = """\
[models.big]
model = "openai/org/some-model"
base_url = "https://gateway.example/v1"
api_key_env = "GATEWAY_KEY"
headers = { X-Team = "GATEWAY_TEAM" }
timeout = 300
concurrency = 32
rpm = 500
tpm = 200000
price = { input = 2.5, output = 10, cached = 0.25 }
insecure_http = false
capabilities = { choice = "none", json_schema = true, seed = true, logprobs = false, max_tokens_field = "max_tokens" }

[models.small]
model = "local/smollm2"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "distill.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key(tmp_path: Path) -> None:
    profiles = load_profiles(written(tmp_path, WHOLE))
    assert list(profiles) == ["big", "small"]
    assert profiles["big"] == Profile(
        name="big",
        model="openai/org/some-model",
        base_url="https://gateway.example/v1",
        base_url_from="named",
        api_key_env="GATEWAY_KEY",
        headers={"X-Team": "GATEWAY_TEAM"},
        timeout=300,
        concurrency=32,
        rpm=500,
        tpm=200000,
        price=Price(2.5, 10, 0.25),
        capabilities={
            "choice": "none",
            "json_schema": True,
            "seed": True,
            "logprobs": False,
            "max_tokens_field": "max_tokens",
        },
    )
    assert profiles["small"].price == FREE


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_profiles() == {}
    written(tmp_path, WHOLE)
    assert set(load_profiles()) == {"big", "small"}
    other = tmp_path / "other.toml"
    other.write_text('[models.third]\nmodel = "echo"\n')
    monkeypatch.setenv("DISTILL_CONFIG", str(other))
    assert set(load_profiles()) == {"third"}
    assert set(load_profiles(tmp_path / "distill.toml")) == {"big", "small"}
    monkeypatch.setenv("DISTILL_CONFIG", str(tmp_path / "gone.toml"))
    with pytest.raises(UsageError, match=r"gone\.toml"):
        load_profiles()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_profiles(tmp_path)
    with pytest.raises(UsageError, match="longer than 1048576 bytes"):
        load_profiles(Path("/dev/zero"))
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"[models.\xff]")
    with pytest.raises(UsageError, match=r"bad\.toml"):
        load_profiles(bad)


M = '[models.m]\nmodel = "openai/x"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models.m\n", "not TOML.*line 1"),
        ('[model.m]\nmodel = "echo"', "no key 'model'; did you mean 'models'"),
        ("models = 3", "models must be tables"),
        ("[models]\nm = 3", r"\[models.m\] must be a table"),
        ("[models.m]\ntimeout = 3", r"\[models.m\]: the key model is missing"),
        (M + 'base_ulr = "x"', "no key 'base_ulr'; did you mean 'base_url'"),
        (M + 'api_key = "sk-hunter22"', "no key 'api_key'; did you mean 'api_key_env'"),
        (M + 'api_key_env = "sk-hunter22"', "api_key_env must be the name of an environment variable"),
        (M + 'headers = { X-Key = "sk-hunter22" }', "headers must be a table of header names"),
        (M + 'headers = { "X Key" = "NAME" }', "headers must be a table of header names"),
        (M + 'headers = { Content-Length = "NAME" }', "headers must be a table of header names"),
        (M + "timeout = 0", r"\[models.m\]: timeout must be a number of seconds above 0"),
        (M + "timeout = inf", "timeout must be"),
        (M + "timeout = nan", "timeout must be"),
        (M + "timeout = true", "timeout must be"),
        (M + "concurrency = 1.5", "concurrency must be a whole number above 0"),
        (M + "rpm = -1", "rpm must be"),
        (M + "price = 3", "price must be"),
        (M + "price = { input = 3 }", "price must be"),
        (M + "price = { input = 3, output = -1 }", "price must be"),
        (M + "price = { input = 3, output = 1, cached = true }", "price must be"),
        (M + "price = { input = 3, output = 1, write = 2 }", "price must be"),
        (M + 'insecure_http = "yes"', "insecure_http must be true or false"),
        (M + "capabilities = 3", "capabilities must be a table"),
        (M + "capabilities = { seeds = true }", "capabilities: there is no key 'seeds'; did you mean 'seed'"),
        (M + "capabilities = { seed = 1 }", r"capabilities\.seed must be true or false"),
        (M + 'capabilities = { choice = "regex" }', r"capabilities\.choice must be one of grammar"),
        ('[models.m]\nmodel = "opneai/x"', "there is no backend 'opneai'; did you mean 'openai'"),
        ('[models.m]\nmodel = "openai"', "openai/MODEL"),
        ('[models."a/b"]\nmodel = "echo"', "no slash"),
        ('[models.echo]\nmodel = "echo"', "not a backend's"),
        ('[models.m]\nmodel = "local/smollm2"\nbase_url = "http://localhost"', "takes no base URL"),
    ],
)
def test_a_mistake_names_the_file_and_the_key_and_shows_no_value(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        load_profiles(written(tmp_path, text))
    assert "distill.toml" in str(refusal.value)
    assert "hunter22" not in str(refusal.value)


@pytest.mark.parametrize("name", ["openai/gpt-x", "openai/org/name", DEFAULT_TEACHER, "local//models/x.gguf", "echo"])
def test_a_name_without_a_profile(name: str) -> None:
    profile = find_profile(name, {})
    assert (profile.name, profile.model) == (name, name)
    assert profile.price == (None if name.startswith("openai") else FREE)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("opneai/gpt-x", "no backend 'opneai'; did you mean 'openai'.*openai, local, transformers, echo"),
        ("openai", "openai/MODEL"),
        ("local/", "local/MODEL"),
        ("bgi", r"no profile of this name \(profiles: big\); did you mean 'big'"),
        ("", "no profile"),
        ("/x", "no backend ''"),
    ],
)
def test_an_unknown_name(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        find_profile(name, {"big": Profile("big", "openai/x")})


def test_flags_win_over_the_profile_and_headers_are_added() -> None:
    profile = Profile("big", "openai/x", base_url="https://a.example", timeout=5, headers={"A": "ONE", "B": "TWO"})
    found = find_profile("big", {"big": profile}, base_url="https://b.example", headers={"B": "THREE"}, timeout=None)
    assert (found.base_url, found.timeout, found.headers) == ("https://b.example", 5, {"A": "ONE", "B": "THREE"})


@pytest.mark.parametrize(
    ("override", "flag"),
    [
        ({"concurrency": 0}, "--concurrency"),
        ({"timeout": -1.0}, "--timeout"),
        ({"api_key_env": "sk-hunter22"}, "--api-key-env"),
        ({"headers": {"X": "sk-hunter22"}}, "--header "),
        ({"rpm": float("nan")}, "--rpm"),
    ],
)
def test_a_flag_that_cannot_be_is_named(override: dict[str, Any], flag: str) -> None:
    with pytest.raises(UsageError, match=flag) as refusal:
        find_profile("openai/x", {}, **override)
    assert "hunter22" not in str(refusal.value)


@pytest.mark.parametrize("override", [{"base_url": "http://localhost"}, {"api_key_env": "K"}, {"headers": {"A": "K"}}])
@pytest.mark.parametrize("name", [DEFAULT_TEACHER, "echo"])
def test_a_server_s_settings_are_refused_where_there_is_no_server(name: str, override: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="openai/MODEL"):
        find_profile(name, {}, **override)


def test_concurrency_is_bounded_by_the_engine_s_slots() -> None:
    resolved = Resolved({}, Capabilities())
    assert bound_concurrency(Profile("x", "openai/x", concurrency=500), resolved) == 500
    assert bound_concurrency(Profile("x", "local/smollm2", concurrency=500), resolved) == 4
    assert bound_concurrency(Profile("x", "local/smollm2", concurrency=2), resolved) == 2


def test_every_backend_has_the_three_functions() -> None:
    import importlib

    for module in BACKENDS.values():
        for name in ("resolve", "open_teacher", "slots"):
            assert callable(getattr(importlib.import_module(module), name))
