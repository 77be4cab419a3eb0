"""Function calling: queries that need the functions at hand, the calls that meet them, what these gave, and the answer.

    tools    functions -> query -> calls, read and run -> answer (APIGen: format, execution and meaning are checked)
    agent    task and functions -> plan -> one action after the other, each seeing the results so far

Templates see the functions as rows of their seed file, `tools` as `demonstrations` and `agent` as `said.functions`, and
what was called so far as `said.steps` (thought, name, arguments, result). Knows no run; which functions can be run, and
how, is tools'.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from distill_data.data.exchange import Ask
from distill_data.data.growth import Draft, Draw, Growth
from distill_data.data.items import Item, Outcome, Row, canonical, kept, rejected
from distill_data.data.seeds import open_seeds, read_rows
from distill_data.errors import ParseError, SeedError
from distill_data.methods.drawing import draw_combined
from distill_data.methods.growing import (
    Admit,
    AnswerX,
    Composed,
    Drawer,
    make_admit,
    make_propose,
    make_x_record,
    notes_of,
    settle_nothing,
)
from distill_data.methods.setup import Setup
from distill_data.methods.stages import Said
from distill_data.parsing.folding import fold
from distill_data.recipes.shipped import seed_path
from distill_data.tools import (
    TOOLS,
    Call,
    Spec,
    Step,
    Task,
    completion,
    execute,
    read_calls,
    read_spec,
    read_task,
    solved,
    tools_column,
)

CALLS, FINAL, JUDGE, ACT = "calls", "answer", "judge", "act"


# -- tools -------------------------------------------------------------------------------------------------------------


def tools(setup: Setup) -> Growth:
    """`k`: how many functions are shown at once, the row's own among them."""
    specs = {item.id: read_spec(item.row, item.where) for item in setup.seeds}
    _distinct_names(list(specs.values()))
    return Composed(
        draw_tools(setup), make_propose(setup), make_admit(setup, ()), make_calls(setup, specs), settle_nothing
    )


def _distinct_names(specs: Sequence[Spec]) -> None:
    seen = set[str]()
    for spec in specs:
        if spec.name in seen:
            raise SeedError(f"two functions are called {spec.name!r}; a call could mean either.")
        seen.add(spec.name)


def draw_tools(setup: Setup) -> Drawer:
    """Every function with each entry of `combine`, without replacement; beside it others at random, in any order.

    Raises SeedError where there are fewer than `k` functions.
    """
    k = setup.whole("k", 3, 1)
    if k > len(setup.seeds):
        raise SeedError(f"{k} functions are shown at once, and there are {len(setup.seeds)}. Set k accordingly.")
    combined, places = draw_combined(setup, varied=k > 1), {item.id: place for place, item in enumerate(setup.seeds)}
    rng = random.Random(f"{setup.seed}:tools")

    def beside(draw: Draw) -> Draw:
        own = places[draw.source]
        others = rng.sample(range(len(setup.seeds) - 1), k - 1)
        chosen = [setup.seeds[place] for place in (own, *(other + (other >= own) for other in others))]
        rng.shuffle(chosen)
        shown = {"demonstrations": [item.row for item in chosen]}
        return draw._replace(shown=shown, parents=tuple(item.id for item in chosen))

    return lambda: [beside(draw) for draw in combined()]


def make_calls(setup: Setup, specs: Mapping[str, Spec]) -> AnswerX:
    """y is the calls, their results and the final answer. Functions that are not ours end with the calls."""

    async def call(item: Item, draft: Draft, ask: Ask) -> Outcome:
        chosen = [specs[name] for name in draft.draw.parents]
        column = {"tools": tools_column(chosen)}
        if not setup.answers:
            return kept(make_x_record(setup, item, draft, extra=column))
        said = await _asked(setup, draft, ask, CALLS, {})
        answers = (*draft.answers, said.answer.text)
        if said.reason:
            return rejected(said.reason, said.detail, *answers)
        try:
            calls = read_calls(said.fields.get("value"), chosen)
            runnable = all(each.name in TOOLS for each in calls)
            step = Step(calls, [execute(each) for each in calls] if runnable else [])
        except ParseError as error:
            return rejected(error.reason, error.detail, *answers)
        final = await _final(setup, draft, ask, step, answers) if runnable else ""
        if isinstance(final, Outcome):
            return final
        notes = {**draft.notes, **notes_of(said, "answer_"), "executed": runnable}
        extra = {"completion": completion([step], final), **column}
        drafted = draft._replace(notes=notes)
        return kept(make_x_record(setup, item, drafted, {"text": final}, said.answer.model, extra=extra))

    return call


async def _final(setup: Setup, draft: Draft, ask: Ask, step: Step, answers: tuple[str, ...]) -> str | Outcome:
    """The answer that the results lead to, judged where the recipe has a judge; or why it doesn't count."""
    steps = shown_steps([step])
    said = await _asked(setup, draft, ask, FINAL, {"steps": steps})
    answers = (*answers, said.answer.text)
    if said.reason:
        return rejected(said.reason, said.detail, *answers)
    text = str(said.fields.get("text", ""))
    if not setup.stages.has(JUDGE):
        return text
    judged = await _asked(setup, draft, ask, JUDGE, {"steps": steps, "text": text}, to=setup.stages.role)
    answers = (*answers, judged.answer.text)
    if judged.reason:
        return rejected(judged.reason, judged.detail, *answers)
    if judged.fields.get("answer") != setup.stages.readers[JUDGE].labels[0]:
        return rejected("query-not-met", "the judge finds that calls and answer do not meet the query", *answers)
    return text


