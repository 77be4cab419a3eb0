"""Which lane a run may take. Knows no endpoint: `batched` is imported by runs that go by batches."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from distill_data.commands.options import Options
from distill_data.commands.seating import needs_of
from distill_data.engine.batches import Ledger
from distill_data.errors import UsageError
from distill_data.recipes import Recipe
from distill_data.teachers.prices import BATCH
from distill_data.teachers.profiles import ON_THE_WIRE
from distill_data.teachers.protocol import Profile


def check_lane(options: Options, recipe: Recipe, profiles: Mapping[str, Profile]) -> None:
    """Raise UsageError where those who are asked have no batch endpoint."""
    if options.lane == "online":
        return
    others = [profile.name for role, profile in profiles.items() if not is_batched(profile)]
    if others and (options.lane == "batch" or len(others) == len(profiles)):
        raise UsageError(
            f"--lane {options.lane}: {others[0]} runs in this process and has no batch endpoint; only models of a "
            "server do, -t openai/MODEL. Drop --lane"
            + (", or take --lane auto." if len(others) < len(profiles) else ".")
        )
    if "score" in needs_of(recipe):
        raise UsageError(f"--lane {options.lane}: scoring a given text takes several posts each, which no batch takes.")


def is_batched(profile: Profile) -> bool:
    """Whether the model is on a server, which may have a batch endpoint."""
    return profile.model.partition("/")[0] in ON_THE_WIRE


def refuse_open(options: Options, ledger: Ledger, addresses: Collection[str]) -> None:
    """Raise UsageError where a run would ask online what its batches are answering, or none of the servers that it
    asks has them."""
    if options.lane == "online" and ledger.open:
        requests = sum(upload.requests for upload in ledger.open)
        raise UsageError(
            f"batches of this run are open, with {requests} requests that are or will be paid for. Give --lane batch "
            "or --lane auto to fetch them first; once they are done, --lane online goes on with the rest."
        )
    away = [upload for upload in ledger.open if upload.at not in addresses]
    if away:
        raise UsageError(
            f"batches of this run are open at {away[0].at}, with {sum(upload.requests for upload in away)} requests "
            "that are or will be paid for, and no model there is asked now. Name the models and the --base-url that "
            "they were submitted with, or another -o."
        )


def expected_cost(options: Options, cost: float | None) -> float | None:
    """What costs this much online, in the lane that is meant. None is unknown."""
    return cost if cost is None or options.lane == "online" else cost * BATCH
