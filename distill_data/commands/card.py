"""`card`: the dataset card of a dataset that a command wrote, from its manifest and its rows. Asks no model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from distill_data.commands.manifests import described_in, lineage_of, result_of
from distill_data.commands.verify import is_manifest
from distill_data.data.columns import x_of, y_of
from distill_data.data.items import Row, canonical
from distill_data.data.rows import open_rows
from distill_data.data.seeds import open_seeds, read_rows
from distill_data.engine.durable import disk_error, file_digest, write_atomically
from distill_data.engine.publish import files_of
from distill_data.errors import DamageError, SeedError, UsageError
from distill_data.quality.language import language_of
from distill_data.recipes import shipped_seeds
from distill_data.reporting.card import HEAD, Look, Wishes, write_card

SPOKEN = 500
SPOKEN_CHARACTERS = 2000
"""Rows whose language is told, and of each as many characters of x and y."""
SPOKEN_SHARE = 0.02
"""Of these rows that have a language, for it to be named."""


class Written(NamedTuple):
    """A card and where it is."""

    text: str
    output: str
    changed: bool
    """False where the file was as it would be written."""


def card(
    source: str,
    *,
    output: str = "-",
    title: str = "",
    license: str = "",  # noqa: A002 - the word of the option and of the Hub
    seeds_license: str = "",
    repository: str = "",
) -> Written:
    """Write the card of a dataset; `-` writes no file.

    Raises UsageError where there is no manifest, or the output is no Markdown file or one that is no card; SeedError
    for rows that cannot be read, DamageError for a manifest that cannot be, DiskError.
    """
    path, target = Path(source), Path(output)
    if output != "-" and (target.suffix.lower() != ".md" or target.is_dir()):
        raise UsageError(f"-o {output}: a card is a Markdown file, so its name must end in .md.")
    text = make_card(path, Wishes(title, license, seeds_license, repository))
    data = text.encode()
    if output == "-":
        return Written(text, output, True)
    try:
        before = target.read_bytes() if target.is_file() else b""
        if before == data:
            return Written(text, output, False)
        if before and not before.startswith(HEAD.encode()):
            raise UsageError(f"-o {output}: is there already and is no card. Name another file, or remove it first.")
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, target) from error
    write_atomically(target, data, mode=0o644)
    return Written(text, output, True)


def make_card(dataset: Path, wishes: Wishes) -> str:
    """The card's text. Raises as `card`, and DamageError where the dataset is not what its manifest says."""
    result = published(dataset)
    try:
        sha256, digest = file_digest(dataset), file_digest(files_of(dataset).manifest)
    except OSError as error:
        raise UsageError(f"{dataset}: cannot be read: {error.strerror}.") from error
    if sha256 != result["files"]["dataset"]["sha256"]:
        raise DamageError(f"{dataset}: is not as its manifest says; `distill-data verify {dataset}` says more.")
    wishes = replace(wishes, title=wishes.title or dataset.stem, shipped=_shipped_digests())
    return write_card(result, lineage_of(dataset, sha256), look_at(dataset), wishes, digest)


def published(dataset: Path) -> Mapping[str, Any]:
    """The result of a whole dataset's manifest. Raises UsageError where there is none, DamageError where it is none."""
    if dataset.suffix != ".jsonl":
        raise UsageError(f"{dataset}: is no dataset that a command wrote; their names end in .jsonl.")
    if dataset.stem.endswith(".partial"):
        raise UsageError(f"{dataset}: is of a run that is not whole. Run its command again until it is.")
    path = files_of(dataset).manifest
    result = result_of(path)
    described = described_in(result).get("dataset", {})
    if is_manifest(result) and described.get("name") == dataset.name:
        return result
    if path.exists():
        raise DamageError(f"{path}: this is no manifest of {dataset} that can be read.")
    raise UsageError(
        f"{path}: there is no manifest, so nothing says how {dataset} came about. Rows from elsewhere get one by "
        f"`distill-data filter` or another command on datasets."
    )


def look_at(dataset: Path) -> Look:
    """What the rows are, from reading each once. Raises SeedError with the place."""
    columns: dict[str, dict[str, None]] = {}
    kinds, models, languages = Counter[str](), Counter[str](), Counter[str]()
    example: Row = {}
    rows = 0
    for rows, line in enumerate(open_rows(dataset).read(), 1):
        row = line.row
        example = example or row
        for name, value in row.items():
            columns.setdefault(name, {})[_sort_of(value)] = None
        if isinstance(row.get("kind"), str):
            kinds[row["kind"]] += 1
        models.update(_models(row))
        if rows <= SPOKEN:
            languages.update(_languages(row))
    return Look(
        rows,
        {name: " or ".join(sorts) for name, sorts in columns.items()},
        sorted(kinds),
        dict(models.most_common(20)),
        [code for code, count in languages.most_common() if count >= SPOKEN_SHARE * min(rows, SPOKEN)],
        example,
    )


def _sort_of(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "number"
        case str():
            return "text"
        case [{"role": _}, *_]:
            return "list of chat messages"
        case [first, *_]:
            return f"list, of {_sort_of(first)}"
        case list():
            return "list"
        case _:
            return "object"


def _models(row: Row) -> Iterator[str]:
    meta = row.get("meta")
    if isinstance(meta, Mapping) and isinstance(meta.get("model"), str) and meta["model"]:
        yield meta["model"]


def _languages(row: Row) -> set[str]:
    """Of the lines of what is asked and what is answered, where they can be told."""
    found = set()
    for part in (x_of, y_of):
        try:
            text = part(row)
        except SeedError:  # rows of no shape that is known
            text = "\n".join(value for value in row.values() if isinstance(value, str))
        found |= {language_of(line) for line in text[:SPOKEN_CHARACTERS].split("\n")}
    return {code for code in found if code}


def _shipped_digests() -> dict[str, str]:
    """Digest to the name of every seed set that comes with the package, as manifests have it: of its file, its rows,
    and of its first rows too."""
    found = {}
    for name, path in shipped_seeds().items():
        content = hashlib.sha256()
        found[file_digest(path)] = name
        for _, row in read_rows(open_seeds(path)):
            content.update(canonical(row))
            found[content.hexdigest()] = name
    return found
