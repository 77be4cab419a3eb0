"""φ of a given y from a model that runs here: prepare each row, run a batch of prepared ones, one Reply for each.

What is asked for (`feature["of"]`): the k most likely tokens, ids drawn from the distribution, hidden states,
attention maps; always at y's tokens, under teacher forcing; how likely y is, its reward. A row that cannot be scored
is a reply too. Knows a loaded model and the body of a request; nothing about threads, queues and the size of a batch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from distill_data.data.arrays import encode, narrow, quantise
from distill_data.data.exchange import Message, Reply
from distill_data.errors import UsageError
from distill_data.teachers import appraisal, forward
from distill_data.teachers.batching import Proceed, go_on
from distill_data.teachers.loading import Loaded, name_unknown
from distill_data.teachers.spans import Pair, TemplateRefused, encode_pair, encode_text, text_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]

Found = tuple[dict[str, "Array"], dict[str, Any]]
"""A row's arrays besides its tokens, and what the reply's `feature` says about them."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A row ready to be scored: y's tokens are `ids[start:]`, and nothing follows them."""

    ids: list[int]
    start: int
    truncated: bool
    feature: Mapping[str, Any]
    group: str
    """Only rows of equal groups share a batch."""

    @property
    def length(self) -> int:
        """Tokens that the row takes."""
        return len(self.ids)

    @property
    def tokens(self) -> int:
        """T, the tokens of y."""
        return len(self.ids) - self.start


# -- one row -----------------------------------------------------------------------------------------------------------


def prepare(loaded: Loaded, body: Mapping[str, Any]) -> Prepared | Reply:
    """The row's tokens, or the reply that says why it cannot be scored.

    `body` is {"messages", "completion", "feature"}. Without messages y is raw text, scored from its second token on, or
    from its first where the tokenizer puts one of its own before. Raises UsageError for a feature that this model does
    not have, such as an unknown layer.
    """
    feature = _settled(loaded, body["feature"])
    messages, completion = body.get("messages") or [], body["completion"]
    if not any(_says_something(message) for message in completion):
        return _rejected(loaded, feature, "empty-completion", "the completion is empty, so there is nothing to score.")
    pair = _encode(loaded.tokenizer, messages, completion)
    if isinstance(pair, str):
        return _rejected(loaded, feature, "unaligned", pair)
    if said := name_unknown(loaded, pair.ids):
        return _rejected(loaded, feature, "unaligned", f"{said}.")
    if messages and _is_silent(loaded.tokenizer, messages, completion, pair):
        return _rejected(loaded, feature, "empty-completion", "the chat template writes nothing of the completion.")
    whole = feature["of"] == "reward"  # which is learned from whole conversations, whatever follows y's turn
    ids, start, end = pair.ids, max(pair.start, 1), len(pair.ids) if whole else pair.end  # nothing predicts the first
    if end <= start:
        return _rejected(
            loaded, feature, "empty-completion", "nothing stands before its only token, so none is scored."
        )
    limit = min(loaded.context, feature["max_length"] or loaded.context)
    if end > limit and (start >= limit or not feature["truncate"]):
        detail = f"the prompt has {start} tokens and the completion {end - start}, but {limit} in all are the most"
        detail += ", so not even a first token of the completion fits." if start >= limit else "."
        return _rejected(loaded, feature, "too-long", detail)
    asked = {name: value for name, value in feature.items() if name not in ("truncate", "max_length")}
    ids = ids[: min(end, limit)]
    asked |= {"long": forward.is_long(loaded.model, len(ids)), "length": len(ids) if whole else 0}
    group = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS).decode()
    return Prepared(ids, start, end > limit, feature, group)


def _says_something(message: Mapping[str, Any]) -> bool:
    return bool(text_of(message.get("content")) or message.get("reasoning_content") or message.get("tool_calls"))


def _is_silent(tokenizer: Any, messages: Sequence[Message], completion: Sequence[Message], pair: Pair) -> bool:
    """Whether y is what an empty answer is: reasoning, calls or white space that the template does not write."""
    if any(text_of(message.get("content")).strip() for message in completion):
        return False
    try:
        silent = encode_pair(tokenizer, messages, [{"role": "assistant", "content": ""}])
    except TemplateRefused:
        return False
    return silent is not None and pair.ids[pair.start :] == silent.ids[silent.start :]


def _encode(tokenizer: Any, messages: Sequence[Message], completion: Sequence[Message]) -> Pair | str:
    """The row's tokens, or in words why nobody can say which of them are y's."""
    if not messages:
        ids = encode_text(tokenizer, text_of(completion[0].get("content")))
        return Pair(ids, 0, len(ids))
    try:
        pair = encode_pair(tokenizer, messages, completion)
    except TemplateRefused as refused:
        return f"{refused}."
    return pair or "the chat template writes the prompt otherwise once an answer follows, so y has no place of its own."


