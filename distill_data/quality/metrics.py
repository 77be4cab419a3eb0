"""What one answer of a model on a held-out row is worth, from 0.0 to 1.0. Knows no model, no row and no file.

exact      the same text, after the final answer is read out of the reply
numeric    the same last number
rouge-l    F-measure of the longest common subsequence of words (Lin 2004, W04-1013)
choice     the option that the model finds likeliest, by log-likelihood (Brown et al. 2020, arXiv:2005.14165)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from distill_data.errors import ParseError
from distill_data.parsing import Parser, make_parser
from distill_data.parsing.folding import fold, labelled, last_line
from distill_data.quality import numbers
from distill_data.quality.rouge import rouge_l
from distill_data.quality.verifiers import normal_form, numeric

__all__ = ["Likeliest", "exact_match", "final_answer", "is_number", "likeliest", "numeric_match", "rouge_l", "spoken"]

_TAGS = make_parser("tags", ["answer"])
_LABELS = frozenset({"answer", "the answer is", "final answer", "label", "答案", "标签"})
_same_number = numeric(None)


class Likeliest(NamedTuple):
    """The places of two options: of the likeliest one, and of the likeliest one for its length."""

    raw: int
    by_bytes: int


def spoken(text: str) -> str:
    """What follows the reasoning. Of models whose template opens the think-tag, the text has the closing one alone."""
    return text.rpartition("</think>")[2].strip() if "</think>" in text else text


def final_answer(reply: str) -> str:
    """What a reply ends in, its reasoning aside: the inside of its one `<answer>` tag, what follows `Answer:` on its
    last line (folded), or all of it."""
    reply = spoken(reply)
    try:
        return str(_TAGS(reply)["answer"])
    except ParseError:
        return labelled(fold(last_line(reply)), _LABELS) or reply


def exact_match(reply: str, reference: str, options: Sequence[str] = ()) -> float:
    """1.0 where the final answer and the reference have one normal form (quality.verifiers), else 0.0.

    With `options`, of which the reference is one, the reply is read by the parser `choice`. Raises UsageError for
    options that it cannot tell apart or never read.
    """
    if options:
        return float(_chosen(make_parser("choice", list(options)), reply) == reference)
    return float(normal_form(final_answer(reply)) == normal_form(reference))


def _chosen(parse: Parser, reply: str) -> str | None:
    try:
        return str(parse(final_answer(reply))["answer"])
    except ParseError:
        return None


def numeric_match(reply: str, reference: str) -> float:
    """1.0 where the last number of the final answer is that of the reference, as the verifier `numeric` has it."""
    return float(_same_number(final_answer(reply), reference))


def is_number(text: str) -> bool:
    """Whether a reference is one number and no words; of GSM8K's, what follows `####`."""
    return numbers.is_number(text.rpartition("####")[2])


def likeliest(logprobs: Sequence[float], options: Sequence[str]) -> Likeliest:
    """The option with the highest log-likelihood, and that with the highest one per byte of UTF-8, so that a long
    option is no worse for its length (the LM Evaluation Harness calls them acc and acc_norm). Of equals the first.

    `logprobs`: natural logarithms, each of a whole option given the prompt. No option is empty.
    """
    places = range(len(options))
    raw = max(places, key=lambda place: logprobs[place])
    by_bytes = max(places, key=lambda place: logprobs[place] / len(options[place].encode()))
    return Likeliest(raw, by_bytes)
