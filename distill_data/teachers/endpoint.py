"""An HTTP endpoint before it is asked: its URL, the secrets sent along, the proxy on the way. Sends nothing."""

from __future__ import annotations

import json
import os
import re
import stat
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path
from shlex import quote as quote_word
from typing import NoReturn
from urllib.parse import quote, urlsplit, urlunsplit

from distill_data.data.addresses import address_of, is_loopback
from distill_data.errors import UsageError
from distill_data.teachers.protocol import Profile

METADATA = frozenset({"metadata", "metadata.google.internal", "fd00:ec2::254", "100.100.100.200"})
"""Where clouds keep their secrets, beside the link-local addresses."""
OPENAI_URL = "https://api.openai.com/v1"
OPENAI_HOST = "api.openai.com"
AMBIENT_KEY = "OPENAI_API_KEY"
PORTS = {"http": 80, "https": 443}
_MASK = rb"(?:\*{2,}|\.{3}|\[\.{3}\]|\xe2\x80\xa6|(?:\xe2\x80\xa2){2,})[*.]*"
_MASKED = re.compile(rb"(?P<start>[\w+/=-]{0,64})" + _MASK + rb"(?P<end>[\w+/=-]{0,64})")
"""A key that is shown in part, with stars, dots, an ellipsis or bullets for the rest."""
_SHORT = 8
"""Secrets shorter than this are not redacted: a placeholder such as `none` would eat innocent words."""

_LONGEST = 1 << 16
"""Characters of a file that are read for a key."""


class Credentials:
    """Headers that hold secrets. Shows nothing of itself and does not pickle."""

    __slots__ = ("_marks", "_secrets", "headers")

    def __init__(self, headers: Mapping[str, str], secrets: tuple[str, ...]) -> None:
        self.headers = headers
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORT]
        spelled = {form for secret in self._secrets for form in _spellings(secret)}
        self._marks = tuple((form, form.encode()) for form in sorted(spelled, key=len, reverse=True))

    def __repr__(self) -> str:
        return "Credentials(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are never written down")

    def redact(self, data: bytes) -> bytes:
        """The data without the secrets, for servers that say them back."""
        for _, mark in self._marks:
            if mark in data:
                data = data.replace(mark, b"[redacted]")
        return data

    def redact_refusal(self, data: bytes) -> bytes:
        """The same for the body of an error, which may also show the ends of a key and stars between them."""
        if b"**" not in data and b"..." not in data and b"\xe2\x80" not in data:
            return self.redact(data)
        return _MASKED.sub(self._without_ends, self.redact(data))

    def _without_ends(self, masked: re.Match[bytes]) -> bytes:
        start, end = masked["start"].decode(), masked["end"].decode()
        shown = (
            (len(start) > 3 and secret.startswith(start)) or (len(end) > 3 and secret.endswith(end))
            for secret in self._secrets
        )
        return b"[redacted]" if any(shown) else masked[0]

    def redact_text(self, text: str) -> str:
        for mark, _ in self._marks:
            if mark in text:
                text = text.replace(mark, "[redacted]")
        return text


def _spellings(secret: str) -> list[str]:
    """A secret as it stands in text, in a URL, in JSON, in HTML, and in base64 wherever it begins there."""
    shifted = (b64encode(bytes(shift) + secret.encode()).decode()[4 if shift else 0 :] for shift in range(3))
    inner = (text.rstrip("=")[:-1] for text in shifted)  # the last sign depends on what follows
    urls = [quote(secret, safe=safe) for safe in ("", "/")]
    urls += [re.sub("%..", lambda found: found[0].lower(), url) for url in urls]
    in_json = json.dumps(secret)[1:-1]
    return [secret, *urls, in_json, in_json.replace("/", "\\/"), escape(secret), *inner]


def base_url_of(profile: Profile) -> str:
    """The profile's base URL, else $OPENAI_BASE_URL, else OpenAI's; normalised."""
    return normalise(profile.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL)