async def _asked(setup: Setup, draft: Draft, ask: Ask, block: str, said: Mapping[str, Any], to: str = "") -> Said:
    shown = {**draft.draw.shown, "x": draft.x, "said": {**draft.draw.shown.get("said", {}), **said}}
    sample = draft.draw.sample
    return await setup.stages.ask(ask, block, draft.draw.row, shown, sample=sample, to=to or setup.answerer)


def shown_steps(steps: Sequence[Step]) -> list[Row]:
    """The calls so far, one by one, as templates see them."""
    return [
        {"thought": step.content, "name": call.name, "arguments": canonical(call.arguments).decode(), "result": result}
        for step in steps
        for call, result in zip(step.calls, step.results, strict=True)
    ]


# -- agent -------------------------------------------------------------------------------------------------------------


def agent(setup: Setup) -> Growth:
    """`specs`: the seed file with the functions; `steps`: how many actions at most, the last one the answer."""
    source = str(setup.setting("specs", "@tools"))
    rows = list(read_rows(open_seeds(seed_path(source))))
    specs = [read_spec(row, where) for where, row in rows]
    _distinct_names(specs)
    limit = setup.whole("steps", 8, 2)  # one call and the answer
    tasks = {item.id: read_task(item.row, specs, item.where) for item in setup.seeds}
    by_name = {str(row["name"]): row for _, row in rows}
    drawn = draw_combined(setup)

    def draw() -> list[Draw]:
        return [
            each._replace(shown={"said": {"functions": [by_name[spec.name] for spec in tasks[each.source].specs]}})
            for each in drawn()
        ]

    return Composed(draw, make_propose(setup), make_admit_plan(setup), make_acting(setup, tasks, limit), settle_nothing)


def make_admit_plan(setup: Setup) -> Admit:
    """Refuse a plan that was made for the same task before: what follows from it would be no other example."""
    seen: set[tuple[str, str]] = set()

    def admit(item: Item, draft: Draft) -> Draft:
        key = draft.draw.source, " ".join(fold(str(draft.x[setup.recipe.writes])).split())
        if key in seen:
            return draft._replace(reason="duplicate", detail="the same plan was made for this task before")
        seen.add(key)
        return draft

    return admit


def make_acting(setup: Setup, tasks: Mapping[str, Task], limit: int) -> AnswerX:
    """y is the way to the answer: calls and results, one after the other. Kept where the answer is the task's own."""

    async def act(item: Item, draft: Draft, ask: Ask) -> Outcome:
        task = tasks[draft.draw.source]
        prompt, column = [{"role": "user", "content": task.task}], {"tools": tools_column(task.specs)}
        if not setup.answers:
            return kept(make_x_record(setup, item, draft, prompt=prompt, extra=column))
        steps: list[Step] = []
        answers, spent = list(draft.answers), 0
        for left in range(limit, 0, -1):
            said = await _asked(setup, draft, ask, ACT, {"steps": shown_steps(steps), "left": left})
            answers.append(said.answer.text)
            spent += said.answer.completion_tokens
            if said.reason:
                return rejected(said.reason, said.detail, *answers)
            try:
                thought, call, answer = read_action(said.fields.get("value"), task.specs)
                if call is not None:
                    content = thought if steps else f"{draft.x[setup.recipe.writes]}\n\n{thought}".strip()
                    steps.append(Step([call], [execute(call)], content))
                    continue
            except ParseError as error:
                return rejected(error.reason, error.detail, *answers)
            if not steps:
                return rejected("no-calls", "the answer came before any call", *answers)
            if not solved(answer, task.answer):
                return rejected("wrong-answer", f"{answer[:100]!r} is not {task.answer!r}", *answers)
            notes = {**draft.notes, "steps": len(steps), "answer_completion_tokens": spent}
            extra = {"completion": completion(steps, answer), **column}
            model, drafted = said.answer.model, draft._replace(notes=notes)
            return kept(make_x_record(setup, item, drafted, {"text": answer}, model, prompt=prompt, extra=extra))
        return rejected("too-many-steps", f"no answer within {limit} actions", *answers)

    return act


def read_action(value: Any, specs: Sequence[Spec]) -> tuple[str, Call | None, str]:
    """Thought, call and final answer of a parsed action: `{"thought": …, "call": {…}}`, or `answer` in place of `call`.

    ParseErrors: `bad-action`, and those of `read_calls`.
    """
    if not isinstance(value, dict) or set(value) not in ({"thought", "call"}, {"thought", "answer"}):
        raise ParseError("bad-action", "an action is an object with 'thought' and one of 'call' and 'answer'")
    thought = value["thought"]
    if not isinstance(thought, str):
        raise ParseError("bad-action", "'thought' is no text")
    if "call" in value:
        return thought, read_calls([value["call"]], specs)[0], ""
    answer = value["answer"]
    if isinstance(answer, str) and not answer.strip():
        raise ParseError("bad-action", "'answer' is empty")
    return thought, None, answer if isinstance(answer, str) else canonical(answer).decode()
