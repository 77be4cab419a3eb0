"""Questions on documents, whose answers must show where they stand: by a quote, or by the number of a passage.

Knows how documents are split, shown and cited; what the questions are about is the recipe's.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from distill_data.data.exchange import Ask
from distill_data.data.growth import Draft, Draw, Growth
from distill_data.data.items import Item, Record, Row
from distill_data.errors import SeedError
from distill_data.methods.drawing import draw_combined
from distill_data.methods.growing import (
    Admit,
    Composed,
    Propose,
    make_admit,
    make_propose,
    make_x_record,
    settle_nothing,
    student_prompt,
)
from distill_data.methods.setup import Setup
from distill_data.methods.verified import Build, Judge, make_verified_answer
from distill_data.quality.passages import split_passages
from distill_data.quality.words import words

WORDS, OVERLAP = 250, 40
"""Words in a passage, and how many two of them share, where the recipe doesn't say."""
_CITATION = re.compile(r"\[([0-9]{1,4}(?:\s*[,;]\s*[0-9]{1,4})*)\]")


# -- passages ----------------------------------------------------------------------------------------------------------


def with_passages(setup: Setup) -> Setup:
    """The setup with a seed for each passage of each document. A seed's row gets the column `span`, where the passage
    stands in the text, and `document`, which tells the passages of one text from those of another.

    Raises SeedError for a document without text.
    """
    most, overlap = setup.whole("passage_words", WORDS, 1), setup.whole("passage_overlap", OVERLAP, 0)
    return replace(setup, seeds=[passage for item in setup.seeds for passage in _passages(item, most, overlap)])


def _passages(item: Item, most: int, overlap: int) -> Iterator[Item]:
    text = str(item.row.get("text") or "")
    found = split_passages(text, most, overlap)
    if not found:
        raise SeedError(f"{item.where}: the column text is blank, so there is nothing to ask about. Leave the row out.")
    for number, passage in enumerate(found, 1):
        row = {**item.row, "text": passage.text, "span": [passage.start, passage.end], "document": item.id}
        yield item._replace(id=item.id if len(found) == 1 else f"{item.id}.{number}", row=row)


def document_of(item: Item) -> str:
    """The id of the document that a passage comes from, so that coverage counts documents."""
    return str(item.row["document"])


def with_source(propose: Propose) -> Propose:
    """Candidates that note the place of the passage that they were written from."""

    async def sourced(item: Item, draw: Draw, ask: Ask) -> list[Draft]:
        drafts = await propose(item, draw, ask)
        place = {"span": draw.row["span"], "title": str(draw.row.get("title") or "")}
        return [draft._replace(notes={**draft.notes, **place}) for draft in drafts]

    return sourced


# -- quoted ------------------------------------------------------------------------------------------------------------


def quoted(setup: Setup) -> Growth:
    """Questions on a passage; the answer comes with a quote, which must stand in the passage word for word."""
    setup = with_passages(setup)
    propose, admit = with_source(make_propose(setup)), make_admit(setup, ())
    draw = draw_combined(setup, source=document_of)
    return Composed(draw, propose, admit, make_verified_answer(setup, judge_quote), settle_nothing)


def judge_quote(draft: Draft, fields: Mapping[str, Any]) -> tuple[str, str]:
    """`not-in-text` for a quote whose words the passage doesn't have in this order."""
    quote = str(fields.get("quote", ""))
    if holds(str(draft.draw.row["text"]), quote):
        return "", ""
    return "not-in-text", f"the passage doesn't say {quote[:200]!r}"


def holds(text: str, quote: str) -> bool:
    """Whether the words of the quote stand in the text, one after the other. Case and punctuation don't count."""
    wanted = " ".join(words(quote))
    return bool(wanted) and f" {wanted} " in f" {' '.join(words(text))} "


# -- cited -------------------------------------------------------------------------------------------------------------


