"""Every shipped recipe once on the embedded teacher, a few rows each, and a page that shows what came of it.

    python examples/gallery.py [--rows 5] [--jobs 2] [--work build/gallery] [COMMAND/RECIPE ...] > docs/gallery.md

Answers are kept in the work folder, so a second start asks only what is new. It proves the plumbing on a real model and
nothing about the data: a model of 135 million parameters writes what it can.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from distill_data.commands import Options
from distill_data.commands.roles import FROM_STUDENTS, roles_of
from distill_data.commands.rounds import grows
from distill_data.recipes import Recipe, list_recipes

SEEDS = {
    "label/annotate": "@sentiment",
    "label/cot": "@questions",
    "label/erase": "@instructions",
    "label/explain": "@instructions",
    "label/extract": "@extraction",
    "label/grade": "@unlabeled",
    "label/rank": "@ranking",
    "label/rejection": "@arithmetic",
    "label/rewrite": "@unlabeled",
    "label/self-consistency": "@arithmetic",
    "label/step-by-step": "@sentiment",
    "label/summarize": "@documents",
    "label/translate": "@sentiment",
    "expand/alpaca": "@tasks",
    "expand/boundary": "@sentiment",
    "expand/complicate-answer": "@tasks",
    "expand/paraphrase": "@sentiment",
    "expand/self-instruct": "@tasks",
    "curate/agent": "@tool_tasks",
    "curate/backtranslate": "@unlabeled",
    "curate/dialogue": "@topics",
    "curate/document-qa": "@documents",
    "curate/document-query": "@documents",
    "curate/oss-instruct": "@code",
    "curate/persona": "@personas",
    "curate/rag": "@documents",
    "curate/recommend": "@histories",
    "curate/roleplay": "@roles",
    "curate/tools": "@tools",
    "curate/vision-qa": "@images",
    "feature/topk": "@tasks",
    "feature/sampled": "@tasks",
    "feature/hidden": "@documents",
    "feature/attention": "@documents",
    "feature/relations": "@documents",
    "feature/triples": "@sentiment",
    "feature/prompts": "@questions",
    "feedback/correct": "@arithmetic",
    "feedback/steps": "@arithmetic",
    "feedback/adversarial": "@tasks",
    "self-knowledge/majority": "@arithmetic",
    "self-knowledge/consistency-filter": "@arithmetic",
    "self-knowledge/star": "@arithmetic",
    "self-knowledge/rest": "@arithmetic",
    "self-knowledge/shortest": "@arithmetic",
    "self-knowledge/self-reward": "@tasks",
    "self-knowledge/instruct": "@tasks",
    "self-knowledge/spin": "@tasks",
}
"""What each recipe reads; the others read topics in `curate` and instructions elsewhere."""
RENAMED = {
    "self-knowledge/spin": ["--map", "response=output"],
    "feature/topk": ["--map", "prompt=instruction", "--map", "completion=output"],
    "feature/sampled": ["--map", "prompt=instruction", "--map", "completion=output"],
    "feature/generated": ["--map", "prompt=instruction"],
    "feature/prompts": ["--map", "prompt=question", "--map", "privileged_context=answer"],
}
SMALLER = {
    "expand/alpaca": ["per_call=3", "max_tokens=400"],
    "expand/evol-breadth": ["max_tokens=200"],
    "expand/evol-code": ["max_tokens=200"],
    "expand/evol-depth": ["max_tokens=200"],
    "expand/self-instruct": ["per_call=3", "max_tokens=200"],
    "curate/agent": ["max_tokens=120"],
    "curate/dialogue": ["max_tokens=120"],
    "curate/roleplay": ["max_tokens=120"],
    "curate/tools": ["max_tokens=200"],
    "curate/oss-instruct": ["max_tokens=300"],
    "feature/generated": ["max_tokens=120"],
    "feedback/adversarial": ["max_tokens=150"],
    "feedback/moderate": ["max_tokens=120"],
    "feedback/rate": ["max_tokens=120", "samples=2"],
    "self-knowledge/instruct": ["per_call=3", "max_tokens=200"],
    "self-knowledge/rest": ["samples=4", "max_tokens=300"],
    "self-knowledge/self-reward": ["per_call=3", "max_tokens=150", "answers=2", "judgements=1"],
}
"""Settings that make a request small enough for a small model."""
MODEL = "local/smollm2"
OPEN_MODEL = "transformers/smollm2"
"""The same weights, in full, where arrays are wanted."""
ROWS = 5
LINE = 160
"""Characters of the rows that are shown in a line."""
SHOWN = 700
"""Characters of a prompt or a completion on the page."""
SECONDS = 200
"""For one recipe; what is there by then is shown."""


class Ended(NamedTuple):
    """How one recipe went."""

    code: int
    seconds: float
    said: list[str]
    records: list[dict[str, Any]]
    rejects: list[dict[str, Any]]


def seeds_of(name: str) -> str:
    return SEEDS.get(name, "@topics" if name.startswith("curate/") else "@instructions")


def play(recipe: Recipe, rows: int, work: Path) -> tuple[list[str], Ended]:
    """Run one recipe as a user would."""
    name = f"{recipe.command}/{recipe.name}"
    out = work / f"{recipe.command}-{recipe.name}.jsonl"
    settings = list(SMALLER.get(name, ()))
    if grows(recipe):
        settings.append(f"round={rows}")
        size = ["--rows", str(rows), "--max-candidates", str(2 * rows), "--resample", "0"]
    else:
        size = ["--limit", str(rows)]
    if recipe.command in FROM_STUDENTS and "rationale" in recipe.settings:
        settings.append("rationale=false")
    size += [part for each in settings for part in ("--set", each)]
    command = [recipe.command, seeds_of(name), "-r", recipe.name, *models_of(recipe), *RENAMED.get(name, ()), *size]
    began = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 - our own command line
            [sys.executable, "-m", "distill_data", *command, "-o", str(out)],
            capture_output=True,
            timeout=SECONDS,
            text=True,
            check=False,
        )
        code, said = done.returncode, done.stderr
    except subprocess.TimeoutExpired:
        code, said = 124, f"stopped after {SECONDS} seconds"
    records, rejects = (
        [json.loads(line) for path in (out.with_suffix(end), out.with_suffix(f".partial{end}")) if path.exists()
         for line in path.read_bytes().split(b"\n") if line]
        for end in (".jsonl", ".rejects.jsonl")
    )  # fmt: skip
    return command, Ended(code, time.monotonic() - began, said.strip().split("\n"), records, rejects)


def models_of(recipe: Recipe) -> list[str]:
    """The embedded model in every role that the recipe asks."""
    if recipe.command == "feature":
        return [] if recipe.name == "prompts" else ["-t", OPEN_MODEL]
    if recipe.command not in FROM_STUDENTS:
        return ["-t", MODEL]
    judged = recipe.command == "feedback" and roles_of(recipe, Options()).teachers
    return ["-s", MODEL, *(["-t", MODEL] if judged else [])]


def chapter(recipe: Recipe, command: list[str], ended: Ended) -> str:
    """One recipe's part of the page."""
    lines = [f"## {recipe.command} -r {recipe.name}", "", recipe.about, ""]
    lines += ["```", f"distill-data {' '.join(command)} -o out.jsonl", *ended.said, "```", ""]
    if ended.records:
        shown = {key: value for key, value in ended.records[0].items() if key not in {"id", "kind", "meta"}}
        lines += ["A record:", "", "```json", shortened(shown), "```", ""]
    if ended.rejects:
        shown = {key: ended.rejects[0][key] for key in ("reason", "detail", "answers")}
        lines += ["A reject:", "", "```json", shortened(shown), "```", ""]
    return "\n".join([*lines, *others(ended), ""])


