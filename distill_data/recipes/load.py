"""Recipe files to recipes, and `--set` onto them. Knows how a file is found and cut; what it says is `declare`'s."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill_data.errors import RecipeError, UsageError
from distill_data.recipes import shipped
from distill_data.recipes.declare import declared
from distill_data.recipes.frontmatter import Field, Steps, read, read_value, split
from distill_data.recipes.nearest import hint
from distill_data.recipes.recipe import Recipe
from distill_data.recipes.sampling import SAMPLING
from distill_data.recipes.template import compile_body
from distill_data.recipes.trial import on_trial

MAX_BYTES = 1 << 20
DEMONSTRATIONS = ("from", "pick", "k", "by")


def load_recipe(name_or_path: str, command: str) -> Recipe:
    """A recipe by the name of a shipped one, or by path if it has a slash or ends in `.jinja`. Raises RecipeError.

    A file that does not come with the package is read, and its example rendered, on trial first.
    """
    if "/" in name_or_path or name_or_path.endswith(shipped.SUFFIX):
        path = Path(name_or_path)
        content = read_bytes(path)  # once, so that what was tried is what is used, and a pipe will do
        if not shipped.is_shipped(path):
            on_trial(lambda: _render(read_recipe(path, command, content)), str(path))
        return read_recipe(path, command, content)
    return read_recipe(shipped.recipe_path(name_or_path, command), command)


def list_recipes(command: str | None = None) -> list[Recipe]:
    """The shipped recipes of one command, or of all, in order of command and name."""
    chosen = shipped.commands() if command is None else [command]
    return [read_recipe(path, each) for each in chosen for path in shipped.recipe_files(each).values()]


def try_row(recipe: Recipe, row: Mapping[str, Any]) -> None:
    """Render every block for this row on trial, unless the recipe comes with the package. Raises RecipeError."""
    if not shipped.is_shipped(recipe.path):
        on_trial(lambda: _render(recipe, row), str(recipe.path))


def _render(recipe: Recipe, row: Mapping[str, Any] | None = None) -> None:
    """Every block, for the example's row unless there is another. What is wrong with one is found out elsewhere."""
    row = recipe.example.get("row", {}) if row is None else row
    for block in recipe.blocks:
        with suppress(UsageError):
            recipe.render(block, row, demonstrations=(row,) if recipe.demonstrations else ())


def read_bytes(path: Path) -> bytes:
    """What a recipe file holds. Raises RecipeError."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)  # it may have no end, as /dev/zero has none
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise RecipeError(f"{path}: is longer than {MAX_BYTES} bytes")
    return content


def read_recipe(path: Path, command: str, content: bytes | None = None) -> Recipe:
    """One recipe file, or the content of one that was read. Raises RecipeError, with the line where there is one."""
    content = read_bytes(path) if content is None else content
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}:{line}: is not UTF-8; save the file as UTF-8") from None
    head, source, line = split(text, str(path))
    front, body = read(head, str(path)), compile_body(source, path, line)
    return declared(front, body, path.stem, command, path, hashlib.sha256(content).hexdigest())


def apply_settings(recipe: Recipe, pairs: Mapping[str, str]) -> Recipe:
    """The recipe with `--set KEY=VALUE` applied, checked again as a whole. Raises RecipeError.

    KEY is a sampling parameter, `extra_body.NAME`, `samples`, `demonstrations.k|from|pick|by` or a setting. VALUE is
    YAML; where text is wanted it is taken as it is (quotes around it aside), so no colon or # in it means anything.
    """
    values = copy.deepcopy(recipe.front.value)
    places = dict(recipe.front.places)
    for key, text in pairs.items():
        path = _path(recipe, key)
        inner = values
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
            if not isinstance(inner, dict):
                raise RecipeError(f"--set {key}: the recipe writes its {step} as {inner}; change that setting instead")
        inner[path[-1]] = _value(f"--set {key}", text, path, inner.get(path[-1]))
        places = {at: place for at, place in places.items() if at[: len(path)] != path}
        places[path] = f"--set {key}"
    front = Field(values, (), places)
    return declared(front, recipe.body, recipe.name, recipe.command, recipe.path, recipe.digest)


def _path(recipe: Recipe, key: str) -> Steps:
    """Where in the front matter KEY stands."""
    outer, dot, inner = key.partition(".")
    if key in SAMPLING:
        return ("sampling", key)
    if outer == "extra_body" and inner:
        return ("sampling", "extra_body", inner)
    if key == "samples":
        return ("samples",)
    if outer == "demonstrations" and dot:
        if recipe.demonstrations is None:
            raise RecipeError(f"--set {key}: the recipe {recipe.name} shows no demonstrations")
        if inner not in DEMONSTRATIONS:
            raise RecipeError(f"--set {key}: unknown key{hint(inner, DEMONSTRATIONS)}")
        return ("demonstrations", inner)
    if key not in recipe.settings:
        known = (*recipe.settings, *SAMPLING, "samples", *(f"demonstrations.{name}" for name in DEMONSTRATIONS))
        raise RecipeError(f"--set {key}: the recipe {recipe.name} has no such setting{hint(key, known)}")
    return ("settings", key)


def _value(place: str, text: str, path: Steps, old: Any) -> Any:
    """VALUE as what the key wants. A setting keeps the kind of value that the recipe gives it."""
    takes_text = path[0] == "settings" and isinstance(old, str)
    takes_text = takes_text or (path[0] == "demonstrations" and path[1] != "k")
    if takes_text:
        return _unquoted(text)
    value = read_value(text, place)
    if path[0] == "settings":
        kinds = (int, float) if type(old) in (int, float) else (type(old),)
        Field(value, path, {(): place}).of(*kinds)
    return value


def _unquoted(text: str) -> str:
    """`"a: b"` without its quotes; any other text as it is."""
    if not text.startswith(('"', "'")):
        return text
    try:
        value = read_value(text, "")
    except RecipeError:
        return text
    return value if isinstance(value, str) else text
