"""What of this machine, installation and endpoint would keep a run from working. Pays nothing and changes nothing.

Environment variables are named, their values never shown.
"""

from __future__ import annotations

import os
import platform
import ssl
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import distill_data
from distill_data.data.transports import hush_transports
from distill_data.errors import UsageError
from distill_data.teachers import weights
from distill_data.teachers.endpoint import base_url_of, proxy_of, read_credentials
from distill_data.teachers.profiles import DEFAULT_TEACHER, ON_THE_WIRE, find_profile, load_profiles
from distill_data.teachers.protocol import Profile

CORE = ("httptools", "jinja2", "jsonlines", "jsonschema", "openai", "orjson", "pyyaml", "regex", "typer", "uvloop")
EXTRAS = {"xllamacpp": "local", "datasets": "data", "transformers": "features", "torch": "features"}
"""Optional packages, and the extra that installs each."""
VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_TOKEN", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE")
_ANY = "openai/any"
"""Stands for a server's models where none is named."""
_SLOW_SYNC = 0.05
"""Seconds for one write made durable, from which a disk is worth a remark."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    """False where it would stop the run that was asked about."""
    value: str
    advice: str = ""


def doctor(
    teacher: str | None = None,
    base_url: str | None = None,
    api_key_env: str | None = None,
    headers: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> list[Finding]:
    """Look at everything; never raises for what it finds.

    The teacher is the one that a run with the same arguments would ask: given here, else $DISTILL_TEACHER, else the
    default. A server is asked for its list of models where one is named here or in $OPENAI_API_KEY, $OPENAI_BASE_URL.
    """
    name = teacher or os.environ.get("DISTILL_TEACHER") or (_ANY if base_url else DEFAULT_TEACHER)
    findings = [Finding("python", sys.version_info >= (3, 11), platform.python_version()), *_packages(), _variables()]
    findings += [_shipped("prompts", "*.jinja"), _shipped("seeds", "*.jsonl")]
    profile: Profile | None = None
    try:
        profiles = load_profiles(config)
        findings.append(Finding("profiles", True, ", ".join(sorted(profiles)) or "none"))
        profile = find_profile(name, profiles, base_url=base_url, api_key_env=api_key_env, headers=headers)
        findings.append(Finding("teacher", True, profile.model))
    except UsageError as error:
        findings.append(Finding("teacher", False, name, str(error)))
    backend = profile.model.partition("/")[0] if profile else ""
    findings += _embedded(needed=backend == "local")
    if profile and backend in ON_THE_WIRE:
        findings.append(_endpoint(profile))
    elif os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        findings.append(_endpoint(find_profile(_ANY, {})))
    return [*findings, _disk(Path())]


def _packages() -> list[Finding]:
    findings = [Finding("distill-data", True, distill_data.__version__)]
    for name in CORE:
        version = _version(name)
        advice = "" if version else "Install the package again: pip install distill-data"
        findings.append(Finding(name, bool(version), version or "missing", advice))
    for name, extra in EXTRAS.items():
        version = _version(name)
        advice = "" if version else f"Optional: install the extra `{extra}` (in a checkout: pip install '.[{extra}]')"
        findings.append(Finding(name, True, version or "not installed", advice))
    return findings


def _version(package: str) -> str:
    from importlib import metadata  # costs as much as all of this package, and runs import this module too

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _variables() -> Finding:
    own = sorted(name for name in os.environ if name.startswith("DISTILL_"))
    known = [name for name in VARIABLES if os.environ.get(name) or os.environ.get(name.lower())]
    return Finding("variables set", True, ", ".join([*own, *known]) or "none")


def _shipped(kind: str, pattern: str) -> Finding:
    """Files inside the package, or beside it in a checkout."""
    package = Path(distill_data.__file__).parent
    for folder in (package / kind, package.parent / kind):
        if folder.is_dir():
            return Finding(kind, True, f"{len(list(folder.rglob(pattern)))} in {folder}")
    return Finding(kind, False, "not found", "The installation is incomplete: pip install distill-data again.")


def _embedded(needed: bool) -> list[Finding]:
    """The engine and the weights. Their absence matters only to a run that would ask them."""
    try:
        import_module("xllamacpp")
        engine = Finding("embedded engine", True, "can be loaded")
    except ImportError as error:
        engine = Finding(
            "embedded engine",
            not needed,
            str(error),
            "install the extra `local` (in a checkout: pip install '.[local]')",
        )
    findings = [engine]
    for name in weights.WEIGHTS:
        try:
            there = weights.is_whole(name)
        except OSError:
            there = False
        advice = "" if there else f"Run: distill-data models pull {name}"
        value = f"intact in {weights.cache()}" if there else f"not in {weights.cache()}"
        findings.append(Finding(f"weights of {name}", there or not needed, value, advice))
    return findings


def _endpoint(profile: Profile) -> Finding:
    """Whether the server lists its models, and this one among them."""
    import openai

    hush_transports()
    try:
        base_url = base_url_of(profile)
        credentials = read_credentials(profile, base_url)
        proxy = proxy_of(base_url)
    except UsageError as error:
        return Finding("endpoint", False, "not asked", str(error))
    where = f"endpoint {base_url}"
    headers: dict[str, Any] = dict(credentials.headers)
    if not any(name.lower() == "authorization" for name in headers):
        headers["Authorization"] = openai.Omit()
    transport = openai.DefaultHttpxClient(  # trusts, and goes, where a run's requests do
        follow_redirects=False, trust_env=False, verify=ssl.create_default_context(), proxy=proxy
    )
    try:
        with openai.OpenAI(
            base_url=base_url, api_key="unused", max_retries=0, timeout=10, http_client=transport
        ) as client:
            body = client.models.with_raw_response.list(extra_headers=headers).content
    except openai.APIStatusError as error:
        return _refused(where, error.status_code)
    except openai.APIConnectionError as error:
        reason = credentials.redact_text(str(error.__cause__ or error))
        return Finding(where, False, f"cannot be reached: {reason}", "Is the server up, and the URL right?")
    return _listed(where, profile, credentials.redact(body))


def _refused(where: str, status: int) -> Finding:
    if status in (404, 405, 501):
        advice = "If requests fail with 404 too, the base URL may lack its /v1."
        return Finding(where, True, f"reachable, but lists no models (status {status})", advice)
    advice = {401: "The key is missing or wrong.", 403: "The key may not do this."}.get(status, "See the server's log.")
    return Finding(where, False, f"answered with status {status}", advice)


def _listed(where: str, profile: Profile, body: bytes) -> Finding:
    import orjson

    try:
        models = [str(entry["id"]) for entry in orjson.loads(body)["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return Finding(where, False, "answered, but not with a list of models", "Is the base URL right?")
    wanted = profile.model.partition("/")[2]
    if wanted in models or profile.model == _ANY:
        return Finding(where, True, f"reachable, {len(models)} models")
    shown = ", ".join(models[:5]) + (", …" if len(models) > 5 else "")
    return Finding(where, False, f"reachable, but does not list {wanted}", f"It lists: {shown or 'nothing'}")


def _disk(folder: Path) -> Finding:
    """How long it takes here to make a small write durable: every answer waits for one, shared with its neighbours."""
    from statistics import median

    sync = getattr(os, "fdatasync", os.fsync)
    times = []
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            for _ in range(20):
                start = time.perf_counter()
                file.write(bytes(2048))
                sync(file.fileno())
                times.append(time.perf_counter() - start)
    except OSError as error:
        return Finding(
            "disk", False, f"{folder.resolve()} cannot be written: {error.strerror}", "Choose another output folder."
        )
    typical = median(times)
    advice = "Slow; a run on a local disk is faster." if typical > _SLOW_SYNC else ""
    return Finding("disk", True, f"{typical * 1000:.2f} ms for a durable write here", advice)