def others(ended: Ended) -> list[str]:
    """The other rows of the first five, a line each."""
    kept = [f"kept: {beginning(taught(record))}" for record in ended.records[1:]]
    lost = [f"{row['reason']}: {beginning(' / '.join(row['answers']))}" for row in ended.rejects[1:]]
    both = (kept + lost)[: ROWS - min(1, len(ended.records)) - min(1, len(ended.rejects))]
    return ["The others:", "", "```", *both, "```", ""] if both else []


def taught(record: dict[str, Any]) -> str:
    """What a record teaches."""
    said = record.get("completion") or record.get("chosen") or record.get("responses") or record.get("completions")
    if not said and ("text" in record or "anchor" in record):
        return str(record.get("text") or f"{record['anchor']} / {record['positive']} / {record['negative']}")
    last = said[-1] if said else record["prompt"][-1]
    return str(last["content"] if isinstance(last, dict) else last)


def beginning(text: str) -> str:
    """One line of a text."""
    line = " ".join(text.split()).replace("```", "` ` `")
    return line if len(line) <= LINE else f"{line[:LINE]}…"


def shortened(value: Any) -> str:
    """JSON over several lines, long texts cut."""

    def cut(inner: Any) -> Any:
        if isinstance(inner, str):
            return inner if len(inner) <= SHOWN else f"{inner[:SHOWN]}… ({len(inner):,} characters)"
        if isinstance(inner, dict):
            return {key: cut(each) for key, each in inner.items()}
        return [cut(each) for each in inner] if isinstance(inner, list) else inner

    return json.dumps(cut(value), indent=1, ensure_ascii=False).replace("```", "` ` `")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--work", type=Path, default=Path("build/gallery"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="recipes at once")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    recipes = [
        recipe for recipe in list_recipes() if not options.names or f"{recipe.command}/{recipe.name}" in options.names
    ]
    chapters, table = [], []
    with ThreadPoolExecutor(options.jobs) as pool:
        played = list(pool.map(lambda recipe: play(recipe, options.rows, options.work), recipes))
    for recipe, (command, ended) in zip(recipes, played, strict=True):
        print(f"{recipe.command}/{recipe.name}: exit {ended.code}, {len(ended.records)} rows", file=sys.stderr)
        chapters.append(chapter(recipe, command, ended))
        table.append(
            f"| `{recipe.command} -r {recipe.name}` | {ended.code} | {len(ended.records)} | {len(ended.rejects)} |"
        )
    print(HEAD.format(rows=options.rows))
    print("\n".join(["| recipe | exit code | kept | rejected |", "|---|---|---|---|", *table, ""]))
    print("\n".join(chapters))


HEAD = """\
# Gallery

Written by `make gallery`: every shipped recipe once on the embedded model, in every role, {rows} rows each, whatever
became of them: one that was kept, one that was rejected, and the others in a line. It proves that each recipe runs on a
real model, and nothing more. SmolLM2 has 135 million parameters: it
chooses well among a few labels, copies formats now and then, and otherwise writes text that is wrong, repeats itself
or ignores the task. Checks and parsers reject most of that, with the reasons shown; what passes is still no data to
train on. A recipe that ends with exit code 3 kept fewer rows than were asked for. Use a large teacher, and read rows
before you train on them.
"""

if __name__ == "__main__":
    main()
