"""The objectives that a student can be trained with, as a table: family, rows, settings, maker. Imports no torch.

To add one: write a maker, `Job -> Trainer`, in one of this folder's modules, and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from distill_data.errors import UsageError
from distill_data.training.divergences import MAKERS
from distill_data.training.similarity import MEASURES

LANGUAGE, REWARD = "AutoModelForCausalLM", "AutoModelForSequenceClassification"
"""What a student is opened as: to say what comes next, or to give one number."""
ANSWERS = ("sft", "critique", "logits", "hidden", "attention", "relations")
"""Kinds of rows with a prompt and a completion."""
PAIRS = ("preference", "ranked")
PROMPTS = (*ANSWERS, "prompt", *PAIRS, "unpaired")
"""Kinds that have a prompt."""


class Setting(NamedTuple):
    """What `--set` can change of an objective."""

    default: float | int | str
    about: str
    least: float = 0.0
    """Of a number."""
    most: float = float("inf")
    choices: tuple[str, ...] = ()
    """Of a text; none means any."""


class Objective(NamedTuple):
    """One way to train a student."""

    family: str
    """Of the survey's four: supervised, divergence and similarity (two here), reinforcement, ranking."""
    about: str
    kinds: tuple[str, ...]
    """Kinds of rows that it takes."""
    made_by: str
    """The command that makes them."""
    maker: str
    """Module of this folder and function, which makes a trainer of a job."""
    settings: Mapping[str, Setting] = {}
    learning_rate: float = 2e-5
    """For students of the hidden size `WIDTH`; `rate_of` is for others."""
    head: str = LANGUAGE
    asks: tuple[str, ...] = ()
    """Models beside the student, by option: `teacher`, `reward`."""


FRESH = 2e-3
"""Learning rate of a student that has no weights yet; the most for one that has."""
WIDTH, ADAPTED = 4096, 10
"""Hidden size of models of some 7 billion weights, which the rates are for; how much faster adapters are trained."""
_LABELED = "label, expand, curate or self-knowledge"
_TEMPERATURE = Setting(1.0, "divides the logits of both", 0.01, 100)
_VERIFIERS = ("exact", "normalised", "numeric", "set", "json", "math")
_BETA = Setting(0.1, "how much leaving the reference costs", 0)

