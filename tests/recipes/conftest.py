"""A recipe file to bend: the smallest one that is whole."""

from collections.abc import Callable
from pathlib import Path

import pytest

WHOLE = """---
about: Say what colour a thing has.
columns: {text: required, colour: optional, size: {default: small}}
settings: {task: "Which colour?", colours: {red: warm, blue: cold}, limit: 8, share: 0.5}
choices: $colours
parser: {choice: $colours}
gold: colour
verifier: normalised
sampling: {temperature: 0, max_tokens: $limit}
demonstrations: {from: seeds, pick: fixed, k: 0, by: text}
record: {kind: sft, completion: {content: answer}, answer: answer}
example: {row: {text: a tomato, colour: red}, reply: Red.}
---
{% for shown in demonstrations %}
{% message "user" %}{{ shown.text }}{% endmessage %}
{% message "assistant" %}{{ shown.colour }}{% endmessage %}
{% endfor %}
{% message "user" %}
{{ task }} Say {{ colours|join(" or ") }} of this {{ size }} thing ({{ share }}): {{ text }}
{% endmessage %}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the recipe with parts replaced: `write(("old", "new"), …)`."""

    def written(*changes: tuple[str, str]) -> Path:
        text = WHOLE
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
            text = text.replace(old, new)
        path = tmp_path / "colour.jinja"
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return written
