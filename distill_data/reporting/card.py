"""A dataset card for the Hugging Face Hub: Markdown with YAML before it, from a manifest and what a look at rows found.

Equal facts give equal text: there is no date in it. All that models, recipes and users wrote goes through
`reporting.markdown`. Knows no file and no Hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill_data.reporting.markdown import code, escaped, fenced, quoted
from distill_data.reporting.plain import plain

Result = Mapping[str, Any]
"""A manifest's result, or one step of a lineage."""

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
TASKS = {"triple": "sentence-similarity", "ranked": "text-ranking"}
"""Kind of record to the Hub's word for what it trains, where that is not text-generation."""
CELL, ITEMS, EXAMPLE = 400, 6, 6000
"""Characters of a text, entries of a list and characters in all that the example shows."""
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})", re.IGNORECASE)
_TAG = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Look:
    """What reading the rows told."""

    rows: int
    columns: Mapping[str, str]
    """Name to what it holds, in words."""
    kinds: Sequence[str]
    models: Mapping[str, int]
    """Model that answered, as its server calls it, to its rows."""
    languages: Sequence[str]
    """Codes, the most frequent first."""
    example: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the maker says."""

    title: str = ""
    license: str = ""
    seeds_license: str = ""
    repository: str = ""
    """`ORG/NAME`, where it is known."""
    shipped: Mapping[str, str] = field(default_factory=dict)
    """Digest of seeds to the name of the shipped set that has it."""


def write_card(result: Result, steps: Sequence[Result], look: Look, wishes: Wishes, digest: str) -> str:
    """The card's text. `steps` made the dataset, oldest first; `digest` is the SHA-256 of the manifest's file."""
    chapters = [
        "\n".join(("---", *_front(result, steps, look, wishes), "---")),
        f"# {escaped(wishes.title)}",
        _about(look, steps),
        "## How it was made",
        *(_step(number, step) for number, step in enumerate(steps, 1)),
        *_elsewhere(result),
        "## What a row is",
        "\n".join(f"- {code(name)}: {kind}" for name, kind in look.columns.items()),
        "The first row, long texts cut:",
        fenced(_example(look.example), "json"),
        "## Licence and terms",
        "\n".join(_terms(steps, look, wishes)),
        "## How to load and verify it",
        *_use(result, wishes, digest),
    ]
    return "\n\n".join(chapters) + "\n"


def _front(result: Result, steps: Sequence[Result], look: Look, wishes: Wishes) -> Iterator[str]:
    """The lines of YAML. Keys and words are ours; every other value is quoted."""
    yield f"pretty_name: {quoted(wishes.title)}"
    if not wishes.license:
        yield "license: unknown"
    elif _LICENSE.fullmatch(wishes.license):
        yield f"license: {quoted(wishes.license)}"
    else:
        yield "license: other"
        yield f"license_name: {quoted(wishes.license)}"
    yield from _listed("language", look.languages)
    yield from _listed("size_categories", [next((size for most, size in SIZES if look.rows < most), "n>10M")])
    yield from _listed("task_categories", _tasks(steps, look))
    methods = [str(step.get("recipe", {}).get("name", "")) for step in steps if isinstance(step.get("recipe"), Mapping)]
    tags = ["synthetic", "distillation", "distill-data", *filter(_TAG.fullmatch, methods)]
    yield from _listed("tags", list(dict.fromkeys(tags)))
    yield "configs:"
    for name, described in _datasets(result).items():
        yield f"  - config_name: {quoted('default' if name == 'dataset' else name)}"
        yield "    data_files:"
        yield "      - split: train"
        yield f"        path: {quoted(described['name'])}"


def _listed(key: str, values: Sequence[str]) -> Iterator[str]:
    if values:
        yield f"{key}:"
        yield from (f"  - {quoted(value)}" for value in values)


def _tasks(steps: Sequence[Result], look: Look) -> list[str]:
    closed = any(isinstance(step.get("settings"), Mapping) and step["settings"].get("labels") for step in steps)
    found = [TASKS.get(kind, "text-generation") for kind in look.kinds] or ["text-generation"]
    return list(dict.fromkeys([*(["text-classification"] if closed else []), *found]))


def _datasets(result: Result) -> dict[str, Result]:
    """The files of rows, without rejects."""
    return {name: each for name, each in result["files"].items() if each and name != "rejects"}


def _about(look: Look, steps: Sequence[Result]) -> str:
    kinds = f" of the kind {', '.join(map(code, look.kinds))}" if look.kinds else ""
    commands = ", ".join(code(str(step.get("command", ""))) for step in steps)
    models = ", ".join(f"{code(name)} ({rows:,} rows)" for name, rows in look.models.items())
    said = f" The model that answered, as its server names it: {models}." if models else ""
    return (
        f"{look.rows:,} rows{kinds}, made with distill-data by {commands or 'no recorded step'}. Models wrote what "
        f"is in them; nothing says that a person has read them.{said}"
    )


def _step(number: int, step: Result) -> str:
    """A step of the lineage: who, by which recipe, what came of it, with which settings."""
    lines = [f"### {number}. {code(str(step.get('command', '')))}", ""]
    recipe = step.get("recipe")
    if isinstance(recipe, Mapping):
        mark = f", digest {code(str(recipe.get('digest', ''))[:16])}"
        lines.append(f"- recipe: {code(str(recipe.get('name', '')))}{mark}{_papers(str(recipe.get('paper') or ''))}")
    roles = step.get("teachers")
    for role, name in roles.items() if isinstance(roles, Mapping) else ():
        lines.append(f"- {escaped(str(role))}: {code(str(name))}")
    seeds = step.get("seeds")
    if isinstance(seeds, Mapping):
        lines.append(f"- seeds: {seeds.get('rows', 0):,} rows, digest {code(str(seeds.get('digest', ''))[:16])}")
    lines += _counts(step)
    settings = step.get("settings")
    if settings:
        shown = json.dumps(_cut(settings), indent=2, ensure_ascii=False, default=str)[:EXAMPLE]
        lines += ["", "Settings:", "", fenced(shown, "json")]
    return "\n".join(lines)


def _papers(text: str) -> str:
    found = _PAPER.findall(text)
    links = [f"[arXiv:{number}](https://arxiv.org/abs/{number})" for number in found]
    return f", after {', '.join(links)}" if links else f", after {code(text)}" if text else ""


def _counts(step: Result) -> Iterator[str]:
    """Sums, reasons and what was checked."""
    whole = next((key for key in ("items", "rows") if isinstance(step.get(key), int)), "")
    ends = [f"{step[end]:,} {end}" for end in ("kept", "rejected", "failed") if isinstance(step.get(end), int)]
    if whole and ends:
        yield f"- {step[whole]:,} {whole} = {' + '.join(ends)}"
    for key, title in (("reasons", "rejected or failed"), ("dropped", "samples dropped in kept items")):
        counts = step.get(key)
        if isinstance(counts, Mapping) and counts:
            ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
            yield f"- {title}: {', '.join(f'{count:,} {code(name)}' for name, count in ordered)}"
    gold = step.get("gold")
    if isinstance(gold, Mapping) and gold.get("compared"):
        yield f"- equal to the seeds' own answer: {gold['equal']:,} of {gold['compared']:,}"
    measures = step.get("measures")
    for name, tally in measures.items() if isinstance(measures, Mapping) else ():
        if isinstance(tally, Mapping):
            yield f"- {escaped(name.replace('_', ' '))}: {tally.get('count', 0):,} of {tally.get('of', 0):,}"
    if isinstance(step.get("judge"), str):
        yield f"- the judge, by planted answers: {code(step['judge'])}"


def _elsewhere(result: Result) -> Iterator[str]:
    """Files that no recorded step made."""
    sources = result.get("sources")
    foreign = [each for each in sources or () if isinstance(each, Mapping) and not each.get("lineage")]
    if foreign:
        yield "Rows that came from elsewhere, with no manifest beside them:"
        yield "\n".join(f"- {code(str(each.get('name')))}, SHA-256 {code(str(each.get('sha256')))}" for each in foreign)


def _cut(value: Any) -> Any:
    match value:
        case str() if len(value) > CELL:
            return f"{value[:CELL]}…"
        case list() if len(value) > ITEMS:
            return [*map(_cut, value[:ITEMS]), f"… {len(value) - ITEMS} more"]
        case list():
            return list(map(_cut, value))
        case Mapping():
            return {key: _cut(inner) for key, inner in value.items()}
        case _:
            return value


def _example(row: Mapping[str, Any]) -> str:
    shown = json.dumps(_cut(row), indent=2, ensure_ascii=False, default=str)
    return shown if len(shown) <= EXAMPLE else f"{shown[:EXAMPLE]}…"


def _terms(steps: Sequence[Result], look: Look, wishes: Wishes) -> Iterator[str]:
    stated = code(wishes.license) if wishes.license else "not stated. The maker has to name one (`--license`)"
    yield f"- Licence of the dataset: {stated}."
    yield from dict.fromkeys(_seeds(step["seeds"], wishes) for step in steps if isinstance(step.get("seeds"), Mapping))
    named = [str(name) for step in steps for name in (step.get("teachers") or {}).values()]
    for name in dict.fromkeys([*named, *look.models]):
        if name == "echo":
            yield "- `echo` is no model: it repeats what it is asked."
        else:
            yield f"- Outputs of {code(name)} are subject to its provider's terms."
    yield (
        "- Before this dataset is used or passed on, its maker must check that these terms allow training on the "
        "outputs, and publishing them."
    )


def _seeds(seeds: Mapping[str, Any], wishes: Wishes) -> str:
    shipped = wishes.shipped.get(str(seeds.get("digest")))
    if shipped:
        return f"- Licence of the seeds: CC0 1.0; they are {code(f'@{shipped}')}, which comes with distill-data."
    origin = (
        f" (from {code(str(seeds['hub']))} on the Hub, {code(str(seeds.get('revision')))})" if "hub" in seeds else ""
    )
    stated = code(wishes.seeds_license) if wishes.seeds_license else "not stated. The maker has to name it"
    return f"- Licence of the seeds{origin}: {stated}."


def _use(result: Result, wishes: Wishes, digest: str) -> Iterator[str]:
    files = _datasets(result)
    name = next(iter(files.values()))["name"]
    place = [json.dumps(wishes.repository)] if wishes.repository else ['"json"', f"data_files={json.dumps(name)}"]
    call = ", ".join([*place, 'split="train"'])
    yield fenced(f"from datasets import load_dataset\n\nrows = load_dataset({call})", "python")
    shards = (result.get("features") or {}).get("shards") or []
    if shards:
        yield f"The arrays of its rows are in {len(shards):,} files of the format safetensors beside it."
    yield "The files are whole where this says OK for each, in their folder:"
    sums = [f"{each['sha256']}  {plain(each['name'], one_line=True)}" for each in (*files.values(), *shards)]
    yield fenced("\n".join(["sha256sum -c <<'SUMS'", *sums, "SUMS"]), "sh")
    yield f"SHA-256 of the manifest, which says how all of this came about: {code(digest)}."
