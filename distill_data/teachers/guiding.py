"""JSON by constrained decoding, through llguidance: which tokens may come next under a schema. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from distill_data.errors import UsageError
from distill_data.teachers.sampling import Refused

STYLE = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False, "lenient": True}
"""One way to write each value, the one that models have seen most: free white space can go on for ever. Keywords that
cannot be enforced token by token, such as `uniqueItems`, are left to the parser that reads the answer."""


def compile_schema(schema: Mapping[str, Any]) -> str:
    """The grammar of a JSON schema. Raises Refused, in llguidance's words, for a schema that it cannot enforce, and
    UsageError where it is not installed."""
    matching = _library().LLMatcher
    try:
        grammar: str = matching.grammar_from_json_schema(orjson.dumps(schema).decode(), overrides=STYLE)
    except (TypeError, ValueError) as error:  # not JSON
        raise Refused(f"the schema is refused: {error}") from None
    is_error, words = matching.validate_grammar_with_warnings(grammar)
    if is_error:
        raise Refused(f"the schema is refused: {'; '.join(words)}")
    return grammar


class Guide:
    """Where one row stands in its grammar."""

    def __init__(self, vocabulary: Any, grammar: str) -> None:
        self._matcher = _library().LLMatcher(vocabulary, grammar, log_level=0)

    def mask(self, scores: Any) -> Any:
        """The scores, (vocabulary,), with minus infinity for every id that the grammar does not let come next."""
        import torch

        packed = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        bits = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
        allowed = torch.zeros(scores.shape[-1], dtype=torch.bool)
        known = min(bits.numel(), scores.shape[-1])
        allowed[:known] = bits.flatten()[:known].bool()
        return scores.masked_fill(~allowed.to(scores.device), -torch.inf)

    def take(self, number: int) -> bool:
        """Go on by one token; whether the value is complete. Raises Refused where the grammar became too complex."""
        self._matcher.consume_token(number)
        if complaint := self._matcher.get_error():
            raise Refused(f"the schema could not be followed: {complaint}")
        return bool(self._matcher.is_stopped())


@lru_cache(maxsize=2)
def read_vocabulary(tokenizer: Any, stops: frozenset[int]) -> Any:
    """The tokenizer as llguidance needs it: about a second for a large one, so it is kept. Raises Refused for a
    tokenizer that cannot be read."""
    _library()
    from llguidance import hf

    try:
        return hf.from_tokenizer(tokenizer, eos_token=sorted(stops) or None)
    except (TypeError, ValueError) as error:
        raise Refused(f"JSON cannot be enforced with this tokenizer: {error}") from None


def _library() -> Any:
    try:
        import llguidance
    except ImportError:
        raise UsageError(
            "JSON by constrained decoding needs the extra `white-box` (in a checkout: pip install '.[white-box]')."
        ) from None
    return llguidance
