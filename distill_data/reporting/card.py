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
HEAD = "---\npretty_name: "
"""What every card begins with."""
WRITERS = frozenset({"label", "expand", "curate", "feedback", "self-knowledge"})
"""Commands whose models write what is in rows. Those of `score` and `feature` give numbers for what is there."""
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
    known = wishes.license.lower()  # as the Hub writes them
    if not known:
        yield "license: unknown"
    elif _LICENSE.fullmatch(known):
        yield f"license: {quoted(known)}"
    else:
        yield "license: other"
        yield f"license_name: {quoted(wishes.license)}"
    yield from _listed("language", look.languages)
    yield from _listed("size_categories", [next((size for most, size in SIZES if look.rows < most), "n>10M")])
    yield from _listed("task_categories", _tasks(steps, look))
    methods = [str(_facts(step, "recipe").get("name", "")) for step in steps]
    made = ["synthetic", "distillation"] if any(map(_writes, steps)) else []
    tags = [*made, "distill-data", *filter(_TAG.fullmatch, methods)]
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
    closed = any(_facts(step, "settings").get("labels") for step in steps)
    found = [TASKS.get(kind, "text-generation") for kind in look.kinds] or ["text-generation"]
    return list(dict.fromkeys([*(["text-classification"] if closed else []), *found]))


def _datasets(result: Result) -> dict[str, Result]:
    """The files of rows, without rejects."""
    return {name: each for name, each in result["files"].items() if each and name != "rejects"}


def _about(look: Look, steps: Sequence[Result]) -> str:
    kinds = f" of the kind {', '.join(map(code, look.kinds))}" if look.kinds else ""
    commands = ", ".join(code(str(step.get("command", ""))) for step in steps)
    models = ", ".join(f"{code(name)} ({rows:,} rows)" for name, rows in look.models.items())
    said = f" The rows name the model that answered, as its server calls it: {models}." if models else ""
    return f"{look.rows:,} rows{kinds}, made with distill-data by {commands or 'no recorded step'}. {_who(steps)}{said}"


def _who(steps: Sequence[Result]) -> str:
    """Who wrote what is in the rows, as far as the steps tell."""
    if any(map(_writes, steps)):
        wrote = "wrote or judged" if {str(step.get("command")) for step in steps} & WRITERS == {"feedback"} else "wrote"
        beside = ", beside rows that came from elsewhere" if any(map(_elsewhere, steps)) else ""
        return f"Models {wrote} what is in them{beside}; nothing says that a person has read them."
    asked = any(_facts(step, "teachers") for step in steps)
    return (
        "No recorded step had a model write them; they came from elsewhere, and nothing here says who wrote them."
        + (" What models said about them was added." if asked else "")
    )


def _writes(step: Result) -> bool:
    return str(step.get("command")) in WRITERS or _facts(step, "recipe").get("name") == "generated"


def _elsewhere(step: Result) -> list[Result]:
    """Files that the step read and no recorded step made."""
    found = step.get("elsewhere")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _facts(step: Result, name: str) -> Result:
    """A mapping of a step, which may be of another version or program; empty where it is none."""
    found = step.get(name)
    return found if isinstance(found, Mapping) else {}


def _tally(facts: Any) -> dict[str, int]:
    """Whole numbers by their names; what else there is counts as not there."""
    found = facts.items() if isinstance(facts, Mapping) else ()
    return {str(name): count for name, count in found if type(count) is int}


def _step(number: int, step: Result) -> str:
    """A step of the lineage: who, by which recipe, from what, what came of it, with which settings."""
    lines = [f"### {number}. {code(str(step.get('command', '')))}", ""]
    recipe, seeds = _facts(step, "recipe"), _facts(step, "seeds")
    if recipe:
        mark = f", digest {code(str(recipe.get('digest', ''))[:16])}"
        lines.append(f"- recipe: {code(str(recipe.get('name', '')))}{mark}{_papers(str(recipe.get('paper') or ''))}")
    lines += [f"- {escaped(str(role))}: {code(str(name))}" for role, name in _facts(step, "teachers").items()]
    if seeds:
        rows = _tally(seeds).get("rows", 0)
        lines.append(f"- seeds: {rows:,} rows, digest {code(str(seeds.get('digest', ''))[:16])}")
    lines += [
        f"- rows from elsewhere, with no manifest beside them: {_origin(each)}, SHA-256 {code(str(each.get('sha256')))}"
        for each in _elsewhere(step)
    ]
    lines += _counts(step)
    settings = step.get("settings")
    if settings:
        shown = json.dumps(_cut(settings), indent=2, ensure_ascii=False, default=str)[:EXAMPLE]
        lines += ["", "Settings:", "", fenced(shown, "json")]
    return "\n".join(lines)


