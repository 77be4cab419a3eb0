"""Which models a command asks, by role: teachers and students, an answerer. Resolves and asks none of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from distill_data.commands.options import Options
from distill_data.errors import UsageError
from distill_data.recipes import Recipe
from distill_data.teachers.profiles import DEFAULT_TEACHER, ON_THE_WIRE, find_profile, load_profiles
from distill_data.teachers.protocol import Profile

LOG = logging.getLogger(__name__)
SCORING_TEACHER = "transformers/smollm2"
"""Who is asked where no teacher is named and a given text is to be scored: the embedded weights, in full."""
FROM_STUDENTS = ("feedback", "self-knowledge")
"""The commands in which a student writes y. Their strategies are imported when they run."""
EVALUATE = "evaluate"
"""The command in which the students are a model and its baseline, and the teacher, if there is one, is a judge."""


class Roles(NamedTuple):
    """Who is asked."""

    students: bool
    teachers: bool


def roles_of(recipe: Recipe, options: Options) -> Roles:
    """Who the recipe asks under its command. Raises UsageError where that contradicts the options."""
    if recipe.command == "feature":
        from distill_data.methods.feature import strategy_of

        return Roles(students=False, teachers=bool(strategy_of(recipe).needs))
    if recipe.command == "score":
        return _roles_of_score(recipe, options)
    if recipe.command == EVALUATE:
        return Roles(students=True, teachers=bool(options.teachers))
    if recipe.command not in FROM_STUDENTS:
        return Roles(students=False, teachers=True)
    if recipe.command == "self-knowledge":
        if options.teachers:
            raise UsageError("self-knowledge asks the student only: drop -t, or use feedback, where a teacher judges.")
        if len(options.students) > 1:
            raise UsageError("self-knowledge is about one student: give -s once.")
        return Roles(students=True, teachers=False)
    from distill_data.methods.feedback import STRATEGIES

    if options.students and options.answers_column:
        raise UsageError("-s and --answers exclude each other: either students answer, or the seeds bring the answers.")
    judged = recipe.strategy not in STRATEGIES or STRATEGIES[recipe.strategy].judged
    if options.teachers and not judged:
        raise UsageError(f"the recipe {recipe.name} asks no teacher: drop -t.")
    return Roles(students=not options.answers_column, teachers=judged)


def _roles_of_score(recipe: Recipe, options: Options) -> Roles:
    from distill_data.methods.score import strategy_of

    asks = strategy_of(recipe).asks
    for option, named, role in (("-t", options.teachers, "teacher"), ("-s", options.students, "student")):
        if named and asks != role:
            raise UsageError(f"the recipe {recipe.name} asks {f'a {asks}' if asks else 'nobody'}: drop {option}.")
    if len(options.students) > 1:
        raise UsageError(f"{recipe.name} is about one student: give -s once.")
    return Roles(students=asks == "student", teachers=asks == "teacher")


def find_profiles(options: Options, recipe: Recipe) -> dict[str, Profile]:
    """Role to profile: teacher, teacher-2, …, student, student-2, …, answerer. Raises UsageError."""
    roles = roles_of(recipe, options)
    students = _students(options, recipe) if roles.students else ()
    teachers = _teachers(options, recipe) if roles.teachers else ()
    answerers = tuple(filter(None, [options.answer_teacher]))
    if (
        recipe.command in (*FROM_STUDENTS, "score")
        and roles.teachers
        and teachers == (DEFAULT_TEACHER,) != options.teachers
    ):
        LOG.warning("no teacher is named (-t, DISTILL_TEACHER); the embedded one judges: %s", DEFAULT_TEACHER)
    if teachers == (SCORING_TEACHER,) != options.teachers:
        LOG.warning("no teacher is named (-t, DISTILL_TEACHER); the embedded weights are opened: %s", SCORING_TEACHER)
    find = _make_find(options, [*students, *teachers, *answerers])
    found = {
        **_numbered("student", "-s", find(students)),
        **_numbered("teacher", "-t", find(teachers)),
        **_numbered("answerer", "--answer-teacher", find(answerers)),
    }
    found = {role: _priced(profile) for role, profile in found.items()}
    _check_prices(options, found)
    _warn_of_itself(found, "" if recipe.command == EVALUATE else "; self-knowledge is the command for that")
    return found


def _make_find(options: Options, names: Sequence[str]) -> Callable[[Sequence[str]], list[Profile]]:
    """From names to profiles. Where one of all the names is on a server, the options that say where the server is and
    who asks are not meant for a model that runs in this process."""
    known = load_profiles(options.config)
    wire: dict[str, Any] = {
        "base_url": options.base_url or None,
        "api_key_env": options.api_key_env or None,
        "headers": dict(options.headers) or None,
    }
    limits: dict[str, Any] = {
        "timeout": options.timeout,
        "concurrency": options.concurrency,
        "rpm": options.rpm,
        "tpm": options.tpm,
    }

    def wired(name: str) -> bool:
        return (known[name].model if name in known else name).partition("/")[0] in ON_THE_WIRE

    some = any(map(wired, names))

    def find(names: Sequence[str]) -> list[Profile]:
        return [find_profile(name, known, **limits, **(wire if wired(name) or not some else {})) for name in names]

    return find


def _teachers(options: Options, recipe: Recipe) -> Sequence[str]:
    named = options.teachers or tuple(filter(None, [os.environ.get("DISTILL_TEACHER", "")]))
    return named or (_default_teacher(recipe),)


def _default_teacher(recipe: Recipe) -> str:
    """Who is asked where nobody is named. Raises UsageError where no model that comes with the package will do."""
    if recipe.command != "score":
        return SCORING_TEACHER if recipe.command == "feature" else DEFAULT_TEACHER
    from distill_data.methods.score import strategy_of

    needs = strategy_of(recipe).needs
    if "reward" in needs:
        raise UsageError(f"{recipe.name} needs a reward model: give -t transformers/PATH or transformers/ORG/NAME.")
    return SCORING_TEACHER if needs else DEFAULT_TEACHER


def _students(options: Options, recipe: Recipe) -> Sequence[str]:
    if not options.students:
        column = ", or --answers COLUMN where the seeds bring the answers" if recipe.command == "feedback" else ""
        raise UsageError(f"{recipe.command} needs a student: give -s MODEL, such as -s {DEFAULT_TEACHER}{column}.")
    return options.students


def _numbered(role: str, option: str, profiles: Sequence[Profile]) -> dict[str, Profile]:
    if len({(profile.model, profile.base_url) for profile in profiles}) < len(profiles):
        raise UsageError(f"{option} names the same {role} twice; for several answers of one {role} give --samples.")
    return {role if n == 1 else f"{role}-{n}": profile for n, profile in enumerate(profiles, start=1)}


def _priced(profile: Profile) -> Profile:
    """With a price, where a table knows the one that the user doesn't say. Raises UsageError for a bad base URL."""
    if profile.price is not None or profile.model.partition("/")[0] not in ON_THE_WIRE:
        return profile
    from distill_data.teachers.price_table import look_up_price

    return replace(profile, price=look_up_price(profile))


def _check_prices(options: Options, profiles: Mapping[str, Profile]) -> None:
    for profile in profiles.values():
        if options.max_cost is not None and profile.price is None:
            raise UsageError(
                f"--max-cost: the price of {profile.name} is unknown. Give it in distill.toml as "
                "price = { input = X, output = Y } (USD per million tokens), or limit --max-tokens-total instead. "
                "The extra `prices` knows those of well-known models: pip install 'distill-data[prices]'."
            )


def _warn_of_itself(profiles: Mapping[str, Profile], advice: str) -> None:
    """A judge prefers its own answers."""
    teachers = {(each.model, each.base_url) for role, each in profiles.items() if role.startswith("teacher")}
    for role, profile in profiles.items():
        if role.startswith("student") and (profile.model, profile.base_url) in teachers:
            LOG.warning(
                "%s is both student and teacher, so it judges its own answers and tends to prefer them%s",
                profile.name,
                advice,
            )
