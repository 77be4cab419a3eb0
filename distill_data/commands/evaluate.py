"""`evaluate`: what a student is worth on held-out rows, with intervals, and against a baseline.

A run as those of the other commands, whose records are the rows with what they brought each model; the figures are made
of its records. Joins methods.evaluating to the engine.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jsonlines
import orjson

from distill_data.commands.figures import figures_of, method_of
from distill_data.commands.generate import MakeWork, generate
from distill_data.commands.options import Options, Summary
from distill_data.commands.plan import Seeds, find_seeds
from distill_data.commands.roles import EVALUATE
from distill_data.commands.work import OverSeeds
from distill_data.data.items import Row, canonical, digest
from distill_data.engine.durable import disk_error, write_atomically
from distill_data.errors import SeedError, UsageError
from distill_data.methods.evaluating import (
    JUDGE,
    METRICS,
    SIDES,
    check_held_out,
    make_evaluating,
    usual_metric,
)
from distill_data.methods.held_out import HeldOut, read_held_out
from distill_data.methods.panel import Panel, make_panel
from distill_data.quality.bootstrap import require_numpy
from distill_data.recipes import Recipe, apply_settings, load_recipe
from distill_data.reporting import Progress
from distill_data.teachers import BACKENDS, Resolved
from distill_data.teachers.profiles import find_profile, load_profiles
from distill_data.teachers.protocol import Profile

LOG = logging.getLogger(__name__)
JUDGES_BY = ("feedback", "compare")
"""The recipe whose prompt the judge is asked by."""
JUDGE_SETTINGS = ("criterion", "rationale")
"""Settings of that recipe that mean something here."""
MAX_TOKENS = 512
NAME = "evaluation"
"""What files are called where the output is a folder."""


class Evaluation(NamedTuple):
    """How an evaluation ended."""

    summary: Summary
    """Of its run."""
    results: Mapping[str, Any]
    """The figures, as the JSON file has them; empty where the run is not whole."""
    output: str
    """The JSON file; the rows stand beside it."""


def evaluate(
    model: str,
    *,
    task: str,
    metrics: Sequence[str] = (),
    baseline: str = "",
    judge: str = "",
    max_tokens: int = MAX_TOKENS,
    output: str = "",
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] | None = None,
) -> Evaluation:
    """Measure a model on the rows of `task`, and beside it a `baseline` on the same ones.

    `model` and `baseline` are profiles, `backend/model` names or folders of trained students. `metrics` are names of
    `methods.evaluating.METRICS`; without any, the usual one of such rows, and `judge` where there is a judge. `output`
    is a JSON file or a folder; empty keeps the run under `.distill/`. Equal answers are bought once for all metrics,
    and for the runs that follow there. Raises DistillError; where it is a UsageError, nothing was sent.
    """
    require_numpy()
    if task == "-":
        raise UsageError("--task -: the rows are read more than once; give a file.")
    known = load_profiles(options.config)
    models = [name_of(each, known) for each in (model, baseline, judge) if each]
    options = replace(
        options, students=tuple(models[: 2 if baseline else 1]), teachers=tuple(models[-1:] if judge else ())
    )
    _refuse_itself(options.students, known)
    rows = _read(find_seeds(task, options, None))
    chosen = _metrics(metrics, [row for _, row in rows], judge=bool(judge))
    for where, row in rows:
        try:
            check_held_out(row, chosen, baseline=bool(baseline))
        except SeedError as error:
            raise SeedError(f"{where}: {error}.") from None
    recipe = _recipe(chosen, max_tokens, options)
    path = _place(output, task, options, recipe, chosen)
    _refuse_others(path)
    if not output:
        options = replace(options, accept_drift=True)  # the place has the models' names, and these may be trained anew
    summary = generate(EVALUATE, task, recipe, str(path.with_suffix(".jsonl")), options, _prepare, progress)
    if summary.status not in ("published", "unchanged"):
        return Evaluation(summary, {}, str(path))
    results = _results(Path(task).name, path, summary, chosen, options.seed)
    _write(path, orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return Evaluation(summary, results, str(path))


# -- what is asked of whom ---------------------------------------------------------------------------------------------


def name_of(model: str, known: Mapping[str, Profile]) -> str:
    """The model as teachers are named; a folder is one of transformers. Raises UsageError for a folder that is not."""
    if model in known or model.partition("/")[0] in BACKENDS:
        return model
    path = Path(model)
    if path.is_dir():
        return f"transformers/{path}" if path.is_absolute() else f"transformers/./{path}"
    if "/" in model:
        raise UsageError(
            f"{model}: there is no such folder. A model is the folder of a trained student, a profile, or written "
            f"backend/model, where the backends are {', '.join(BACKENDS)}."
        )
    return model


def _refuse_itself(students: Sequence[str], known: Mapping[str, Profile]) -> None:
    """Raise UsageError where a model is to be compared with itself."""
    found = [find_profile(name, known) for name in students]
    if len({(each.model, each.base_url) for each in found}) < len(found):
        raise UsageError(
            f"--baseline {found[1].name}: is the model itself, so every difference would be 0. Name another."
        )


def _metrics(named: Sequence[str], rows: Sequence[HeldOut], *, judge: bool) -> tuple[str, ...]:
    """The metrics, each once. Raises UsageError."""
    for name in named:
        if name not in METRICS:
            raise UsageError(f"--metric {name}: there is no such metric; there are {', '.join(METRICS)}.")
    if "judge" in named and not judge:
        raise UsageError("--metric judge: name who judges, --judge MODEL.")
    found = [*named, *(["judge"] if judge else [])]
    if not named and not (judge and not any(row.answer for row in rows)):
        found.insert(0, usual_metric(rows))
    return tuple(dict.fromkeys(found))


def _recipe(metrics: Sequence[str], max_tokens: int, options: Options) -> Recipe:
    """The judge's recipe, with no columns of its own for rows to have, and greedy unless `--set` says otherwise.

    Raises UsageError.
    """
    if max_tokens < 1:
        raise UsageError(f"--max-tokens {max_tokens}: must be at least 1.")
    asks = {METRICS[name].asks for name in metrics}
    compare = load_recipe(JUDGES_BY[1], JUDGES_BY[0])
    for name in options.settings:
        if name == "samples" or (name in compare.settings and name not in JUDGE_SETTINGS):
            raise UsageError(f"--set {name}: evaluate has no such setting; there are {', '.join(JUDGE_SETTINGS)}, and "
                             "temperature and the like.")  # fmt: skip
        if name in JUDGE_SETTINGS and "judge" not in asks:
            raise UsageError(f"--set {name}: is for a judge, and none is asked; name one, --judge MODEL.")
    recipe = apply_settings(compare, {"temperature": "0", "max_tokens": str(max_tokens), **options.settings})
    sampling = {key: value for key, value in recipe.sampling.items() if key != "top_p" or key in options.settings}
    judged = {name: recipe.settings[name] for name in JUDGE_SETTINGS} if "judge" in asks else {}
    return replace(
        recipe,
        command=EVALUATE,
        name=recipe.name if judged else EVALUATE,
        paper=recipe.paper if judged else "",
        digest=recipe.digest if judged else "",
        columns={},
        sampling=sampling if asks & {"text", "judge"} else {},
        settings={"metrics": list(metrics), **judged},
        samples=1,
    )


def _prepare(
    recipe: Recipe, models: Mapping[str, str], seeds: Seeds, pool: Sequence[Row], options: Options
) -> MakeWork:
    """Makes works over every row. Raises UsageError where a replayed run asked other models."""
    asked = [*options.students, *options.teachers]
    if [*models.values()] != asked:
        raise UsageError(
            f"that run asked {', '.join(models.values())}, and not {', '.join(asked)}; name the same ones."
        )
    metrics = recipe.settings["metrics"]
    panel = _panel(recipe, models, options.seed) if JUDGE in models else None
    method = make_evaluating(panel, models, metrics, recipe.sampling)

    def make_work(resolved: Mapping[str, Resolved]) -> OverSeeds:
        identities = {side: resolved[role].identity for role, side in SIDES.items() if role in resolved}
        weights = {side: each["weights"] for side, each in identities.items() if "weights" in each}
        if len(weights) == 2 and identities["model"] == identities["baseline"]:
            raise UsageError(
                f"{asked[1]}: has the same weights as {asked[0]}, so every difference would be 0. Name "
                "another --baseline."
            )
        return OverSeeds(seeds, method, facts={"weights": weights} if weights else {})

    return make_work


def _panel(recipe: Recipe, models: Mapping[str, str], seed: int) -> Panel:
    """Who judges, with all that the judge's prompt is shown."""
    compare = load_recipe(JUDGES_BY[1], JUDGES_BY[0])
    whole = replace(recipe, columns=compare.columns, settings={**compare.settings, **recipe.settings})
    return make_panel(whole, models, seed, 0, judges=[JUDGE])


