"""A model small enough for unit tests: random weights, a real fast tokenizer, a real chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXTS = (
    "The quick brown fox jumps over the lazy dog. How many legs has a spider? A spider has eight legs.",
    "user assistant system What is the capital of France? The capital of France is Paris.",
    'def add(a, b):\n    return a + b\n\nprint(add(2, 3))  # 5\n{"answer": "yes", "reason": "because it is"}',
    "positive negative neutral yes no maybe one two three four five six seven eight nine ten",
    "1 + 1 = 2, 12 * 12 = 144, 1000 - 7 = 993; 3.14159",
)
"""What the tokenizer's merges are learned from."""

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
POSITIONS = 512


def make_tiny(folder: Path, *, seed: int = 0, layers: int = 2, vocab_extra: int = 0) -> Path:
    """A Llama with random weights (hidden 32, 4 heads, 2 key-value heads), saved to the folder. Deterministic.

    `vocab_extra` is how many rows the model's output has beyond the tokenizer's ids, as padded models have.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer) + vocab_extra,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=POSITIONS,
            initializer_range=0.6,  # so that the distributions have peaks, as those of real models
            tie_word_embeddings=True,
            bos_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer(template: str | None = TEMPLATE) -> Any:
    """A byte-level BPE tokenizer of about 400 ids that takes every text; `<|im_end|>` ends a turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = template
    return tokenizer
