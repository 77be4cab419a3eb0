"""Rows of a batch as they are generated: each with its own sampling, seed, grammar, limit and stop texts.

Prompts are padded on the left. A row says what it would say alone, up to the order in which floats are summed. Knows
token ids and a loaded model; nothing about messages and replies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from distill_data.teachers import forward
from distill_data.teachers.batching import Proceed
from distill_data.teachers.choosing import pad_left
from distill_data.teachers.guiding import Guide, read_vocabulary
from distill_data.teachers.loading import Loaded
from distill_data.teachers.logprobs import Spell, make_entry, make_spell
from distill_data.teachers.sampling import Refused, Settings, gumbel, make_generator, shape

BEFORE = 4
"""Last ids of a raw prompt that are decoded with what follows: many tokenizers drop the space that a text begins with,
and there is none at the beginning of what goes on."""


class Row(Protocol):
    """What one row is asked for."""

    @property
    def prompt(self) -> Sequence[int]: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def limit(self) -> int:
        """Most tokens of the answer."""
        ...

    @property
    def raw(self) -> bool:
        """Whether the answer goes on with the prompt's text, and is no turn of its own."""
        ...

    @property
    def grammar(self) -> str:
        """Empty where the text is free."""
        ...


class Said:
    """What one row says, token by token until it ends."""

    def __init__(self, loaded: Loaded, row: Row, spell: Spell) -> None:
        self.ids: list[int] = []
        """With the one that ends the turn, and those of a text that is cut at a stop text."""
        self.entries: list[dict[str, Any]] | None = None if row.settings.top_logprobs is None else []
        """`logprobs.content`, one for each of the ids; None where nobody asks for it."""
        self.text = ""
        self.finish = ""
        """`stop` or `length` once the row has ended."""
        self.refused: Refused | None = None
        self._row, self._spell = row, spell
        self._tokenizer, self._stops = loaded.tokenizer, loaded.stops
        self._logprobs: Any = None
        self._chance = None if row.settings.greedy else make_generator(row.settings.seed, row.prompt, loaded.device)
        self._guide = Guide(read_vocabulary(loaded.tokenizer, loaded.stops), row.grammar) if row.grammar else None
        self._before = row.prompt[-BEFORE:] if row.raw else ()
        self._skipped = len(self._text_of(self._before))
        # Nearly every token has at least a byte. What is shorter than the text only makes the search come later.
        self._window = max((len(stop.encode()) for stop in row.settings.stop), default=0) + 4

    @property
    def read(self) -> tuple[int, ...]:
        """The prompt and what has been said."""
        return (*self._row.prompt, *self.ids)

    @property
    def left(self) -> int:
        """Most tokens that may still be said."""
        return self._row.limit - len(self.ids)

    def shape(self, scores: Any) -> Any:
        """Scores, (vocabulary,), of which the largest is the sample."""
        import torch

        if self.entries is not None:
            self._logprobs = torch.log_softmax(scores, -1)
        if self._guide is not None:
            scores = self._guide.mask(scores)
        scores = shape(scores, self._row.settings, self.ids)
        return scores if self._chance is None else scores + gumbel(self._chance, len(scores), scores.device)

    def take(self, number: int) -> None:
        """The token was drawn; where that ends the row, `finish` says so."""
        self.ids.append(number)
        if self.entries is not None:
            self.entries.append(make_entry(self._spell, self._logprobs, number, self._row.settings.top_logprobs or 0))
        if number in self._stops:
            self._end("stop", self.ids[:-1])
        elif self._is_complete(number) or self._has_stop_text():
            self._end("stop", self.ids)
        elif len(self.ids) >= self._row.limit:
            self._end("length", self.ids)

    def _is_complete(self, number: int) -> bool:
        try:
            return self._guide is not None and self._guide.take(number)
        except Refused as refused:
            self.refused = refused
            return True

    def _has_stop_text(self) -> bool:
        stops = self._row.settings.stop
        tail = self._decode(self.ids[-self._window :]) if stops else ""
        return any(stop in tail for stop in stops) and any(stop in self._decode(self.ids) for stop in stops)

    def _end(self, finish: str, ids: Sequence[int]) -> None:
        text = self._decode(ids)
        cuts = [text.index(stop) for stop in self._row.settings.stop if stop in text]
        self.finish, self.text = ("stop", text[: min(cuts)]) if cuts else (finish, text)

    def _decode(self, ids: Sequence[int]) -> str:
        return self._text_of([*self._before, *ids])[self._skipped :]

    def _text_of(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def decode(loaded: Loaded, rows: Sequence[Row], proceed: Proceed) -> list[Said]:
    """What each row says, in order. What runs out of memory raises as torch does; `proceed` is asked at each token."""
    spell = make_spell(loaded.tokenizer)
    every = [Said(loaded, row, spell) for row in rows]
    while unfinished := [said for said in every if not said.finish]:
        _go_on(loaded, unfinished, proceed)
    return every


def _go_on(loaded: Loaded, every: Sequence[Said], proceed: Proceed) -> None:
    """Until all have ended, or there is no more room for the row that has read the most; others may have some left
    then, since all begin where that one does."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    def process(ids: Any, scores: Any) -> Any:
        return torch.stack(
            [each if said.finish else said.shape(each) for said, each in zip(every, scores, strict=True)]
        )

    def is_done(ids: Any, scores: Any) -> Any:
        proceed()
        for said, number in zip(every, ids[:, -1].tolist(), strict=True):
            if not said.finish:
                said.take(number)
        return torch.tensor([bool(said.finish) for said in every], device=ids.device)

    ids, mask = pad_left([said.read for said in every], loaded.model.device)
    is_long = any(forward.is_long(loaded.model, len(said.read) + said.left) for said in every)
    room = loaded.context if is_long else forward.rope_switch(loaded.model) or loaded.context
    steps = min(max(said.left for said in every), room - ids.shape[1])
    # What a configuration leaves open is taken from the model's own, so that one is made empty too.
    loaded.model.generation_config = GenerationConfig()
    loaded.model.generate(
        input_ids=ids,
        attention_mask=mask,
        generation_config=GenerationConfig(do_sample=False, max_new_tokens=steps),
        logits_processor=LogitsProcessorList([process]),
        stopping_criteria=StoppingCriteriaList([is_done]),
    )
