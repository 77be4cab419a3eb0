"""A model's forward pass over a batch of rows: logits, hidden states, attention maps where y's tokens stand.

Rows are padded on the right and masked, so what a row gets does not depend on its neighbours. Knows tensors and the
layout of a transformers model; nothing about requests, replies or what is made of the values. Torch tensors are `Any`,
and whoever calls does so within `torch.inference_mode()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from distill_data.errors import UsageError

SLICE = 1 << 24
"""Most logits in memory at a time: a slice of positions times the vocabulary."""
PROBE = 8
"""Tokens of the passes that find out what a model is like."""
PADDING = 3
"""Tokens by which the one row of such a pass is shorter than the other."""


def _once(find_out: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """What is found out about a model once."""
    known: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()

    @wraps(find_out)
    def ask(model: Any) -> bool:
        if model not in known:
            known[model] = find_out(model)
        return known[model]

    return ask


class Row(Protocol):
    """N tokens of which y's are `ids[start:]`, start ≥ 1: each is predicted at the position before it."""

    @property
    def ids(self) -> Sequence[int]: ...

    @property
    def start(self) -> int: ...


def depth(model: Any) -> int:
    """L, the transformer layers. Hidden states are numbered 0 (the embeddings) to L (after the last norm)."""
    return int(model.config.get_text_config().num_hidden_layers)


def predictions(model: Any, rows: Sequence[Row]) -> Iterator[Any]:
    """Logits (n, V) in float32 of the positions that predict y's tokens: all rows' one after the other, in slices.

    A slice may be overwritten by whoever takes it.
    """
    produce = _project if has_plain_head(model) else _project_whole
    for logits in produce(model, rows):
        # float64 is wanted of these numbers later, and Apple's GPUs have none
        yield (logits.cpu() if logits.device.type == "mps" else logits).float()


