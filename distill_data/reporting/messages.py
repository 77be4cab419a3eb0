"""Chat messages for people to read. Knows nothing about who gets them."""

import json
from collections.abc import Iterable, Mapping

from distill_data.reporting.plain import plain


def message_lines(messages: Iterable[Mapping[str, object]]) -> list[str]:
    """Each message as a line with its role and, indented, its text; anything else it has follows as JSON.

    Only roles stand at the start of a line, so no text can pretend to be another message.
    """
    lines = []
    for message in messages:
        lines.append(f"{plain(str(message.get('role', '')), one_line=True)}:")
        content = message.get("content")
        shown = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
        lines += _indented(shown)
        rest = {key: value for key, value in message.items() if key not in {"role", "content"}}
        if rest:
            lines += _indented(json.dumps(rest, ensure_ascii=False, default=str))
    return lines


def _indented(text: str) -> list[str]:
    return [f"    {line}" if line else "" for line in plain(text).split("\n")]
