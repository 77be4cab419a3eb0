"""Stored distributions as Axolotl's knowledge distillation plugin reads them: JSONL with columns beside the messages.

Its dataset type `axolotl.integrations.kd.chat_template` takes `logprobs` and `target_token_ids`, a list of k for each
of the last tokens of the conversation: row r is about the token that stands len(rows) - r from the end. So does the
plugin since its README tells of target alignment; earlier releases were one token late. What the template writes behind
the scored tokens has an empty row, which is masked there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonlines
import orjson

from distill_data.errors import UsageError
from distill_data.formats.kd import Facts, Row, distributions_of, fill


def write_axolotl(rows: Iterator[Row], path: Path, facts: Facts) -> Mapping[str, Any]:
    """One line a record; the settings of the dataset in the trainer's configuration.

    Raises UsageError for raw text, and for records without distributions.
    """
    with path.open("wb") as stream:
        jsonlines.Writer(stream, dumps=orjson.dumps).write_all(axolotl_row(row, facts.k) for row in rows)
    dataset = {
        "path": str(facts.output),
        "ds_type": "json",
        "type": "axolotl.integrations.kd.chat_template",
        "field_messages": "messages",
        "logprobs_field": "logprobs",
        "temperature": facts.temperature,
    }
    return {
        "plugins": ["axolotl.integrations.kd.KDPlugin"],
        "kd_trainer": True,
        "kd_alpha": 0.9,
        "kd_ce_alpha": 0.1,
        "kd_temperature": facts.temperature,
        "datasets": [dataset],
    }


def axolotl_row(row: Row, k: int) -> dict[str, Any]:
    """Messages of prompt and completion, with what the teacher held likely at the end of them."""
    if not isinstance(row.record.get("prompt"), list):
        raise UsageError(f"{row.where}: is raw text, and Axolotl distils on messages; export it as distillkit or npz.")
    found = distributions_of(row)
    ids, logprobs = fill(found, k)
    behind: list[list[int]] = [[] for _ in range(len(row.ids) - row.start - len(found.tokens))]
    return {
        "messages": [*row.record["prompt"], *row.record["completion"]],
        "logprobs": [[round(each, 4) for each in token] for token in logprobs.tolist()] + behind,
        "target_token_ids": ids.tolist() + behind,
    }
