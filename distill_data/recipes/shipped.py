"""Where the recipes and seeds that come with the package are. Reads no file."""

from __future__ import annotations

from pathlib import Path

from distill_data.errors import RecipeError, SeedError
from distill_data.recipes.nearest import hint

PACKAGE = Path(__file__).resolve().parent.parent
SUFFIX = ".jinja"


def _folder(name: str) -> Path:
    """Inside the package where it is installed, beside it in a checkout."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def recipe_files(command: str) -> dict[str, Path]:
    """Name to file of a command's recipes, sorted."""
    return {path.stem: path for path in sorted((_folder("prompts") / command).glob(f"*{SUFFIX}"))}


def commands() -> list[str]:
    """The commands that recipes exist for."""
    return sorted(path.name for path in _folder("prompts").glob("*") if path.is_dir())


def command_of(name_or_path: str) -> str:
    """The command that a recipe is for: by the shipped name, or by the folder that a file lies in; else `label`."""
    known = commands()
    if "/" in name_or_path or name_or_path.endswith(SUFFIX):
        folder = Path(name_or_path).resolve().parent.name
        return folder if folder in known else "label"
    return next((command for command in known if name_or_path in recipe_files(command)), "label")


def recipe_path(name: str, command: str) -> Path:
    """The file of a shipped recipe. Raises RecipeError with the nearest name."""
    files = recipe_files(command)
    if name not in files:
        raise RecipeError(
            f"unknown recipe {name} for {command}{hint(name, files)} "
            f"(a file of your own is named with a slash or its ending: ./{name}{SUFFIX})"
        )
    return files[name]


def is_shipped(path: Path) -> bool:
    """Whether the file came with the package. Such a file is as trusted as the code beside it: who can change the one
    can change the other."""
    return path.resolve().is_relative_to(_folder("prompts").resolve())


def shipped_seeds() -> dict[str, Path]:
    """Name to file of the shipped seed sets, sorted."""
    return {path.stem: path for path in sorted(_folder("seeds").glob("*.jsonl"))}


def seed_path(source: str) -> Path:
    """`@name` as the file of a shipped seed set, any other source as the path that it is. Raises SeedError."""
    if not source.startswith("@"):
        return Path(source)
    files = shipped_seeds()
    if source[1:] not in files:
        raise SeedError(f"unknown seed set {source}{hint(source[1:], files)}")
    return files[source[1:]]
