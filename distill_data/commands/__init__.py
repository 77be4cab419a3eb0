"""The public Python API: all that the command line does, as functions. Knows no terminal.

from distill_data.commands import Options, label
summary = label("seeds.jsonl", recipe="answer", output="out.jsonl", options=Options(teachers=("echo",)))
"""

from distill_data.commands.check import check_student
from distill_data.commands.check_recipe import check_recipe
from distill_data.commands.curate import curate
from distill_data.commands.doctor import doctor
from distill_data.commands.expand import expand
from distill_data.commands.export import export
from distill_data.commands.feature import feature
from distill_data.commands.feedback import feedback
from distill_data.commands.filter import filter_rows
from distill_data.commands.label import label
from distill_data.commands.models import pull_model
from distill_data.commands.options import Options, Summary
from distill_data.commands.recipes import recipes
from distill_data.commands.self_knowledge import self_knowledge
from distill_data.commands.show import show
from distill_data.commands.status import status
from distill_data.commands.verify import verify

__all__ = [
    "Options",
    "Summary",
    "check_recipe",
    "check_student",
    "curate",
    "doctor",
    "expand",
    "export",
    "feature",
    "feedback",
    "filter_rows",
    "label",
    "pull_model",
    "recipes",
    "self_knowledge",
    "show",
    "status",
    "verify",
]