def _settled(loaded: Loaded, feature: Mapping[str, Any]) -> dict[str, Any]:
    """The feature, checked, with layers counted from the front, so that equal questions make equal groups."""
    of = feature["of"]
    if of not in KINDS:
        raise UsageError(f"feature {of!r}: the kinds are {', '.join(KINDS)}.")
    for name, (most, words) in LIMITS.items():
        if not 0 < feature.get(name, 1) <= most:
            raise UsageError(f"{of}: {name} is {feature[name]}, but must be {words}.")
    if "layers" not in feature:
        return dict(feature)
    depth, first = forward.depth(loaded.model), 1 if of == "attention" else 0
    layers = [layer + depth + 1 if layer < 0 else layer for layer in feature["layers"]]
    for asked, layer in zip(feature["layers"], layers, strict=True):
        if not first <= layer <= depth:
            raise UsageError(
                f"{of}: there is no layer {asked}; {loaded.label} has the layers {first} to {depth}, "
                f"or from the end -1 to {first - depth - 1}."
            )
    return {**feature, "layers": layers}


# -- a batch -----------------------------------------------------------------------------------------------------------


def run(loaded: Loaded, rows: Sequence[Prepared], proceed: Proceed = go_on) -> list[Reply]:
    """One batch of rows of one group: a reply for each, in their order.

    What torch and `proceed` raise, such as a lack of memory, passes through. Raises UsageError where the model cannot
    give what is asked for.
    """
    import torch

    with torch.inference_mode():
        found = KINDS[rows[0].feature["of"]](loaded, rows, proceed)
    return [_scored(loaded, row, *each) for row, each in zip(rows, found, strict=True)]


def _topk(loaded: Loaded, rows: Sequence[Prepared], proceed: Proceed) -> list[Found]:
    """The k most likely ids at each token, their log-probabilities, and the mass of all others."""
    k = rows[0].feature["k"]
    slices = (_most_likely(logits, targets, k) for logits, targets, _ in _distributions(loaded, rows, proceed))
    return [
        (
            {
                "chosen": quantise(chosen),
                "ids": narrow(ids, loaded.vocab_size),
                "logprobs": quantise(logprobs),
                "tail": tail.astype("float16"),
            },
            {"tail": float(tail.sum())},
        )
        for chosen, ids, logprobs, tail in _by_row(rows, slices)
    ]


def _most_likely(logits: Any, targets: Any, k: int) -> tuple[Array, ...]:
    """For n positions: log-probability of the target (n,), ids and log-probabilities (n, k), tail (n,). Eats logits."""
    import torch

    logits -= logits.amax(-1, keepdim=True)
    ids = logits.topk(min(k, logits.shape[-1]), sorted=False).indices.sort(-1).values
    values, order = logits.gather(1, ids).sort(
        dim=-1, descending=True, stable=True
    )  # ties by id, as the arg max has it
    chosen, ids = logits.gather(1, targets[:, None]), ids.gather(1, order)
    mass = logits.exp_()
    total = mass.sum(-1, keepdim=True)
    # summed without the k, as 1 - (their sum) would be noise where the tail is small
    tail = mass.scatter_(1, ids, 0.0).sum(-1, keepdim=True) / total
    each = torch.cat([chosen, values], 1).double() - total.double().log()
    return _numpy(each[:, 0]), _numpy(ids), _numpy(each[:, 1:]), _numpy(tail[:, 0])


def _sampled(loaded: Loaded, rows: Sequence[Prepared], proceed: Proceed) -> list[Found]:
    """Ids drawn with replacement at each token, and how often: an unbiased estimate of the whole distribution."""
    import numpy as np
    import torch

    # each row has its own generator, so that its draws are the same in every batch
    uniform = torch.from_numpy(
        np.concatenate([_generator(row).random((row.tokens, row.feature["draws"])) for row in rows])
    )
    slices = (
        _draw(logits, targets, uniform[place]) for logits, targets, place in _distributions(loaded, rows, proceed)
    )
    found: list[Found] = []
    for chosen, draws in _by_row(rows, slices):
        counts_per_token, ids, counts = _count(draws)
        arrays = {
            "chosen": quantise(chosen),
            "counts_per_token": counts_per_token.astype(np.uint16),
            "ids": narrow(ids, loaded.vocab_size),
            "counts": counts.astype(np.uint16),
        }
        found.append((arrays, {}))
    return found


def _generator(row: Prepared) -> np.random.Generator:
    import numpy as np

    text = f"{row.feature['seed']} {' '.join(map(str, row.ids))}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()))


def _draw(logits: Any, targets: Any, uniform: Any) -> tuple[Array, ...]:
    """For n positions: log-probability of the target (n,), the ids (n, draws) where cumulated mass passes `uniform`."""
    import torch

    logp = logits.double().log_softmax(-1)
    chosen = logp.gather(1, targets[:, None])[:, 0]
    passed = logp.exp_().cumsum(-1)
    ids = torch.searchsorted(passed, uniform.to(passed.device) * passed[:, -1:], right=True)
    return _numpy(chosen), _numpy(ids.clamp_(max=passed.shape[-1] - 1))


