"""Datasets of the library `datasets`: folders that it saved, and splits on the Hugging Face Hub. Knows no seeds.

Both need the extra `data`. Rows come as Arrow has them, as from Parquet, so images and audio stay the bytes that JSON
cannot hold. A split on the Hub is streamed anew by each reading, from the revision that it was opened at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from distill_data.data.addresses import is_loopback
from distill_data.data.items import Row
from distill_data.data.tables import rows_of_tables
from distill_data.data.transports import hush_transports
from distill_data.errors import SeedError

HUB = "https://huggingface.co"
PREFIX = "hf/"
BATCH = 1024
_NAME = re.compile(
    r"hf/(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:@]+))?(?::(?:(?P<config>[^:/]+)/)?(?P<split>[^:/]+))?"
)


class HubSplit(NamedTuple):
    """A split of a dataset on the Hub."""

    repository: str
    """`ORG/NAME`."""
    config: str
    """A named part of the dataset; empty for the only one."""
    split: str
    revision: str
    """A commit: 40 hex digits."""


def hub_endpoint(given: str = "") -> str:
    """Where the Hub is: as given, else $HF_ENDPOINT, else huggingface.co. Raises SeedError for what is no URL of one.

    A URL with a password is refused without being shown.
    """
    named = "--endpoint" if given else "HF_ENDPOINT"
    url = (given or os.environ.get("HF_ENDPOINT", "")).strip().rstrip("/") or HUB
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise SeedError(f"{named}: is no URL of a Hub; write it as {HUB}")
    if "@" in parts.netloc:
        raise SeedError(f"{named}: holds a user name or password; the token belongs into an environment variable")
    return url


def exposure(endpoint: str) -> str:
    """Why a token sent there could be read on its way, as the end of a sentence; empty where it could not."""
    parts = urlsplit(endpoint)
    if parts.scheme == "https":
        return ""
    if not is_loopback(endpoint):
        return "is plain http to another machine, where anyone on the way can read the token; use https"
    if getproxies().keys() & {"http", "all"} and not proxy_bypass(parts.netloc):
        return "is asked through a proxy, which would see the token; set NO_PROXY to its host"
    return ""


def find_split(name: str) -> HubSplit:
    """`hf/ORG/NAME:SPLIT`, `hf/ORG/NAME@REVISION:SPLIT` or with `CONFIG/SPLIT`, its revision as the commit it now is.

    Asks the Hub once. Raises SeedError for another form, what is not there, may not be read or cannot be reached.
    """
    found = _NAME.fullmatch(name)
    if found is None or not found["split"]:
        raise SeedError(f"{name}: a dataset on the Hub is hf/ORG/NAME:SPLIT, or hf/ORG/NAME@REVISION:CONFIG/SPLIT")
    require_hub(name)
    from huggingface_hub import HfApi

    endpoint = hub_endpoint()
    try:
        api = HfApi(endpoint=endpoint, token=_token(endpoint))
        commit = api.dataset_info(found["repository"], revision=found["revision"], timeout=30).sha
    except Exception as error:  # of several libraries, by what goes wrong below them
        raise SeedError(f"{name}: {_why(error, endpoint)}") from error
    return HubSplit(found["repository"], found["config"] or "", found["split"], str(commit))


def read_split(wanted: HubSplit) -> Iterator[tuple[int, Row]]:
    """Rows counted from 1, in the order of the files. Raises SeedError, also for what `rows_of_tables` refuses."""
    name = f"{PREFIX}{wanted.repository}"
    _require_datasets(name)
    import datasets

    endpoint = hub_endpoint()
    try:
        streamed = datasets.load_dataset(
            f"hf://datasets/{wanted.repository}",  # never a folder of this name that happens to be here
            wanted.config or None,
            split=wanted.split,
            revision=wanted.revision,
            streaming=True,
            token=_token(endpoint),
        )
        yield from rows_of_tables(streamed.with_format("arrow").iter(BATCH), name)
    except SeedError:
        raise
    except Exception as error:  # as above
        raise SeedError(f"{name}: {_why(error, endpoint)}") from error


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def check_saved(folder: Path, split: str) -> str:
    """The split to read, which may be left out where there is one. Raises SeedError with the splits that there are."""
    loaded = _load(folder)
    splits = list(loaded) if isinstance(loaded, dict) else []
    if split in splits or (not split and not splits):
        return split
    if not split and len(splits) == 1:
        return str(splits[0])
    if not splits:
        raise SeedError(f"{folder}: this dataset has no splits; leave :{split} out")
    raise SeedError(f"{folder}: name one of its splits ({', '.join(splits)}), such as {folder}:{splits[0]}")


def read_saved(folder: Path, split: str) -> Iterator[tuple[int, Row]]:
    """Rows counted from 1. Raises SeedError, also for what `rows_of_tables` refuses."""
    loaded = _load(folder)
    part = loaded[split] if split else loaded
    return rows_of_tables(part.with_format("arrow").iter(BATCH), folder.name)


def _load(folder: Path) -> Any:
    _require_datasets(str(folder))
    import datasets
    import pyarrow

    try:
        return datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        raise SeedError(f"{folder}: cannot read this dataset, it may be cut off or damaged: {error}") from error


def require_hub(what: str) -> None:
    """Make sure that the library of the Hub is there, tells nobody about this machine, draws no bars over ours and
    logs no token.

    Raises SeedError, about `what`, where it is missing, and for what `hub_endpoint` refuses.
    """
    hub_endpoint()  # the library reads it as it is imported, and fails where it is no URL
    try:
        from huggingface_hub import constants
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        raise _missing(what) from error
    constants.HF_HUB_DISABLE_TELEMETRY = True
    disable_progress_bars()
    hush_transports()


def _require_datasets(what: str) -> None:
    require_hub(what)
    try:
        import datasets
    except ImportError as error:
        raise _missing(what) from error
    datasets.disable_progress_bars()


def _missing(what: str) -> SeedError:
    return SeedError(
        f"{what}: needs the extra `data`: pip install 'distill-data[data]' (in a checkout: pip install '.[data]')"
    )


def _token(endpoint: str) -> bool | None:
    """None for the library's own way to find one; False where it could be read on the way."""
    return False if exposure(endpoint) else None


def _why(error: Exception, endpoint: str) -> str:
    """What went wrong, in a sentence with what to do."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    if isinstance(error, OfflineModeIsEnabled):
        return "offline mode is on (HF_HUB_OFFLINE); unset it, or save the dataset to a folder and name that"
    if status in (401, 403) and exposure(endpoint):
        return f"{endpoint} refuses access ({status}), and no token is sent there: it {exposure(endpoint)}"
    if status in (401, 403):
        return (
            f"{endpoint} refuses access ({status}); it may be private or gated: set HF_TOKEN to a token that may read"
        )
    if status == 404:
        return f"{endpoint} has no such dataset or revision (or it is private and HF_TOKEN is not set)"
    if status:
        return f"{endpoint} answered {status}; try again later"
    if type(error).__module__.startswith("httpx"):
        return (
            f"{endpoint} cannot be reached: {error or type(error).__name__}; without a network, name a file or folder"
        )
    return f"cannot be read: {' '.join(str(error).split())[:500] or type(error).__name__}"
