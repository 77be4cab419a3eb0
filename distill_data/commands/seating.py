"""Teachers at work: resolved once, with a limiter each. Knows nothing about recipes and items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from distill_data.commands.roles import EVALUATE
from distill_data.commands.spending import read_prices
from distill_data.data.exchange import Lost
from distill_data.engine.ask import Seat
from distill_data.engine.limiter import Limiter
from distill_data.engine.retry import judge, judge_lost
from distill_data.errors import TeacherError, UsageError
from distill_data.recipes import Recipe
from distill_data.teachers import ProbeFailed, Resolved, bound_concurrency, open_teacher, resolve
from distill_data.teachers.lowering import blind
from distill_data.teachers.protocol import Profile


def needs_of(recipe: Recipe, role: str = "teacher") -> frozenset[str]:
    """What the recipe wants of the model in this role beyond plain text."""
    if recipe.command == EVALUATE:
        from distill_data.methods.evaluating import needs_of as needs_of_evaluation

        return needs_of_evaluation(role, recipe.settings["metrics"])
    if recipe.command == "feature":
        from distill_data.methods.feature import strategy_of

        return strategy_of(recipe).needs
    if recipe.command == "score":
        from distill_data.methods.score import strategy_of as strategy_of_score

        return strategy_of_score(recipe).needs
    wanted = {
        "choice": recipe.choices,
        "json_schema": recipe.schema,
        "seed": "seed" in recipe.sampling,
        "vision": recipe.strategy == "vision",
    }
    return frozenset(name for name, want in wanted.items() if want)


async def resolve_teachers(
    profiles: Mapping[str, Profile], needs: Mapping[str, frozenset[str]], stored: Mapping[str, Any]
) -> dict[str, Resolved]:
    """Identity and capabilities of each role. `needs`: role to what is wanted of its model. What an earlier invocation
    found out about the same model is not probed again. Raises TeacherError where a probe finds the teacher unreachable
    or unwilling."""
    return {role: await _resolve(profile, needs[role], stored.get(role)) for role, profile in profiles.items()}


async def _resolve(profile: Profile, needs: frozenset[str], known: Mapping[str, Any] | None) -> Resolved:
    if known is not None and known["model"] == profile.model and known["base_url"] == profile.base_url:
        found = {name: each for name, each in known["capabilities"].items() if (name, each) != ("scoring", "none")}
        profile = replace(profile, capabilities={**found, **profile.capabilities})
    try:
        resolved = await resolve(profile, needs)
    except ProbeFailed as error:
        result = error.result
        verdict = judge_lost(result, False) if isinstance(result, Lost) else judge(result)
        raise TeacherError(f"{profile.name}: {verdict.detail or verdict.reason}") from None
    if "vision" in needs and not resolved.capabilities.vision:
        raise UsageError(blind(profile.name))
    if "score" in needs and resolved.capabilities.scoring == "none":
        raise UsageError(
            f"{profile.name}: cannot score a given text; a model that runs here can, -t transformers/smollm2 or "
            "transformers/ORG/NAME, and a server that gives prompt_logprobs, or echo with logprobs."
        )
    if "logprobs" in needs and profile.capabilities.get("logprobs") is False:
        raise UsageError(f"{profile.name}: its profile says logprobs = false, and this recipe is about them.")
    return resolved


def take_for_granted(resolved: Mapping[str, Resolved], recipe: Recipe) -> dict[str, Resolved]:
    """For a dry run: models that nobody has asked yet are taken to be able to score, so that requests can be counted.

    How a server scores is no part of what it is asked.
    """
    return {
        role: replace(each, capabilities=replace(each.capabilities, scoring="prompt_logprobs"))
        if each.capabilities.scoring == "none" and "score" in needs_of(recipe, role)
        else each
        for role, each in resolved.items()
    }


def facts_of(profiles: Mapping[str, Profile], resolved: Mapping[str, Resolved]) -> dict[str, Any]:
    """What `run.json` keeps about the teachers, so that a replay needs neither key, engine nor weights."""
    return {
        role: {
            "name": profile.name,
            "model": profile.model,
            "base_url": profile.base_url,
            "identity": dict(resolved[role].identity),
            "capabilities": asdict(resolved[role].capabilities),
        }
        for role, profile in profiles.items()
    }


def moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """A sentence for each role whose server is another one than `run.json` says, both as `facts_of` gives them."""
    said = []
    for role in now.keys() & before.keys():
        old, new = (facts[role]["identity"].get("base_url") for facts in (before, now))
        if old != new:
            said.append(f"The {role} was at {old}, and is at {new}. ")
    return "".join(sorted(said))


def recall_teachers(stored: Mapping[str, Any]) -> tuple[dict[str, Profile], dict[str, Resolved]]:
    """Profiles and what was resolved about them, from a run's `run.json`."""
    known, prices = stored["teachers"], read_prices(stored)
    profiles = {
        role: Profile(name=facts["name"], model=facts["model"], base_url=facts["base_url"], price=prices[role])
        for role, facts in known.items()
    }
    return profiles, {role: Resolved.from_json(facts) for role, facts in known.items()}


def seat(profiles: Mapping[str, Profile], resolved: Mapping[str, Resolved]) -> dict[str, Seat]:
    """Teachers ready to be asked. Opens no connection yet."""
    return {
        role: Seat(
            profile.name,
            open_teacher(profile, resolved[role]),
            Limiter(bound_concurrency(profile, resolved[role]), profile.rpm, profile.tpm, bool(profile.concurrency)),
            profile.price,
            " ".join(filter(None, (profile.model, resolved[role].identity.get("base_url")))),
        )
        for role, profile in profiles.items()
    }
