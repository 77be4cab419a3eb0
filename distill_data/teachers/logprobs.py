"""Tokens and their log-probabilities as OpenAI's chat format writes them. Knows tokenizers, and no model."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Spell = Callable[[int], bytes]
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def make_spell(tokenizer: Any) -> Spell:
    """A function from a token's id to its bytes, which may be part of a character. An id without a token has none."""
    added = {number: str(token).encode() for number, token in tokenizer.added_tokens_decoder.items()}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    letters = _byte_letters() if "ByteLevel" in str(getattr(backend, "decoder", "")) else {}

    def spell(number: int) -> bytes:
        if number in added:
            return added[number]
        piece = tokenizer.convert_ids_to_tokens(number)
        if piece is None:
            return b""
        if letters and all(letter in letters for letter in piece):
            return bytes(letters[letter] for letter in piece)
        if byte := _BYTE.fullmatch(piece):
            return bytes.fromhex(byte[1])
        return str(piece).replace("▁", " ").encode()

    return spell


def make_entry(spell: Spell, logprobs: Any, number: int, top: int) -> dict[str, Any]:
    """One token as an entry of `logprobs.content`, with the `top` most likely ones. `logprobs` is (vocabulary,)."""
    entry = _describe(spell, number, float(logprobs[number]))
    values, ids = logprobs.topk(min(top, logprobs.shape[-1]))
    pairs = zip(ids.tolist(), values.tolist(), strict=True)
    return {**entry, "top_logprobs": [_describe(spell, other, value) for other, value in pairs]}


def _describe(spell: Spell, number: int, logprob: float) -> dict[str, Any]:
    data = spell(number)
    return {"token": data.decode("utf-8", "replace"), "id": number, "logprob": logprob, "bytes": list(data)}


def _byte_letters() -> dict[str, int]:
    """The letters by which byte-level vocabularies write bytes: printable ones stand for themselves, and the others
    take the letters from U+0100 on, in order."""
    themselves = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in themselves]
    return {chr(byte): byte for byte in themselves} | {chr(0x100 + place): byte for place, byte in enumerate(others)}