OBJECTIVES: Mapping[str, Objective] = {
    "sft": Objective(
        "supervised",
        "cross-entropy of y's tokens",
        (*ANSWERS, "ranked", "text"),
        _LABELED,
        "supervised:make_sft",
    ),
    "step-by-step": Objective(
        "supervised",
        "labels, and the reasons for them weighted by alpha, as two tasks",
        ("sft",),
        "label -r step-by-step",
        "supervised:make_step_by_step",
        {"alpha": Setting(0.5, "weight of the reasons; the labels have the rest", 0, 1)},
    ),
    "kd": Objective(
        "divergence",
        "the student's next-token distributions against stored ones",
        ("logits",),
        "feature -r topk, sampled or generated",
        "stored:make_kd",
        {
            "divergence": Setting("forward-kl", "of sampled counts only forward-kl", choices=tuple(MAKERS)),
            "weight": Setting(0.5, "jsd's beta, skewed-kl's alpha", 0.001, 0.999),
            "temperature": Setting(0.0, "divides the logits of both; 0 is the rows' own", 0, 100),
            "alpha": Setting(1.0, "weight of the divergence; y's own tokens have the rest", 0, 1),
        },
    ),
    "on-policy": Objective(
        "divergence",
        "the student writes, the teacher scores its tokens",
        PROMPTS,
        "feature -r prompts, or any command",
        "policy:make_on_policy",
        {
            "beta": Setting(1.0, "0 is forward KL, 1 reverse KL, 0.5 JSD", 0, 1),
            "temperature": _TEMPERATURE,
            "length": Setting(64, "tokens of an answer at most", 1),
        },
        asks=("teacher",),
    ),
    "hidden": Objective(
        "similarity",
        "the student's states at chosen layers against stored ones, and y's own tokens",
        ("hidden",),
        "feature -r hidden",
        "stored:make_hidden",
        {
            "measure": Setting("mse", "how states are compared", choices=tuple(MEASURES)),
            "layers": Setting("", "of the student, one for each stored one, as 1,2; else spread evenly"),
            "alpha": Setting(0.5, "weight of the states; y's own tokens have the rest", 0, 1),
        },
    ),
    "relations": Objective(
        "similarity",
        "how alike the rows of a batch are to the student, against how alike they are to the teacher",
        ("relations",),
        "feature -r relations",
        "stored:make_relations",
        {"alpha": Setting(0.5, "weight of the relations; y's own tokens have the rest", 0, 1)},
    ),
    "reward": Objective(
        "reinforcement",
        "a model of one number, higher for the better answer of a pair",
        PAIRS,
        "feedback --kind preference or ranked",
        "preference:make_reward",
        {"margin": Setting(0.0, "how much of the difference of the scores r must differ by", 0)},
        learning_rate=1e-5,
        head=REWARD,
    ),
    "rl": Objective(
        "reinforcement",
        "the student writes and is rewarded, without leaving the reference far",
        PROMPTS,
        "feature -r prompts, or any command",
        "policy:make_rl",
        {
            "beta": Setting(0.05, "weight of the KL to the reference", 0),
            "samples": Setting(4, "answers of a prompt", 2),
            "length": Setting(64, "tokens of an answer at most", 1),
            "temperature": _TEMPERATURE,
            "verifier": Setting("normalised", "for --reward verifier: how answers are compared", choices=_VERIFIERS),
        },
        learning_rate=1e-6,
        asks=("reward",),
    ),
    "dpo": Objective(
        "ranking",
        "the better answer gains over the worse, measured from the reference",
        PAIRS,
        "feedback --kind preference or ranked",
        "preference:make_dpo",
        {"beta": _BETA},
        learning_rate=1e-6,
    ),
    "kto": Objective(
        "ranking",
        "good answers gain and bad ones lose, without pairs",
        ("unpaired", *PAIRS),
        "feedback --kind unpaired, preference or ranked",
        "preference:make_kto",
        {"beta": _BETA},
        learning_rate=5e-6,
    ),
    "orpo": Objective(
        "ranking",
        "cross-entropy of the better answer, and its odds over the worse; no reference",
        PAIRS,
        "feedback --kind preference or ranked",
        "preference:make_orpo",
        {"beta": _BETA},
        learning_rate=8e-6,
    ),
    "rrhf": Objective(
        "ranking",
        "answers are as likely as their scores order them",
        ("ranked",),
        "feedback --kind ranked",
        "listwise:make_rrhf",
        {
            "weight": Setting(1.0, "of the ranking, beside the loss of the best answer", 0),
            "penalty": Setting(1.0, "power of the length that a log-probability is divided by", 0),
        },
    ),
    "pro": Objective(
        "ranking",
        "each answer against all worse ones, weighted by the gaps of their scores",
        ("ranked",),
        "feedback --kind ranked",
        "listwise:make_pro",
        {"sft-weight": Setting(0.05, "of the best answer's own loss", 0)},
        learning_rate=5e-6,
    ),
}
"""Name to what it is."""


def settings_of(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The objective's settings, the given ones as values. Raises UsageError for names and values that cannot be."""
    objective = find_objective(name)
    unknown = sorted(given.keys() - objective.settings.keys())
    if unknown:
        known = ", ".join(objective.settings) or "none"
        raise UsageError(f"--set {unknown[0]}: the objective {name} has no such setting (it has: {known}).")
    return {
        key: _value(key, setting, given[key]) if key in given else setting.default
        for key, setting in objective.settings.items()
    }


def find_objective(name: str) -> Objective:
    """Raises UsageError for a name that is not in the table."""
    if name not in OBJECTIVES:
        raise UsageError(f"--objective {name}: the objectives are {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name]


def rate_of(objective: Objective, width: int, *, adapted: bool) -> float:
    """The learning rate for a student with weights: in inverse proportion to its hidden size, after the scaling of Adam
    in Yang et al. 2022 (arXiv 2203.03466), and ten times that for adapters (LoRA)."""
    return min(FRESH, objective.learning_rate * max(1.0, WIDTH / width) * (ADAPTED if adapted else 1))


def _value(name: str, setting: Setting, text: str) -> float | int | str:
    if isinstance(setting.default, str):
        if setting.choices and text not in setting.choices:
            raise UsageError(f"--set {name}={text}: must be one of {', '.join(setting.choices)}.")
        return text
    whole = isinstance(setting.default, int)
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = float("nan")
    if not setting.least <= number <= setting.most:
        bound = f" and at most {setting.most:g}" if setting.most != float("inf") else ""
        kind = "whole number" if whole else "number"
        raise UsageError(f"--set {name}={text}: must be a {kind} of at least {setting.least:g}{bound}.")
    return number