# -- rows and files ----------------------------------------------------------------------------------------------------


def _read(seeds: Seeds) -> list[tuple[str, HeldOut]]:
    """Every row with its place. Raises SeedError for one that cannot be read, and for a file without rows."""
    found, counts, first = [], Counter[bytes](), ""
    for where, row in seeds.read():
        try:
            found.append((where, read_held_out(row)))
        except SeedError as error:
            raise SeedError(f"{where}: {error}.") from None
        counts[canonical(row)] += 1
        first = first or (where if counts[canonical(row)] > 1 else "")
    if first:
        LOG.warning(
            "%s: this row stands there before; of %d rows %d repeat others. Each counts every time, so the intervals "
            "are narrower than they should be: `distill-data dedup` drops them.",
            first,
            len(found),
            len(found) - len(counts),
        )
    return found


def _place(output: str, task: str, options: Options, recipe: Recipe, metrics: Sequence[str]) -> Path:
    """The JSON file. Raises UsageError for a name that is none."""
    if not output:
        asks = sorted({METRICS[name].asks for name in metrics})  # metrics of the same answers share their run
        job = [EVALUATE, task, options.students, options.teachers, recipe.sampling, dict(options.rename), asks]
        return (options.run or Path(".distill") / digest(job)[:16]) / f"{NAME}.json"
    path = Path(output)
    if path.suffix == ".json" and not path.is_dir():
        return path
    if output == "-" or ((path.suffix or path.exists()) and not path.is_dir()):
        raise UsageError(
            f"-o {output}: the results are JSON: name a file that ends in .json, or a folder; --json prints them."
        )
    return path / f"{NAME}.json"