def _origin(source: Result) -> str:
    if "hub" in source:
        return f"{code(str(source['hub']))} on the Hub, {code(str(source.get('revision')))}"
    return code(str(source.get("name")))


def _papers(text: str) -> str:
    found = _PAPER.findall(text)
    links = [f"[arXiv:{number}](https://arxiv.org/abs/{number})" for number in found]
    return f", after {', '.join(links)}" if links else f", after {code(text)}" if text else ""


def _counts(step: Result) -> Iterator[str]:
    """Sums, reasons and what was checked."""
    sums, gold = _tally(step), _tally(step.get("gold"))
    whole = next((name for name in ("items", "rows") if name in sums), "")
    ends = [f"{sums[end]:,} {end}" for end in ("kept", "rejected", "failed") if end in sums]
    if whole and ends:
        yield f"- {sums[whole]:,} {whole} = {' + '.join(ends)}"
    for key, title in (("reasons", "rejected or failed"), ("dropped", "samples dropped in kept items")):
        ordered = sorted(_tally(step.get(key)).items(), key=lambda pair: (-pair[1], pair[0]))
        if ordered:
            yield f"- {title}: {', '.join(f'{count:,} {code(name)}' for name, count in ordered)}"
    if gold.get("compared"):
        yield f"- equal to the seeds' own answer: {gold.get('equal', 0):,} of {gold['compared']:,}"
    for name, each in _facts(step, "measures").items():
        measure = _tally(each)
        if measure:
            yield f"- {escaped(name.replace('_', ' '))}: {measure.get('count', 0):,} of {measure.get('of', 0):,}"
    if isinstance(step.get("judge"), str):
        yield f"- the judge, by planted answers: {code(step['judge'])}"


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
    given = [line for step in steps for line in _given(step, wishes)]
    yield from dict.fromkeys(given)
    named = [str(name) for step in steps for name in _facts(step, "teachers").values()]
    models = list(dict.fromkeys([*named, *look.models]))
    for name in models:
        if name == "echo":
            yield "- `echo` is no model: it repeats what it is asked."
        else:
            yield f"- Outputs of {code(name)} are subject to its provider's terms."
    if models:
        yield (
            "- Before this dataset is used or passed on, its maker must check that these terms allow training on the "
            "outputs, and publishing them."
        )


def _given(step: Result, wishes: Wishes) -> Iterator[str]:
    """The licences of what the step was given: its seeds, and rows from elsewhere."""
    seeds = _facts(step, "seeds")
    if seeds:
        yield _licence("seeds", f" (from {_origin(seeds)})" if "hub" in seeds else "", seeds.get("digest"), wishes)
    for each in _elsewhere(step):
        yield _licence("rows", f" from {_origin(each)}", each.get("sha256"), wishes)


def _licence(what: str, origin: str, digest: Any, wishes: Wishes) -> str:
    shipped = wishes.shipped.get(str(digest))
    if shipped:
        return f"- Licence of the {what}: CC0 1.0; they are {code(f'@{shipped}')}, which comes with distill-data."
    stated = code(wishes.seeds_license) if wishes.seeds_license else "not stated. The maker has to name it"
    return f"- Licence of the {what}{origin}: {stated}."


def _use(result: Result, wishes: Wishes, digest: str) -> Iterator[str]:
    files = _datasets(result)
    name = next(iter(files.values()))["name"]
    place = [json.dumps(wishes.repository)] if wishes.repository else ['"json"', f"data_files={json.dumps(name)}"]
    call = ", ".join([*place, 'split="train"'])
    yield fenced(f"from datasets import load_dataset\n\nrows = load_dataset({call})", "python")
    shards = _facts(result, "features").get("shards") or []
    if shards:
        yield f"The arrays of its rows are in {len(shards):,} files of the format safetensors beside it."
    yield "The files are whole where this says OK for each, in their folder:"
    sums = [plain(f"{each['sha256']}  {each['name']}", one_line=True) for each in (*files.values(), *shards)]
    yield fenced("\n".join(["sha256sum -c <<'SUMS'", *sums, "SUMS"]), "sh")
    yield f"SHA-256 of the manifest, which says how all of this came about: {code(digest)}."
