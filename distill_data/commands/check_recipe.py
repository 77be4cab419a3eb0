"""`check-recipe`: everything that can be wrong with a recipe file and shows without asking a model.

The file may come from anybody, so it is checked in a process of its own first, with limits on memory and time. Knows
nothing about seeds files, runs and teachers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from distill_data.commands.roles import FROM_STUDENTS
from distill_data.commands.rounds import grows
from distill_data.errors import ParseError, RecipeError, UsageError, VerifierFailed
from distill_data.parsing import fields_of, make_parser
from distill_data.quality import BY_JUDGE, RUN_CODE, make_check, make_verifier
from distill_data.recipes import Recipe, command_of
from distill_data.recipes.declare import references
from distill_data.recipes.load import read_bytes, read_recipe
from distill_data.recipes.nearest import hint
from distill_data.recipes.shipped import commands
from distill_data.recipes.trial import on_trial

STRATEGY_SETTINGS: Mapping[str, frozenset[str]] = {
    "single": frozenset({"teachers", "agreement"}),
    "vote": frozenset({"teachers", "agreement", "rule", "waves"}),
    "rejection": frozenset({"keep"}),
}
"""Settings that a strategy reads, so that a template need not. `agreement` is for `teachers: vote`."""
EXTRAS = frozenset({"row", "demonstrations"})
"""Variables that `Recipe.render` adds to columns and settings."""
GROWING = frozenset({"x", "said", "operation"})
"""Variables that templates of growing commands see besides: what the teacher wrote, and what was said so far."""


def check_recipe(path: str, command: str = "") -> list[str]:
    """The problems of one recipe file, each a line for a person; none means that it is fine.

    Loads it, looks at every variable, column and setting, renders every block with the example row, and runs parser,
    checks and verifier on the example reply. Without `command` it is
    the folder's name, where that is one, else `label`.
    """
    if command and command not in commands():
        raise UsageError(f"--command {command}: there is no such command{hint(command, commands())}.")
    try:
        content = read_bytes(Path(path))
        on_trial(lambda: problems(Path(path), command, content), path)
    except RecipeError as error:
        return [str(error)]
    return problems(Path(path), command, content)


def problems(path: Path, command: str = "", content: bytes | None = None) -> list[str]:
    """As `check_recipe`, in this process and without limits; of the file's content, where it was read before."""
    try:
        recipe = read_recipe(path, command or command_of(str(path.resolve())), content)
    except UsageError as error:
        return [str(error)]
    broken = list(_broken(recipe))
    found = [*_names(recipe), *_unused(recipe), *broken]
    if grows(recipe):
        from distill_data.commands.check_growth import problems_of as problems_of_growth

        found += problems_of_growth(recipe)
    elif recipe.command in FROM_STUDENTS:
        from distill_data.commands.check_annotation import problems_of

        found += () if broken else problems_of(recipe)
    elif recipe.command == "feature":
        from distill_data.commands.check_feature import problems_of as problems_of_feature

        found += problems_of_feature(recipe)
    elif recipe.command == "score":
        from distill_data.commands.check_score import problems_of as problems_of_score

        found += () if broken else problems_of_score(recipe)
    else:
        found += () if broken else _fields(recipe)
        found += _example(recipe, judge=not broken)
    return [problem if problem.startswith(f"{path}:") else f"{path}: {problem}" for problem in found]


def _names(recipe: Recipe) -> Iterator[str]:
    """Variables that nothing defines."""
    known = {*recipe.columns, *recipe.settings, *EXTRAS, *(GROWING if grows(recipe) else ())}
    if recipe.command in (*FROM_STUDENTS, "score"):
        from distill_data.methods.needs import SHOWN

        known |= {"answers", "mark", *SHOWN}
    if recipe.demonstrations is None and not grows(recipe):
        known.discard("demonstrations")
    for name, line in recipe.body.names.items():
        if name not in known:
            yield f"{recipe.path}:{line}: {name} is no column, no setting and nothing else{hint(name, known)}"


