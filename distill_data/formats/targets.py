"""The targets of `export` that are rows, as a table: how a record becomes rows, and which kinds do. Knows no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from distill_data.data.items import Row
from distill_data.errors import SeedError, UsageError
from distill_data.formats import chats, ranked, tabular, trl
from distill_data.formats.turns import Given

Convert = Callable[[Given], list[Row]]
"""A record's rows; none where there is no such row, as for ranked answers of equal score. Raises SeedError."""


class Target(NamedTuple):
    """A format of rows."""

    convert: Convert
    kinds: tuple[str, ...]
    """Kinds of records that it takes; none means all."""
    about: str
    """Who reads it, in a few words."""
    ending: str = ".jsonl"
    """Of the output's name; empty for a folder."""


ANSWERS = ("sft", "critique", "logits", "hidden", "attention", "relations")
"""Kinds with a prompt and a completion."""
PAIRS = ("preference", "ranked")
"""Kinds with a better and a worse answer; of ranked ones these are the best and the worst."""
PROMPTS = (*ANSWERS, "prompt", *PAIRS, "unpaired")

TARGETS: Mapping[str, Target] = {
    "trl-sft": Target(trl.sft, (*ANSWERS, "text", "ranked"), "TRL's SFTTrainer"),
    "trl-dpo": Target(trl.dpo, PAIRS, "TRL's DPOTrainer"),
    "trl-kto": Target(trl.kto, ("unpaired", *PAIRS), "TRL's KTOTrainer"),
    "trl-reward": Target(trl.reward, PAIRS, "TRL's RewardTrainer"),
    "trl-grpo": Target(trl.grpo, PROMPTS, "TRL's GRPOTrainer"),
    "trl-distillation": Target(trl.distillation, PROMPTS, "TRL's DistillationTrainer"),
    "sharegpt": Target(chats.sharegpt, (*ANSWERS, "ranked"), "readers of ShareGPT's conversations"),
    "alpaca": Target(chats.alpaca, (*ANSWERS, "ranked"), "readers of instruction, input and output"),
    "openai-sft": Target(chats.openai_sft, (*ANSWERS, "ranked"), "OpenAI's fine-tuning"),
    "openai-dpo": Target(chats.openai_dpo, PAIRS, "OpenAI's preference fine-tuning"),
    "llama-factory": Target(chats.llama_factory, (*ANSWERS, *PAIRS, "unpaired"), "LLaMA-Factory", ""),
    "axolotl": Target(chats.axolotl, (*ANSWERS, *PAIRS, "steps"), "Axolotl"),
    "verl": Target(tabular.verl, ANSWERS, "verl's reinforcement learning", ".parquet"),
    "nemo-rl": Target(ranked.nemo_rl, (*ANSWERS, *PAIRS), "NeMo RL"),
    "rrhf": Target(ranked.rrhf, ("ranked",), "the code of RRHF"),
    "pro": Target(ranked.pro, ("ranked",), "the code of PRO"),
    "parquet": Target(tabular.record, (), "readers of Parquet", ".parquet"),
    "hf": Target(tabular.record, (), "datasets.load_from_disk", ""),
}
"""Target to how it is made. A new one is a function in formats/, a line here and a contract in `consumers`."""

COLUMNS_OF: Mapping[str, tuple[str, ...]] = {
    "preference": ("chosen", "rejected"),
    "ranked": ("responses", "scores"),
    "unpaired": ("completion", "label"),
    "steps": ("prompt", "completions", "labels"),
}
"""Kind to the columns without which a record is none of it."""
MAKERS: Mapping[str, str] = {
    "sft": "`label`, `expand` and `curate` make sft",
    "preference": "`feedback --kind preference` makes preferences",
    "unpaired": "`feedback --kind unpaired` makes judged answers",
    "ranked": "`feedback --kind ranked` makes ranked answers",
}
"""Kind to the command that makes it."""


def refuse_kind(target: str, kind: str) -> None:
    """Raise UsageError, without the place, where a target does not take records of this kind."""
    takes = TARGETS[target].kinds
    if takes and kind not in takes:
        made = "; ".join(MAKERS[name] for name in MAKERS if name in takes)
        what = f"is of the kind {kind}" if kind else "has the columns of no kind that is known"
        raise UsageError(f"this row {what}, and {target} takes {', '.join(takes)}. {made}.")


def convert(target: str, given: Given) -> list[Row]:
    """A record's rows. Raises SeedError, without the place, where the record lacks a column or has a strange value."""
    for name in COLUMNS_OF.get(given.kind, ()):
        if name not in given.row:
            raise SeedError(f"a row of the kind {given.kind} has no column {name}; there are: {', '.join(given.row)}")
    return TARGETS[target].convert(given)