def _project(model: Any, rows: Sequence[Row]) -> Iterator[Any]:
    """Only the scored positions meet the vocabulary, which is up to a third of a small model's work."""
    import torch

    head = model.get_output_embeddings()
    states = _forward(model.base_model, rows).last_hidden_state
    scored = torch.cat([states[at, row.start - 1 : len(row.ids) - 1] for at, row in enumerate(rows)])
    del states
    for piece in scored.split(max(1, SLICE // head.weight.shape[0])):
        yield head(piece)


def _project_whole(model: Any, rows: Sequence[Row]) -> Iterator[Any]:
    """The model's own way to logits, of as many rows at a time as bounds their number; a row is never split."""
    vocabulary = model.config.get_text_config().vocab_size
    most = max(1, 8 * SLICE // (vocabulary * max(len(row.ids) for row in rows)))
    for first in range(0, len(rows), most):
        part = rows[first : first + most]
        logits = _forward(model, part).logits
        for at, row in enumerate(part):
            found = logits[at, row.start - 1 : len(row.ids) - 1]
            yield from found.split(max(1, SLICE // found.shape[-1]))


@_once
def has_plain_head(model: Any) -> bool:
    """Whether logits are `head(base(ids))` and nothing more, found out once per model by looking at every bit.

    Some models cap or scale what the head gives (Gemma 2, Cohere, Granite), or have no base and head that can be told
    apart. A list of such models would be out of date soon, and capped logits can differ little on a short text; so
    one forward pass is watched: what the base gives must reach the head, and what the head gives must be the logits.
    """
    import torch

    base, head = model.base_model, model.get_output_embeddings()
    if base is model or getattr(head, "weight", None) is None:
        return False
    seen: list[Any] = []
    hooks = (
        base.register_forward_hook(lambda module, given, made: seen.append(getattr(made, "last_hidden_state", None))),
        head.register_forward_hook(lambda module, given, made: seen.extend((given[0] if given else None, made))),
    )
    try:
        ids = torch.arange(PROBE, device=model.device)[None] % head.weight.shape[0]
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    if len(seen) != 3 or not all(isinstance(each, torch.Tensor) for each in seen):
        return False
    states, given, made = seen
    return bool(torch.equal(states, given) and torch.equal(made.float(), logits.float()))


@_once
def has_plain_cache(model: Any) -> bool:
    """Whether what was read of a row can be gone on from several times: keys and values alone, and no state that each
    token overwrites, as recurrent models have it."""
    import torch
    from transformers.cache_utils import DummyLayer, DynamicCache, DynamicLayer, LinearAttentionCacheLayerMixin

    ids = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    cache: Any = getattr(model.base_model(input_ids=ids, use_cache=True), "cache", None)
    return type(cache) is DynamicCache and all(
        isinstance(layer, (DynamicLayer, DummyLayer)) and not isinstance(layer, LinearAttentionCacheLayerMixin)
        for layer in cache.layers
    )


@_once
def writes_in_batches(model: Any) -> bool:
    """Whether a row goes on beside a longer one as it does alone. RWKV and MiniMax mix rows up, or read padding."""
    import torch
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig()
    long = torch.arange(PROBE, device=model.device) % model.config.get_text_config().vocab_size
    short = torch.nn.functional.pad(long[PADDING:], (PADDING, 0))
    rows, found = torch.stack([short, long]), []
    for ids in (rows, rows[:1, PADDING:]):
        mask = torch.ones_like(ids)
        mask[0, : ids.shape[1] - PROBE + PADDING] = 0
        asked = GenerationConfig(max_new_tokens=2, return_dict_in_generate=True, output_logits=True)
        said = model.generate(input_ids=ids, attention_mask=mask, generation_config=asked)
        found.append(torch.stack([logits[0].float().log_softmax(-1) for logits in said.logits]))
    beside, alone = found
    most = 1e-3 if model.dtype == torch.float32 else 0.5
    differs = (beside - alone).abs().amax(-1) > most
    # where rounding alone decides the first token, the second logits are another token's
    return not differs[0] and not (differs[1] and beside[0].argmax() == alone[0].argmax())


def rope_switch(model: Any) -> int:
    """Tokens beyond which positions are turned by other factors, chosen by the longest row of a batch; 0 for all models
    but those with longrope (Phi-3, MiniCPM 3)."""
    parameters: Mapping[str, Any] = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    kinds = (parameters, *(each for each in parameters.values() if isinstance(each, Mapping)))
    switches = (kind["original_max_position_embeddings"] for kind in kinds if kind.get("rope_type") == "longrope")
    return next(switches, 0)


def is_long(model: Any, tokens: int) -> bool:
    """Whether so many tokens are turned by the other factors."""
    return 0 < rope_switch(model) < tokens


@_once
def counts_from_embeddings(model: Any) -> bool:
    """Whether state 0 is what goes into the first layer. Mamba and RWKV keep what comes out of it instead."""
    import torch

    count, base = depth(model), model.base_model
    seen: list[Any] = []

    def look(module: Any, given: Any, named: Any) -> None:
        seen.extend(each for each in (*given, *named.values()) if isinstance(each, torch.Tensor))

    stacks = [each for each in base.modules() if isinstance(each, torch.nn.ModuleList) and len(each) == count]
    hooks = [stack[0].register_forward_pre_hook(look, with_kwargs=True) for stack in stacks]
    try:
        ids = torch.arange(PROBE, device=model.device)[None] % model.config.get_text_config().vocab_size
        states = base(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
    finally:
        for hook in hooks:
            hook.remove()
    return len(states) == count + 1 and any(torch.equal(states[0], each) for each in seen)


def hidden_states(model: Any, rows: Sequence[Row], layers: Sequence[int]) -> list[Any]:
    """For each row (len(layers), T, H): the states of these layers, 0 to L, at y's tokens. Other layers' are not kept.

    Layer L is after the final norm, as it goes into the head. Raises UsageError where the model does not give them.
    """
    import torch

    last = depth(model)
    # a list keeps only the layers in it; older models take it for "yes" and give all
    made = _forward(model.base_model, rows, output_hidden_states=sorted(set(layers)))
    states = {layer: made.hidden_states[layer] for layer in set(layers) - {last}}
    size = (len(rows), max(len(row.ids) for row in rows))
    numbered = not states or counts_from_embeddings(model)
    missing = [layer for layer in sorted(states) if not numbered or states[layer].shape[:-1] != size]
    _refuse_missing(model, "hidden states", "the last layer", missing)
    if last in layers:  # Gemma 3n keeps several streams of each layer, and makes one of them only at the end
        states[last] = getattr(made, "last_hidden_state", made.hidden_states[last])
    return [
        torch.stack([states[layer][at, row.start : len(row.ids)] for layer in layers]) for at, row in enumerate(rows)
    ]


def mean_states(model: Any, rows: Sequence[Row]) -> list[list[float]]:
    """For each row the mean of its last states, (H,), from `start` on."""
    states = _forward(model.base_model, rows).last_hidden_state
    return [states[at, row.start : len(row.ids)].float().mean(0).tolist() for at, row in enumerate(rows)]


def attention_maps(model: Any, rows: Sequence[Row], layers: Sequence[int], mean: bool) -> list[Any]:
    """For each row (len(layers), heads or 1, T, N): how y's tokens attend to all N tokens of the row, layers 1 to L.

    Maps of other layers, and of the prompt's tokens, are let go as soon as a layer is done. Raises UsageError where
    the model does not show what it attends to.
    """
    import torch

    found: dict[int, list[Any]] = {}
    longest = max(len(row.ids) for row in rows)

    def keep(layer: int, module: Any, given: Any, made: Any) -> None:
        weights = made[1] if isinstance(made, tuple) and len(made) > 1 else None
        if isinstance(weights, torch.Tensor) and weights.ndim == 4 and weights.shape[2:] == (longest, longest):
            cut = [weights[at, :, row.start : len(row.ids), : len(row.ids)] for at, row in enumerate(rows)]
            found[layer] = [each.float().mean(0, keepdim=True) if mean else each.clone() for each in cut]

    with _eager(model), _watched(model, layers, keep):
        _forward(model.base_model, rows)
    missing = [layer for layer in layers if layer not in found]
    _refuse_missing(model, "attention weights", "other layers, or for hidden states", missing)
    return [torch.stack([found[layer][at] for layer in layers]) for at in range(len(rows))]


def _refuse_missing(model: Any, what: str, instead: str, layers: Sequence[int]) -> None:
    if layers:
        named = ", ".join(map(str, layers))
        raise UsageError(f"{type(model).__name__} does not give {what} of layer {named}; ask for {instead} instead.")


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """Fused attention never holds its weights; the plain implementation does."""
    before = model.config._attn_implementation
    if before == "eager":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _watched(model: Any, layers: Sequence[int], keep: Callable[..., None]) -> Iterator[None]:
    """`keep(layer, module, given, made)` after each module of these layers that knows its layer; attention does."""
    asked = frozenset(layers)
    hooks = [
        module.register_forward_hook(partial(keep, module.layer_idx + 1))
        for module in model.modules()
        if isinstance(getattr(module, "layer_idx", None), int) and module.layer_idx + 1 in asked
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _forward(module: Any, rows: Sequence[Row], **asked: Any) -> Any:
    """The module's output for the rows, padded on the right with id 0, which the mask hides."""
    import torch

    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row.ids)] = torch.tensor(row.ids)
        mask[at, : len(row.ids)] = 1
    device = module.device
    return module(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False, **asked)
