"""The public Python API: all that the command line does, as functions. Knows no terminal.

from distill_data.commands import Options, label
summary = label("seeds.jsonl", recipe="answer", output="out.jsonl", options=Options(teachers=("echo",)))
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill_data.commands.card import card
    from distill_data.commands.check import check_student
    from distill_data.commands.check_recipe import check_recipe
    from distill_data.commands.check_target import check_target
    from distill_data.commands.curate import curate
    from distill_data.commands.decontaminate import Search, decontaminate, find_contamination
    from distill_data.commands.dedup import Matching, dedup
    from distill_data.commands.diff import Diff, diff
    from distill_data.commands.doctor import doctor
    from distill_data.commands.evaluate import Evaluation, evaluate
    from distill_data.commands.expand import expand
    from distill_data.commands.export import export
    from distill_data.commands.feature import feature
    from distill_data.commands.feedback import feedback
    from distill_data.commands.filter import filter_rows
    from distill_data.commands.label import label
    from distill_data.commands.merge import merge
    from distill_data.commands.models import pull_model
    from distill_data.commands.options import Options, Summary
    from distill_data.commands.publish import publish
    from distill_data.commands.push import push
    from distill_data.commands.recipes import recipes
    from distill_data.commands.report import report
    from distill_data.commands.sample import sample
    from distill_data.commands.score import score
    from distill_data.commands.select import Choosing, select
    from distill_data.commands.self_knowledge import self_knowledge
    from distill_data.commands.show import show
    from distill_data.commands.split import split
    from distill_data.commands.stats import stats
    from distill_data.commands.status import status
    from distill_data.commands.train import Loop, Trained, Training, train
    from distill_data.commands.verify import verify

__all__ = [
    "Choosing",
    "Diff",
    "Evaluation",
    "Loop",
    "Matching",
    "Options",
    "Search",
    "Summary",
    "Trained",
    "Training",
    "card",
    "check_recipe",
    "check_student",
    "check_target",
    "curate",
    "decontaminate",
    "dedup",
    "diff",
    "doctor",
    "evaluate",
    "expand",
    "export",
    "feature",
    "feedback",
    "filter_rows",
    "find_contamination",
    "label",
    "merge",
    "publish",
    "pull_model",
    "push",
    "recipes",
    "report",
    "sample",
    "score",
    "select",
    "self_knowledge",
    "show",
    "split",
    "stats",
    "status",
    "train",
    "verify",
]

_HOMES = {
    "Choosing": "select",
    "Diff": "diff",
    "Evaluation": "evaluate",
    "Loop": "train",
    "Matching": "dedup",
    "Options": "options",
    "Search": "decontaminate",
    "Summary": "options",
    "Trained": "train",
    "Training": "train",
    "check_student": "check",
    "filter_rows": "filter",
    "find_contamination": "decontaminate",
    "pull_model": "models",
}
"""The module of each name that has not its own."""


def __getattr__(name: str) -> Any:
    """A name is loaded when it is first used: no command waits for the others."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, name)}"), name)
    globals()[name] = value
    return value


class _Commands(ModuleType):
    """The names above mean functions, also where modules are called the same and were loaded first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Commands
