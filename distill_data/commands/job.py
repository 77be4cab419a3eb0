"""Job: a run, planned. Knows no method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from distill_data.commands.options import Options
from distill_data.commands.plan import Seeds
from distill_data.commands.shards import kinds_of, path_of
from distill_data.commands.work import Work
from distill_data.engine.publish import Files, files_of
from distill_data.recipes import Recipe
from distill_data.reporting import Progress
from distill_data.teachers import Resolved
from distill_data.teachers.protocol import Profile


@dataclass(frozen=True, slots=True)
class Job:
    """A run, planned."""

    recipe: Recipe
    seeds: Seeds
    options: Options
    output: Path
    """Of the whole job; a shard's own files lie elsewhere, see `files`."""
    profiles: Mapping[str, Profile]
    resolved: Mapping[str, Resolved]
    make_work: Callable[[], Work]
    plan: str
    questions: str
    """What is asked, whoever is asked, about whatever and how often; see `plan.questions_digest`."""
    say: Callable[[Progress], None]

    def facts(self) -> dict[str, Any]:
        """What the manifest's result says about the job itself."""
        return {
            "plan": self.plan,
            "command": self.recipe.command,
            "recipe": {"name": self.recipe.name, "digest": self.recipe.digest, "paper": self.recipe.paper},
            "settings": orjson.loads(orjson.dumps({**self.recipe.settings, **self.recipe.sampling})),
            "seeds": {"rows": self.seeds.rows, "digest": self.seeds.digest, **self.seeds.origin()},
            "teachers": {role: profile.name for role, profile in self.profiles.items()},
        }

    def files(self, *, partial: bool = False) -> Files:
        """Where the outcome is written."""
        shard, others = self.options.shard, self.options.other_kinds
        if shard is None:
            return files_of(self.output, partial=partial, others=others)
        others = kinds_of(self.output, shard, others)
        return files_of(path_of(self.output, shard), partial=partial, others=others, order=True)
