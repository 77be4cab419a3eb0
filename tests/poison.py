"""A dataset, with all that lies beside it, that has one text in every position where data can stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distill_data.data.items import Row
from distill_data.engine.segments import OK, frame
from distill_data.reporting.plain import plain

PAYLOADS = Path(__file__).parent / "reporting" / "payloads.jsonl"
POSITIONS = (
    *("id", "kind", "role", "prompt", "completion", "reasoning", "label-column", "label", "score-column"),
    *("long-column", "meta-key", "meta-value", "seed", "details-key", "details-value"),
    *("command", "recipe", "paper", "teacher-role", "model", "setting", "setting-value", "reason", "dropped"),
    *("measure", "gold-group", "finished", "version"),
    *("reject-reason", "reject-outcome", "reject-detail", "reject-answer", "reject-seed", "evidence", "evidence-row"),
    *("reply-model", "finish"),
)
"""In a row, in a manifest, in rejects, in a journal."""
AS_JSON = ("details-key", "details-value")
"""Shown as JSON text, so with its escapes."""


def payloads() -> list[str]:
    """Texts that want to be more than text."""
    return [json.loads(line)["payload"] for line in PAYLOADS.read_text(encoding="utf-8").splitlines()]


def marked(text: str) -> Callable[[str], str]:
    """The text of a position, which can be told from that of another."""
    return lambda position: f"{text} §{POSITIONS.index(position)}§"


def expected(text: str) -> list[str]:
    """What a person is to read, one for each position."""
    put = marked(text)
    said = {position: json.dumps(put(position), ensure_ascii=False)[1:-1] for position in AS_JSON}
    return [plain(said.get(position, put(position))) for position in POSITIONS]


def write_poisoned(folder: Path, text: str) -> Path:
    """The dataset; its file's name holds the text too, as far as a file system takes it."""
    name = "".join("∕" if each == "/" else each for each in text if each != "\0")
    while len(name.encode("utf-8", "surrogatepass")) > 180:
        name = name[:-1]
    put = marked(text)
    dataset = folder / f"{name}.jsonl"
    rows = [_row(put, number) for number in range(6)]
    _write(dataset, rows)
    _write(dataset.with_name(f"{name}.rejects.jsonl"), _rejects(put))
    dataset.with_name(f"{name}.manifest.json").write_text(json.dumps(_manifest(put, dataset.name)))
    journal = dataset.with_name(f"{name}.run") / "journal"
    journal.mkdir(parents=True)
    bodies = [_reply(put("reply-model"), put("finish")), _reply("another", "stop")]
    lines = [frame(OK, f"{number:064x}", "0" * 16, (3, number + 1, 0), body) for number, body in enumerate(bodies)]
    (journal / "000001.jsonl").write_bytes(b"".join(lines))
    return dataset


def _write(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _row(put: Callable[[str], str], number: int) -> Row:
    details = {put("details-key"): put("details-value"), "n": number}
    return {
        "id": put("id"),
        "kind": put("kind"),
        "prompt": [{"role": put("role"), "content": put("prompt")}, {"role": "user", "content": put("prompt")}],
        "completion": [
            {"role": "assistant", "content": put("completion"), "reasoning_content": put("reasoning")},
        ],
        put("label-column"): put("label"),
        put("score-column"): number / 7,
        put("long-column"): f"{put('long-column')} " * 30 + str(number),
        "meta": {put("meta-key"): put("meta-value"), "seed_id": put("seed"), "details": json.dumps(details)},
    }


def _rejects(put: Callable[[str], str]) -> list[Row]:
    seed, answers = json.dumps({"x": put("reject-seed")}), [put("reject-answer")]
    return [
        {"item": "0" * 16, "outcome": put("reject-outcome"), "reason": put("reject-reason"),
         "detail": put("reject-detail"), "answers": answers, "seed": seed},
        {"line": 2, "outcome": "rejected", "reason": "contamination", "detail": put("evidence"),
         "row": {"text": put("evidence-row")}},
    ]  # fmt: skip


def _manifest(put: Callable[[str], str], name: str) -> dict[str, Any]:
    result = {
        "items": 9, "kept": 6, "rejected": 2, "failed": 1, "pending": 0, "records": 6,
        "reasons": {put("reason"): 2}, "dropped": {put("dropped"): 1},
        "measures": {put("measure"): {"count": 1, "of": 2}},
        "gold": {"compared": 2, "equal": 1, "by": {put("gold-group"): {"compared": 2, "equal": 1}}},
        "command": put("command"),
        "recipe": {"name": put("recipe"), "paper": put("paper")},
        "settings": {put("setting"): put("setting-value")},
        "teachers": {put("teacher-role"): put("model")},
        "files": {"dataset": {"name": name, "sha256": "0" * 64}},
    }  # fmt: skip
    history = {
        "tokens": 9,
        "prompt_tokens": 4,
        "completion_tokens": 5,
        "cost": 0.5,
        "finished": put("finished"),
        "version": put("version"),
    }
    return {"result": result, "history": history}


def _reply(model: str, finish: str) -> bytes:
    choices = [{"message": {"role": "assistant", "content": "x"}, "finish_reason": finish}]
    return json.dumps(
        {"model": model, "choices": choices, "timings": {"prompt_ms": 3.0, "predicted_ms": len(model)}}
    ).encode()
