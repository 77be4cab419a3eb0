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
FAMILIES: dict[str, dict[str, Any]] = {
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 16},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "laurel_rank": 4,
        "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "lfm2": {"full_attn_idxs": [1]},
    "mamba": {"state_size": 8},
    "minimax": {
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "block_size": 8,
    },
    "phi3": {"pad_token_id": 0},
    "rwkv": {"context_length": POSITIONS, "intermediate_size": 128},
}
"""What `make_model` needs to know of families besides what they have in common."""


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


def make_model(family: str, vocab_size: int, **config: Any) -> Any:
    """A model of another family of transformers, as small and as random."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    common = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "initializer_range": 0.5}
    common |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": POSITIONS}
    made = AutoConfig.for_model(family, vocab_size=vocab_size, **{**common, **FAMILIES.get(family, {}), **config})
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(made).eval()


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