def _refuse_others(path: Path) -> None:
    """Raise UsageError for a file that is there and holds no figures, and for one in a model's folder, which goes with
    all that is in it once a student is trained anew there."""
    for folder in path.absolute().parents:
        if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
            raise UsageError(f"-o {path}: {folder} is the folder of a model. Name a file or folder beside it.")
    if not path.exists():
        return
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        found = None
    except OSError as error:
        raise disk_error(error, path) from error
    if not isinstance(found, dict) or not {"task", "figures"} <= found.keys():
        raise UsageError(f"-o {path}: is there already, and holds no figures of an evaluation. Name another file.")


def _results(task: str, path: Path, summary: Summary, metrics: Sequence[str], seed: int) -> dict[str, Any]:
    """The figures with what they are of. Equal rows give equal bytes."""
    result: Mapping[str, Any] = summary.result
    names = {**SIDES, JUDGE: "judge"}
    with path.with_suffix(".jsonl").open("rb") as stream:
        records = list(jsonlines.Reader(stream, loads=orjson.loads))
    return {
        "task": {"name": task, **result["seeds"]},
        "models": {names[role]: name for role, name in result["teachers"].items()},
        "weights": result.get("weights", {}),
        "rows": len(records),
        "failed": result["failed"],
        "unfinished": {
            name.removeprefix("unfinished_"): measured["count"]
            for name, measured in result.get("measures", {}).items()
            if name.startswith("unfinished_")
        },
        "settings": result["settings"],
        "intervals": method_of(seed),
        "figures": figures_of(records, metrics, seed=seed),
    }


def _write(path: Path, content: bytes) -> None:
    """The file, unless it holds this already. Raises DiskError."""
    try:
        if path.is_file() and path.read_bytes() == content:
            return
    except OSError as error:
        raise disk_error(error, path) from error
    write_atomically(path, content, mode=0o644)