def normalise(url: str) -> str:
    """One spelling for each base URL: lower case host, no default port, no trailing slash.

    Raises UsageError for what is no base URL. A URL with a password is refused without being shown.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("the base URL cannot be read: its host or port is malformed.") from None
    named = parts.scheme in PORTS and bool(parts.hostname)
    if parts.username is not None or parts.password is not None or ("@" in url and not named):
        raise UsageError(
            "the base URL holds a user name or password; put the key into an environment variable instead."
        )
    if parts.query or parts.fragment or not url.isprintable() or " " in url:
        shown = re.split("[?#]", url)[0]  # what follows is a key, as often as not
        raise UsageError(f"the base URL {shown!r} must not hold a query, a fragment or spaces.")
    if not named or not parts.hostname:
        raise UsageError(f"the base URL {url!r} is not one; write it as http://127.0.0.1:8000/v1.")
    path = parts.path.rstrip("/")
    added = next(filter(path.endswith, ("/chat/completions", "/completions", "/embeddings")), "")
    if added:
        raise UsageError(f"the base URL {url!r} must end before {added}, which is added to it.")
    host = _ascii(parts.hostname)
    address = address_of(host.rstrip("."))
    if (str(address) if address else host.rstrip(".")) in METADATA or (address is not None and address.is_link_local):
        raise UsageError(f"the base URL {url!r} is a link-local address, where clouds keep their secrets; refused.")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != PORTS[parts.scheme]:
        netloc += f":{port}"
    return urlunsplit((parts.scheme, netloc, path, "", ""))


def _ascii(host: str) -> str:
    """A host as name servers are asked for it: letters, digits and dots of other scripts stand for plain ones."""
    try:
        asked = host if host.isascii() else host.encode("idna").decode()
        if not all(0 < len(label) < 64 for label in asked.removesuffix(".").split(".")):
            raise UnicodeError
        return asked
    except UnicodeError:
        raise UsageError("the base URL cannot be read: its host is no name.") from None


def read_credentials(profile: Profile, base_url: str) -> Credentials:
    """The key and the secret headers, from the environment and the file as they are now.

    Raises UsageError where a named variable is unset or a named file holds no key, where OpenAI itself would be asked
    without a key, where a secret that the user named would go to another machine in plain text, and where a file that
    nobody named would send one to another machine at all. The ambient key just stays at home then.
    """
    exposed = urlsplit(base_url).scheme == "http" and not is_loopback(base_url) and not profile.insecure_http
    named = (profile.api_key_env, profile.api_key_file, *profile.headers.values())
    if exposed and any(named):
        raise UsageError(
            f"{profile.name}: {base_url} is plain http to another machine, where anyone on the way can read the key. "
            "Use https, or set insecure_http = true in the model's profile in distill.toml."
        )
    ours = is_loopback(base_url) or urlsplit(base_url).hostname == OPENAI_HOST
    if profile.base_url_from == "found" and not ours and any(named):
        variables = ", ".join(filter(None, named))
        raise UsageError(
            f"{profile.name}: the distill.toml in this folder would send the value of {variables} to "
            f"{urlsplit(base_url).hostname}. If you wrote it, or trust who did, say so: give --config distill.toml, or "
            f"export DISTILL_CONFIG={quote_word(str(Path('distill.toml').absolute()))} once."
        )
    headers = {name: _read_variable(variable, profile.name) for name, variable in profile.headers.items()}
    key = ""
    if profile.api_key_env:
        key = _read_variable(profile.api_key_env, profile.name)
    elif profile.api_key_file:
        key = _read_file(Path(profile.api_key_file).expanduser(), profile.name)
    elif os.environ.get(AMBIENT_KEY, "").strip() and not exposed and may_take_ambient(profile, base_url):
        key = _read_variable(AMBIENT_KEY, profile.name)
    secrets = tuple(filter(None, (key, *headers.values())))
    if not any(name.lower() == "authorization" for name in headers):
        if key:
            headers["Authorization"] = f"Bearer {key}"
        elif urlsplit(base_url).hostname == OPENAI_HOST:
            raise UsageError(
                f"{profile.name}: {OPENAI_HOST} needs a key. Set the environment variable {AMBIENT_KEY}, or name "
                "another one with --api-key-env; for another server give --base-url."
            )
    return Credentials(headers, secrets)


def may_take_ambient(profile: Profile, base_url: str) -> bool:
    """Whether $OPENAI_API_KEY is meant for this server: the user named it by --base-url or $OPENAI_BASE_URL, or it is
    OpenAI's. A file may come with somebody else's project; where it names a server, it names the key as well."""
    return not profile.base_url_from or urlsplit(base_url).hostname == OPENAI_HOST


def proxy_of(base_url: str) -> str | None:
    """The proxy that the environment (HTTPS_PROXY, NO_PROXY, …) asks for. Never for this machine itself.

    Raises UsageError for proxies that do not speak HTTP.
    """
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(base_url)
    if is_loopback(base_url) or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    advice = f"Set {parts.scheme.upper()}_PROXY to an HTTP proxy, or NO_PROXY to {parts.hostname}."
    try:
        found = urlsplit(proxy)
        usable = bool(_ascii(found.hostname or "")) and found.port != 0
    except (ValueError, UsageError):
        usable = False
    if not usable:  # it may hold a password, so it is not shown
        raise UsageError(f"the environment asks for a proxy whose URL cannot be read. {advice}")
    if found.scheme not in PORTS:
        raise UsageError(
            f"the environment asks for a {found.scheme} proxy, and only HTTP proxies can be used. {advice}"
        )
    return proxy


def _read_variable(variable: str, name: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UsageError(f"{name}: the environment variable {variable} is not set.")
    return _checked(value, f"{name}: the environment variable {variable}")


def _read_file(path: Path, name: str) -> str:
    """A key from a file that not everybody on this machine can read."""
    where = f"{name}: the file {path}, which api_key_file names,"
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe gives its key once, and it is read again where a server refuses it
            raise UsageError(f"{where} is no regular file.")
        with path.open(encoding="utf-8") as stream:
            value = stream.read(_LONGEST).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}.") from None
    if os.name == "posix" and mode & stat.S_IROTH:
        raise UsageError(f"{where} can be read by everybody on this machine; take that right away: chmod o-r {path}.")
    if not value:
        raise UsageError(f"{where} is empty.")
    return _checked(value, where)


def _checked(value: str, where: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise UsageError(f"{where} holds characters that no header may have.")
    return value