def cited(setup: Setup) -> Growth:
    """Questions answered from numbered passages: the one that they were written on, among distractors drawn from other
    documents. In a share of them, `unanswerable`, that passage is left out (RAFT, arXiv:2403.10131).

    Raises SeedError where there are not enough documents.
    """
    setup = with_passages(setup)
    admit = make_hide(setup, make_admit(setup, ()))
    answer = make_verified_answer(setup, make_judge_citation(setup), build=make_cited_record(setup))
    draw = draw_combined(setup, source=document_of)
    return Composed(draw, with_source(make_propose(setup)), admit, answer, settle_nothing)


def make_hide(setup: Setup, admit: Admit) -> Admit:
    """Admits as `admit` does, and puts the passages that y is answered from into x: `documents`, and `oracle`, the
    number of the right one, 0 where it was left out. Both are drawn by the candidate."""
    shown, share = setup.whole("passages", 4, 1), setup.number("unanswerable", 0.2, 0, 1)
    groups: dict[str, list[Row]] = {}
    for item in setup.seeds:
        groups.setdefault(item.row["document"], []).append(_document(item.row))
    if len(groups) <= shown:
        raise SeedError(
            f"each question is asked over {shown} passages, the wrong ones from other documents: that takes "
            f"{shown + 1} documents, and there are {len(groups)}. Give more, or lower --set passages=N."
        )
    names = sorted(groups)

    def hide(item: Item, draft: Draft) -> Draft:
        judged = admit(item, draft)
        if judged.reason:
            return judged
        rng, row = item.rng(), draft.draw.row
        answerable = rng.random() >= share
        others = _others(rng, names, row["document"], shown - answerable)
        documents = [rng.choice(groups[name]) for name in others]
        place = rng.randrange(shown) if answerable else -1
        if answerable:
            documents.insert(place, _document(row))
        return judged._replace(x={**judged.x, "documents": documents, "oracle": place + 1})

    return hide


def _others(rng: random.Random, names: Sequence[str], own: str, count: int) -> list[str]:
    """So many names, but not this one."""
    return [name for name in rng.sample(names, count + 1) if name != own][:count]


def _document(row: Row) -> Row:
    return {"title": str(row.get("title") or ""), "text": str(row["text"])}


def make_judge_citation(setup: Setup) -> Judge:
    """Whether an answer cites the right passage and no other, or says `no_answer` where there is none."""
    phrase = str(setup.setting("no_answer", "The passages do not say."))

    def judge(draft: Draft, fields: Mapping[str, Any]) -> tuple[str, str]:
        text, oracle = str(fields.get("text", "")), draft.x["oracle"]
        if not oracle:
            right = words(text) == words(phrase)
            return (
                ("", "") if right else ("answers-unanswerable", "none of the passages is the one that was asked about")
            )
        found = citations(text)
        if holds(text, phrase):
            return "declines-answerable", f"passage {oracle} holds the answer"
        if not found:
            return "no-citation", f"the answer should cite [{oracle}]"
        return ("", "") if found == [oracle] else ("wrong-citation", f"cites {found}, and not just [{oracle}]")

    return judge


def citations(text: str) -> list[int]:
    """The numbers in square brackets, `[2]` or `[2, 3]`, each once, in rising order."""
    return sorted({int(number) for match in _CITATION.finditer(text) for number in re.findall("[0-9]+", match[1])})


def make_cited_record(setup: Setup) -> Build:
    """The record with the column `documents`; its details say which of them is the right one, by its number."""

    def build(item: Item, draft: Draft, said: Mapping[str, Any], model: str) -> Record:
        documents, oracle = draft.x["documents"], draft.x["oracle"]
        x = {name: value for name, value in draft.x.items() if name not in ("documents", "oracle")}
        lean = draft._replace(x=x, notes={**draft.notes, "oracle": oracle})
        prompt = student_prompt(setup, draft)
        return make_x_record(setup, item, lean, said, model, prompt=prompt, extra={"documents": documents})

    return build
