"""Sections of a report about how a dataset came to be: steps, losses, cost, replies, judges. Knows no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill_data.reporting.charts import bars, histogram, is_number, note, number, pairs, share
from distill_data.reporting.markup import Html, tag, together

Facts = Mapping[str, Any]

MEASURES = {
    "flips": "the verdict turned when the order was turned; high means that place decides",
    "ties": "no winner",
    "longer_wins": "the longer answer won; far above half means that length decides",
    "longer_best": "the longest answer was best; far above its share means that length decides",
    "parse_failures": "replies that could not be read as a verdict",
    "judges_agree": "several judges said the same",
    "judgements_agree": "several judgements said the same",
    "canaries_caught": "planted bad answers that the judge noticed; below 80 % it is not to be believed",
    "canaries_unread": "planted answers without a verdict",
    "majority": "votes for the winning answer",
    "right": "answers that a verifier found right",
}
"""What a measure of the manifest counts."""


def steps(facts: Facts) -> Html | None:
    steps = facts.get("steps")
    if not steps:
        return None
    listed = []
    for step in steps:
        said = [tag("b", step["command"])]
        if step["recipe"]:
            said += [tag("span", " with the recipe ", tag("b", step["recipe"]))]
        if step["paper"]:
            said += [tag("span", f" ({step['paper']})", class_="quiet")]
        counts = [f"{step['rows']:,} in"] if step["rows"] is not None else []
        counts += [f"{step['kept']:,} rows out"] if step["kept"] is not None else []
        models = [tag("li", f"{role}: ", tag("b", model)) for role, model in step["models"]]
        body: list[Html] = [tag("p", said, tag("span", f" · {', '.join(counts)}" if counts else ""))]
        if models:
            body.append(tag("ul", models, class_="plain"))
        if step["settings"]:
            body.append(tag("details", tag("summary", "settings"), pairs(step["settings"], "Settings of this step")))
        listed.append(tag("li", body))
    note = {
        None: "",
        True: "The file is byte for byte the one that its manifest describes.",
        False: "The file is not the one that its manifest describes: it was changed since.",
    }[facts.get("matches")]
    return together(tag("ol", listed, class_="steps"), tag("p", note, class_="quiet") if note else "")


def kept(facts: Facts) -> Html | None:
    counts, reasons, dropped = facts.get("counts"), facts.get("reasons"), facts.get("dropped")
    if not counts:
        return None
    total = sum(counts.values())
    shown = [
        bars(
            [(name, count) for name, count in counts.items() if count or name == "kept"],
            caption="What became of every item",
            whole=total,
            head="ended as",
            values="items",
        )
    ]
    if reasons:
        shown.append(bars(reasons.items(), caption="Why rows fell", whole=total, head="first reason", values="items"))
    if dropped:
        shown.append(bars(dropped.items(), caption="Samples dropped in kept items", head="reason", values="samples"))
    said = "One large reason is worth reading below: more often a prompt or a check is wrong than the teacher."
    return together(note(said), shown)


def spent(facts: Facts) -> Html | None:
    history = facts.get("history", {})
    named = (
        ("prompt_tokens", "tokens in prompts"),
        ("completion_tokens", "tokens in answers"),
        ("cached_tokens", "of the prompts' tokens from a cache"),
        ("bought", "requests bought"),
        ("reused", "answers that were on disk"),
        ("retried", "requests sent again"),
        ("bought_twice", "answers bought twice"),
        ("in_doubt", "requests in doubt, which may have been billed"),
        ("seconds", "seconds that the last command took"),
    )
    told = [(said, number(history[key])) for key, said in named if is_number(history.get(key)) and history[key]]
    if not told:
        return None
    if "cost" in history:
        told.insert(0, ("cost", money(history["cost"])))
    kept = facts.get("counts", {}).get("kept")
    tokens = history.get("tokens")
    if kept and is_number(tokens):
        told.append(("tokens for each item that was kept", number(round(tokens / kept))))
    return pairs(told, "Cost, tokens and requests of the run")


def replies(facts: Facts) -> Html | None:
    found = facts.get("replies")
    if not found:
        return None
    shown: list[Html] = [
        bars(
            found["finish"].items(),
            caption="Why replies ended",
            whole=found["read"],
            head="finish reason",
            values="replies",
        )
    ]
    if len(found["models"]) > 1:
        shown.append(bars(found["models"].items(), caption="Who answered", head="model", values="replies"))
    if found["tokens"]:
        shown.append(histogram(found["tokens"], key="tokens", title="Tokens of a reply", unit="tokens"))
    if found["seconds"]:
        shown.append(histogram(found["seconds"], key="latency", title="Latency", unit="seconds"))
    else:
        shown.append(tag("p", "Latency is not shown: these replies do not say how long they took.", class_="quiet"))
    read = f" Bodies of the first {found['read']:,} were read." if found["read"] < found["answers"] else ""
    said = f"{found['answers']:,} answers and {found['failed']:,} failed requests are in the journal.{read}"
    said += " A reply that ended by “length” was cut off."
    return together(note(said), shown)


def judging(facts: Facts) -> Html | None:
    measures, gold = facts.get("measures", {}), facts.get("gold", {})
    listed = []
    for name, each in measures.items():
        if isinstance(each, Mapping) and each.get("of"):
            meaning = MEASURES.get(name, "")
            listed.append((f"{name.replace('_', ' ')}{': ' if meaning else ''}{meaning}", each["count"], each["of"]))
    if gold.get("compared"):
        listed.append(("agreement with the seeds' own answers", gold["equal"], gold["compared"]))
        for group, each in list(gold.get("by", {}).items())[:12]:
            listed.append((f"of them {group or 'without a group'}", each["equal"], each["compared"]))
    if not listed:
        return None
    body = [
        tag(
            "tr",
            tag("th", said, scope="row"),
            tag("td", share(count, whole), class_="n"),
            tag("td", f"{count:,} of {whole:,}", class_="n"),
        )
        for said, count, whole in listed
    ]
    table = tag("table", tag("caption", "How far the judgements can be believed"), tag("tbody", body))
    judge = facts.get("judge")
    verdict = {
        "unreliable": "The judge missed too many planted bad answers: do not rely on its scores.",
        "untested": "Too few planted answers were judged to say anything about the judge.",
        "tested": "The judge noticed the planted bad answers.",
    }.get(str(judge), "")
    return together(table, tag("p", verdict) if verdict else "")


def money(amount: Any) -> str:
    """USD; what isn't known is never 0."""
    if not is_number(amount):
        return "unknown"
    return f"${amount:,.2f}" if amount == 0 or amount >= 1 else f"${amount:.4f}"
