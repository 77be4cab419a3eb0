"""An environment without the keys, proxies and settings of whoever runs the tests of teachers."""

from __future__ import annotations

import pytest

AMBIENT = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DISTILL_CONFIG", "DISTILL_CACHE", "DISTILL_TEACHER", "XDG_CACHE_HOME")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*AMBIENT, *PROXIES, *(name.upper() for name in PROXIES)):
        monkeypatch.delenv(name, raising=False)