def _unused(recipe: Recipe) -> Iterator[str]:
    """Columns and settings that nothing reads."""
    body, front = recipe.body, recipe.front
    read = {*body.keys, *body.names, recipe.gold, recipe.gold_by, str(recipe.settings.get("by", ""))}
    if recipe.demonstrations is not None:
        read.add(recipe.demonstrations.by)
        if "demonstrations" not in body.names:
            yield str(front["demonstrations"].error("no template shows them; write a loop over demonstrations"))
    if recipe.command == "feature":
        from distill_data.methods.feature import GIVEN

        read |= GIVEN
    for column in recipe.columns:
        if column not in read and "row" not in body.whole:
            yield str(front["columns"][column].error("no template uses this column"))
    read = {*body.names, *references(front), *STRATEGY_SETTINGS.get(recipe.strategy, ())}
    if grows(recipe):
        from distill_data.commands.check_growth import read_settings

        read |= read_settings(recipe)
    if recipe.command in FROM_STUDENTS:
        from distill_data.methods.needs import SETTINGS

        read |= SETTINGS.get("", frozenset()) | SETTINGS.get(recipe.strategy, frozenset())
    if recipe.command == "feature":
        from distill_data.commands.check_feature import read_settings as read_by_strategy

        read |= read_by_strategy(recipe)
    if recipe.command == "score":
        from distill_data.commands.check_score import read_settings as read_by_score

        read |= read_by_score(recipe)
    for setting in recipe.settings:
        if setting not in read:
            yield str(front["settings"][setting].error("nothing uses this setting"))


def _broken(recipe: Recipe) -> Iterator[str]:
    """Parser, checks and verifier that don't exist, or that refuse their arguments."""
    wanted = [("parser", make_parser, recipe.parser), *(("checks", make_check, spec) for spec in recipe.checks)]
    if recipe.verifier is not None and recipe.verifier.name not in {
        *RUN_CODE,
        BY_JUDGE,
    }:  # the file may come from anybody
        wanted.append(("verifier", make_verifier, recipe.verifier))
    for key, make, spec in wanted:
        try:
            make(spec.name, spec.args)
        except UsageError as error:
            yield str(recipe.front[key].error(str(error)))


def _fields(recipe: Recipe) -> Iterator[str]:
    """Fields of the record that the parser does not give."""
    fields = fields_of(recipe.parser.name, recipe.parser.args)
    record = recipe.front["record"]
    wanted = [(record["completion"][key], field) for key, field in recipe.record.completion.items()]
    for part, completion in recipe.record.parts.items():
        wanted += [(record["parts"][part][key], field) for key, field in completion.items()]
    if recipe.record.answer:
        wanted.append((record["answer"], recipe.record.answer))
    for entry, field in wanted:
        if field not in fields:
            yield str(entry.error(f"the parser gives no field {field}{hint(field, fields)}"))


def _example(recipe: Recipe, *, judge: bool) -> Iterator[str]:
    """Whether the example's row renders, and its reply passes."""
    if not recipe.example:
        yield "there is no example; add example: {row: …, reply: …}"
        return
    try:
        row = recipe.fill(recipe.example["row"])
    except UsageError as error:
        yield str(recipe.front["example"]["row"].error(str(error)))
        return
    yield from _rendered(recipe, row)
    if judge:
        yield from _judged(recipe, row)


def _rendered(recipe: Recipe, row: Mapping[str, Any]) -> Iterator[str]:
    """Blocks that fail on this row, without demonstrations or with the row as one."""
    for block in sorted(recipe.blocks):
        for demonstrations in ((), (row,)) if recipe.demonstrations else ((),):
            try:
                recipe.render(block, row, demonstrations=demonstrations)
            except UsageError as error:
                yield str(error)
                break


def _judged(recipe: Recipe, row: Mapping[str, Any]) -> Iterator[str]:
    """What parser, checks and verifier say of the example reply."""
    example = recipe.front["example"]["reply"]
    try:
        fields = make_parser(recipe.parser.name, recipe.parser.args)(recipe.example["reply"])
        for spec in recipe.checks:
            if reason := make_check(spec.name, spec.args)(fields, row):
                yield str(example.error(f"the check {spec.name} rejects it: {reason}"))
        yield from _verified(recipe, fields)
    except UsageError as error:
        yield str(error)
    except VerifierFailed as error:
        yield str(example.error(error.detail))
    except ParseError as error:
        yield str(example.error(f"the parser {recipe.parser.name} refuses it: {error}"))


def _verified(recipe: Recipe, fields: Mapping[str, Any]) -> Iterator[str]:
    """Whether the example's answer is right by its own gold."""
    if recipe.verifier is None or recipe.verifier.name in {*RUN_CODE, BY_JUDGE}:
        return
    verify = make_verifier(recipe.verifier.name, recipe.verifier.args)
    gold, answer = recipe.example["row"].get(recipe.gold, ""), fields.get(recipe.record.answer, "")
    if gold and answer and not verify(str(answer), str(gold)):
        example = recipe.front["example"]["reply"]
        yield str(
            example.error(f"the verifier {recipe.verifier.name} finds its answer {answer!r} wrong, gold is {gold!r}")
        )
