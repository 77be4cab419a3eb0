"""`push`: a dataset that a command wrote, with its manifest and its card, to the Hub, in one commit. Asks no model.

Before anything is sent the files are compared with the manifest, and their rows are looked through for keys.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distill_data.commands.card import make_card, published
from distill_data.commands.uploading import Place, Upload, upload
from distill_data.commands.verify import verify
from distill_data.data.hub import exposure, hub_endpoint
from distill_data.engine.publish import files_of
from distill_data.errors import DamageError, UsageError
from distill_data.quality.hygiene import personal
from distill_data.reporting.card import Wishes

CARD = "README.md"
_REPOSITORY = re.compile(
    r"(?!.*(?:--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(?<![.-])(?<!\.git)", re.ASCII
)
_ESCAPES = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|[bfnrt\"/\\])")
"""Inside JSON, and JSON in JSON. A key may follow such a line end at once."""


class Pushed(NamedTuple):
    """What was sent, or would be."""

    status: str
    """`pushed`, `unchanged` where all of it was there, or `planned` for a dry run."""
    url: str
    """Of the dataset's page."""
    commit: str
    """40 hex digits; empty for a dry run."""
    files: Sequence[Mapping[str, Any]]
    """Name in the repository and bytes of each file of the dataset."""


def push(
    source: str,
    *,
    to: str,
    wishes: Wishes = Wishes(),  # noqa: B008
    card: Path | None = None,
    with_rejects: bool = False,
    private: bool = False,
    endpoint: str = "",
    token_env: str = "HF_TOKEN",  # noqa: S107 - the name of a variable
    revision: str = "main",
    dry_run: bool = False,
) -> Pushed:
    """Bring the dataset, its manifest, its arrays and a card to `to` (`ORG/NAME`), which is made where it is missing.

    The card is written from the manifest, unless `card` is one. Raises UsageError, also for a row with a key in it;
    DamageError where the files are not what the manifest says; TeacherError where the Hub refuses or cannot be reached.
    """
    if not _REPOSITORY.fullmatch(to):
        raise UsageError(f"--to {to}: must be ORG/NAME, a user or organisation and the dataset's name.")
    base = hub_endpoint(endpoint)
    dataset = Path(source)
    paths = _files(dataset, published(dataset), with_rejects)
    _refuse_damage(source)
    text = _read_card(card) if card else make_card(dataset, _placed(wishes, to)).encode()
    for path in paths.values():
        if path.suffix != ".safetensors":
            with path.open("rb") as lines:
                _refuse_keys(str(path), lines)
    _refuse_keys(str(card or "the card"), text.splitlines())
    uploads = [*(Upload(name, path) for name, path in paths.items()), Upload(CARD, text)]
    files = [{"name": each.name, "bytes": each.size()} for each in uploads]
    url = f"{base}/datasets/{to}"
    if dry_run:
        return Pushed("planned", url, "", files)
    place = Place(base, to, revision, _read_token(token_env, base), token_env)
    commit, changed = upload(place, uploads, private=private, message=f"{dataset.name}, by distill-data push")
    return Pushed("pushed" if changed else "unchanged", url, commit, files)


def _placed(wishes: Wishes, repository: str) -> Wishes:
    return Wishes(wishes.title or repository.partition("/")[2], wishes.license, wishes.seeds_license, repository)


def _files(dataset: Path, result: Mapping[str, Any], with_rejects: bool) -> dict[str, Path]:
    """Name in the repository to file: what the manifest describes, and the manifest."""
    described = [each for name, each in result["files"].items() if each and (with_rejects or name != "rejects")]
    described += (result.get("features") or {}).get("shards") or []
    manifest = files_of(dataset).manifest
    names = [each["name"] for each in described]
    return {**{name: dataset.parent / name for name in names}, manifest.name: manifest}


def _refuse_damage(source: str) -> None:
    found = verify(source)
    if found.findings:
        more = f" (and {len(found.findings) - 1:,} more)" if found.findings[1:] else ""
        raise DamageError(
            f"{source}: is not as it was written, so nothing is sent: {found.findings[0]}{more} `distill-data verify "
            f"{source}` tells all."
        )


def _refuse_keys(name: str, lines: Iterable[bytes]) -> None:
    """Raise UsageError where a key of a known form is in a line: of rows, of the manifest, of the card.

    Lines are looked at as they are sent: of a name that stands twice in an object a reader sees the last value only.
    """
    for number, line in enumerate(lines, 1):
        if personal(_ESCAPES.sub(_unescaped, line.decode("utf-8", "replace")), ["key"]):
            raise UsageError(
                f"{name}:{number}: holds what looks like a key, so nothing is sent. If it is one, withdraw it where it "
                "was issued. Drop rows that ask or answer with one by: distill-data filter IN -c pii@x+y:key -o OUT"
            )


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else " "


def _read_card(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        content.decode()
    except OSError as error:
        raise UsageError(f"--card {path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise UsageError(f"--card {path}: is not UTF-8 text.") from None
    return content


def _read_token(variable: str, endpoint: str) -> str:
    """The token, from the environment. Raises UsageError where there is none, or it could be read on its way."""
    why = exposure(endpoint)
    if why:
        raise UsageError(f"{endpoint} {why}.")
    token = os.environ.get(variable, "").strip()
    if not token:
        raise UsageError(
            f"the environment variable {variable} is not set. Put a token that may write into it, from "
            f"{endpoint}/settings/tokens; --token-env names another variable."
        )
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise UsageError(f"the environment variable {variable} holds characters that no token has.")
    return token
