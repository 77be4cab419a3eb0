"""The replies in a run's journal, for looking at them: read only, without a lock, also while the run goes on.

A line that is torn or damaged is passed over; `verify` and a run itself are the ones that complain.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from distill_data.engine import segments

_KEY, _OWNER = slice(6, 70), slice(86, 102)
"""Where a line has its key and its item."""


class Reply(NamedTuple):
    """One answer of a teacher, or the failure that ended a request."""

    owner: str
    """The item that asked, 16 hex digits; `meta.seed_id` of the rows that came of it."""
    failed: bool
    usage: tuple[int, int, int]
    """Prompt, completion and cached tokens."""
    raw: bytes
    """The body as it came, JSON."""

    def body(self) -> dict[str, Any]:
        """The body, empty where it is no object."""
        try:
            read = orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            return {}
        return read if isinstance(read, dict) else {}


def run_of(dataset: Path) -> Path:
    """Where the run of a dataset lies by default; a partial one's too."""
    stem = dataset.with_suffix("")
    return stem.with_name(stem.name.removesuffix(".partial") + ".run")


def replies_of(run: Path, owner: str = "") -> Iterator[Reply]:
    """All replies in the order in which they came, or those to one item; none where there is no journal."""
    wanted = owner.encode("utf-8", "replace")
    for path in sorted((run / "journal").glob("*.jsonl")):
        try:
            for _, line, _ in segments.read_lines(path):
                if (not owner or line[_OWNER] == wanted) and segments.intact(line):
                    key, usage = line[_KEY].decode("ascii"), segments.usage_of(line)
                    body = segments.body_of(line, key) or b""
                    yield Reply(segments.owner_of(line), usage is None, usage or (0, 0, 0), body)
        except OSError:
            return


def finish_of(body: dict[str, Any]) -> str:
    """Why the teacher ended, as it says: stop, length, tool_calls; "" where it does not say."""
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    reason = first.get("finish_reason")
    return reason if isinstance(reason, str) else ""


def seconds_of(body: dict[str, Any]) -> float | None:
    """How long the server says that it took: `timings` of llama.cpp in milliseconds, `usage.total_time` in seconds."""
    timings, usage = body.get("timings"), body.get("usage")
    if isinstance(timings, dict):
        parts = [timings.get(name) for name in ("prompt_ms", "predicted_ms")]
        known = [part for part in parts if isinstance(part, int | float) and not isinstance(part, bool)]
        return sum(known) / 1000 if known else None
    total = usage.get("total_time") if isinstance(usage, dict) else None
    return float(total) if isinstance(total, int | float) and not isinstance(total, bool) else None


def text_of_reply(body: dict[str, Any]) -> str:
    """What the teacher said, reasoning first; the whole body as JSON where there is no text in it."""
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = first.get("message")
    if isinstance(message, dict):
        said = [message.get("reasoning_content"), message.get("content")]
        texts = [each for each in said if isinstance(each, str) and each]
        if texts and not message.get("tool_calls"):
            return "\n\n".join(texts)
    text = first.get("text")
    return text if isinstance(text, str) else orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()