def _count(draws: Array) -> tuple[Array, Array, Array]:
    """Of (T, draws): how many different ids each token has, the ids, how often each; most drawn first, ties by id."""
    import numpy as np

    places = np.broadcast_to(np.arange(len(draws))[:, None], draws.shape)
    pairs, counts = np.unique(np.stack([places.ravel(), draws.ravel()]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    return np.bincount(pairs[0], minlength=len(draws)), pairs[1][order], counts[order]


def _hidden(loaded: Loaded, rows: Sequence[Prepared], proceed: Proceed) -> list[Found]:
    """States of the asked layers at y's tokens, (L, T, H), or one for all of them, (L, H).

    Some models have states beyond what float16 holds, mostly at their first token; these are clipped, and counted.
    """
    import torch

    feature = rows[0].feature
    most = torch.finfo(getattr(torch, feature["dtype"])).max
    found: list[Found] = []
    for states in forward.hidden_states(loaded.model, rows, feature["layers"]):
        wide = POOLS[feature["pool"]](states.float())
        clipped = int((wide.abs() > most).sum())
        found.append(({"hidden": _numpy(wide.clamp(-most, most)).astype(feature["dtype"])}, {"clipped": clipped}))
    return found


def _attention(loaded: Loaded, rows: Sequence[Prepared], proceed: Proceed) -> list[Found]:
    """How y's tokens attend to all N of the row: (L, heads or 1, T, N)."""
    feature = rows[0].feature
    maps = forward.attention_maps(loaded.model, rows, feature["layers"], mean=feature["heads"] == "mean")
    return [({"attention": _numpy(each.float()).astype(feature["dtype"])}, {}) for each in maps]


KINDS: Mapping[str, Callable[[Loaded, Sequence[Prepared], Proceed], list[Found]]] = {
    "topk": _topk,
    "sampled": _sampled,
    "hidden": _hidden,
    "attention": _attention,
    "likelihood": appraisal.likelihood,
    "reward": appraisal.reward,
}
"""What a feature is `of`, and who makes it: arrays and facts of each row of a batch."""
POOLS: Mapping[str, Callable[[Any], Any]] = {
    "none": lambda states: states,
    "mean": lambda states: states.mean(1),
    "last": lambda states: states[:, -1],
}
"""From (L, T, H) to what is kept."""
LIMITS: Mapping[str, tuple[float, str]] = {
    "temperature": (math.inf, "a number above 0"),
    "k": (math.inf, "a number of tokens above 0"),
    "draws": (65535, "from 1 to 65,535, as counts are stored in 16 bits"),
}


# -- slices, rows, replies ---------------------------------------------------------------------------------------------


def _distributions(loaded: Loaded, rows: Sequence[Prepared], proceed: Proceed) -> Iterator[tuple[Any, Any, slice]]:
    """Logits (n, V) over the temperature, y's ids there (n,), and the slice's place among all scored tokens."""
    import torch

    temperature = rows[0].feature["temperature"]
    targets = torch.tensor([each for row in rows for each in row.ids[row.start :]])
    done = 0
    for logits in forward.predictions(loaded.model, rows):
        proceed()
        place = slice(done, done + len(logits))
        done = place.stop
        yield logits.div_(temperature), targets[place].to(logits.device), place


def _by_row(rows: Sequence[Prepared], slices: Iterable[tuple[Array, ...]]) -> Iterator[tuple[Array, ...]]:
    """The slices' columns joined, and cut into those of each row."""
    import numpy as np

    ends = np.cumsum([row.tokens for row in rows])[:-1]
    columns = [np.split(np.concatenate(parts), ends) for parts in zip(*slices, strict=True)]
    return zip(*columns, strict=True)


def _numpy(tensor: Any) -> Array:
    found: Array = tensor.cpu().numpy()
    return found


def _scored(loaded: Loaded, row: Prepared, arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> Reply:
    import numpy as np

    said = {"of": row.feature["of"], "tokens": row.tokens, "truncated": row.truncated, **facts}
    if not arrays:
        return _reply(loaded, said, row.length)
    header, blob = encode({"tokens": np.array(row.ids[row.start :], np.int32), **arrays})
    return _reply(loaded, {**said, "arrays": header}, row.length, blob)


def _rejected(loaded: Loaded, feature: Mapping[str, Any], reason: str, detail: str) -> Reply:
    return _reply(loaded, {"of": feature["of"], "tokens": 0, "rejected": reason, "detail": detail}, 0)


def _reply(loaded: Loaded, said: Mapping[str, Any], tokens: int, blob: bytes = b"") -> Reply:
    body = {
        "object": "feature",
        "model": loaded.label,
        "choices": [{"index": 0, "text": "", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 0},
        "feature": said,
    }
    return Reply(200, {}, orjson.dumps(body), blob)
