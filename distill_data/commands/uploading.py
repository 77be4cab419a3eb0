"""Files to a dataset's repository on the Hub, in one commit or none. Knows no manifest and no card.

    look at the head -> which files differ? -> none: done -> else one commit on top of that head

After a lost reply, a refusal that passes or somebody else's commit the Hub is looked at again before anything is sent
again, so a commit that arrived is not made twice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distill_data import __version__
from distill_data.data.hub import require_hub
from distill_data.errors import DistillError, TeacherError, UsageError

ATTEMPTS, PAUSE = 4, 0.5
"""How often it is tried, and seconds before the second time; twice as long before each further one."""
TIMEOUT = 60.0
_MOVED = (409, 412)
"""Somebody else's commit came first."""
_PASSING = (408, 429, 500, 502, 503, 504, *_MOVED)


class Place(NamedTuple):
    """Where to, and with which token."""

    endpoint: str
    repository: str
    revision: str
    token: str
    token_env: str
    """The variable that it is from, for messages."""

    def __repr__(self) -> str:
        return f"Place({self.endpoint}, {self.repository}, {self.revision})"


class Upload(NamedTuple):
    """A file as it shall be in the repository."""

    name: str
    content: Path | bytes

    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def digest(self, algorithm: str, head: bytes = b"") -> str:
        """Hexadecimal, over `head` and the content."""
        found = hashlib.new(algorithm, head, usedforsecurity=False)
        if isinstance(self.content, bytes):
            found.update(self.content)
        else:
            with self.content.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    found.update(chunk)
        return found.hexdigest()


def upload(place: Place, files: Sequence[Upload], *, private: bool, message: str) -> tuple[str, bool]:
    """The commit that has all files, and whether this made it. The repository is made where there is none.

    Raises UsageError for what cannot work and TeacherError for what the Hub refuses or where it cannot be reached;
    neither says the token. Needs the extra `data`.
    """
    require_hub("push")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    api = HfApi(endpoint=place.endpoint, token=place.token, library_name="distill-data", library_version=__version__)
    tried = False
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            head = _head(api, place, private)
            missing = _missing(api, place, head, files)
            if not missing:
                return head, tried
            tried = True
            return _commit(api, place, head, missing, message), True
        except (HTTPError, OSError, ValueError, RuntimeError) as error:
            status = _status(error)
            if not (status in _PASSING or (not status and _is_network(error))) or attempt == ATTEMPTS - 1:
                raise _refusal(error, status, place) from None  # a cause may hold what was sent
    raise AssertionError("the last attempt returns or raises")


def _commit(api: Any, place: Place, head: str, files: Sequence[Upload], message: str) -> str:
    from huggingface_hub import CommitOperationAdd

    made = api.create_commit(
        place.repository,
        [CommitOperationAdd(each.name, each.content) for each in files],
        commit_message=message,
        repo_type="dataset",
        revision=place.revision,
        parent_commit=head,
    )
    return str(made.oid)


def _head(api: Any, place: Place, private: bool) -> str:
    """The last commit of the branch, of a repository that is there now. A new one has the branch `main` only."""
    from huggingface_hub.errors import RepositoryNotFoundError

    where: dict[str, Any] = {"repo_type": "dataset", "revision": place.revision, "timeout": TIMEOUT}
    try:
        info = api.repo_info(place.repository, **where)
    except RepositoryNotFoundError:
        if place.revision != "main":
            raise
        api.create_repo(place.repository, repo_type="dataset", private=private, exist_ok=True)
        info = api.repo_info(place.repository, **where)
    if private and not info.private:
        raise UsageError(
            f"{place.repository} is there already and public, and --private makes new ones only. Name another, or "
            "change its visibility first."
        )
    return str(info.sha)


def _missing(api: Any, place: Place, head: str, files: Sequence[Upload]) -> list[Upload]:
    """The files that are not in that commit as they are here."""
    listed = api.get_paths_info(place.repository, [each.name for each in files], repo_type="dataset", revision=head)
    there = {each.path: each for each in listed}
    return [each for each in files if not _is_there(each, there.get(each.name))]


def _is_there(file: Upload, found: Any) -> bool:
    if found is None or getattr(found, "size", None) != file.size():
        return False
    if found.lfs is not None:
        return bool(found.lfs.sha256 == file.digest("sha256"))
    return bool(found.blob_id == file.digest("sha1", b"blob %d\0" % file.size()))  # git's name of a content


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _status(error: Exception) -> int:
    """Of the reply that the error is about; 0 where there was none."""
    found = (getattr(getattr(each, "response", None), "status_code", 0) for each in _chain(error))
    return next((int(status) for status in found if status), 0)


def _is_network(error: Exception) -> bool:
    names = {type(each).__module__.partition(".")[0] for each in _chain(error)}
    return any(name.startswith("httpx") for name in names)


def _refusal(error: Exception, status: int, place: Place) -> DistillError:
    """What to do about it, in a sentence without the token."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    said = " ".join(str(error).split()).replace(place.token, "[redacted]")[:300].rstrip(".")
    name = f"{place.endpoint}: {place.repository}"
    again = "The same command goes on from here, and sends nothing twice."
    if isinstance(error, OfflineModeIsEnabled):
        return UsageError("offline mode is on (HF_HUB_OFFLINE), so nothing can be sent; unset it.")
    if status == 401:
        return TeacherError(
            f"{name}: the token in {place.token_env} is not accepted (401). Make one that may write at "
            f"{place.endpoint}/settings/tokens."
        )
    if status == 403:
        return TeacherError(
            f"{name}: the token in {place.token_env} may not write there (403). Give it write access to "
            f"{place.repository.partition('/')[0]}, or name a place of your own with --to."
        )
    if status == 404:
        return UsageError(
            f"{name}: has no branch {place.revision}, or there is no such user or organisation (404). A new dataset "
            "has the branch main only; any other is made on the Hub first."
        )
    if status in _MOVED:
        return TeacherError(f"{name}: somebody else changed it meanwhile ({status}), {ATTEMPTS} times. {again}")
    if status in _PASSING:
        return TeacherError(f"{name}: answered {status}, {ATTEMPTS} times. Try later. {again}")
    if status:
        return UsageError(f"{name}: is refused ({status}): {said}")
    if _is_network(error):
        return TeacherError(f"{place.endpoint}: cannot be reached, or the connection broke: {said}. {again}")
    return UsageError(f"{name}: cannot be sent: {said}")
