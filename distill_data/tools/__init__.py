"""Function calling: specifications, calls that fit them, twelve safe functions to run, and chats that hold both.

Knows no model, no recipe and no run: a method asks for calls, and reads, runs and writes them with what is here.

To add a function: write it in `numbers.py`, `dates.py` or `words.py` with its arguments checked by `bounds.py`, name it
in the table `TOOLS` of `calls.py`, and give it a row in seeds/tools.jsonl.
"""

from __future__ import annotations

from distill_data.tools.calls import TOOLS, Call, execute, read_calls
from distill_data.tools.messages import (
    Step,
    answer_message,
    call_message,
    completion,
    result_messages,
    tools_column,
)
from distill_data.tools.specs import Spec, read_spec
from distill_data.tools.tasks import Task, answer_of, follow, read_task, solved

__all__ = [
    "TOOLS",
    "Call",
    "Spec",
    "Step",
    "Task",
    "answer_message",
    "answer_of",
    "call_message",
    "completion",
    "execute",
    "follow",
    "read_calls",
    "read_spec",
    "read_task",
    "result_messages",
    "solved",
    "tools_column",
]
