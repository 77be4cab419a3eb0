"""Students: a small transformer with random weights, or a model with weights, opened to be trained. Knows no rows.

`tiny` is a Llama of some 400,000 parameters with a tokenizer of bytes: a CPU trains it in a minute, and it needs no
file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distill_data.errors import UsageError
from distill_data.teachers.checkpoints import find
from distill_data.teachers.dequantised import quiet
from distill_data.teachers.loading import UNBOUNDED, WHAT, choose_device, failures, load_tokenizer
from distill_data.teachers.protocol import Profile
from distill_data.teachers.spans import end_of_turn
from distill_data.training.jobs import Student
from distill_data.training.objectives import REWARD

POSITIONS, HIDDEN = 1024, 128
"""Context of `tiny`, in tokens, and its width."""
END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
"""Padding; the beginning and the end of a turn."""
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message.get('reasoning_content') %}"
    "{{ '<think>\n' + message['reasoning_content'] + '\n</think>\n\n' }}"
    "{% endif %}"
    "{{ (message['content'] or '') + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""A chat as ChatML, with reasoning before the answer in think-tags."""


def make_tiny(tokenizer: Any, seed: int, head: str) -> Student:
    """A student with random weights: hidden size 128, 2 layers, 4 heads. Equal seeds give equal weights.

    Weights are drawn with a standard deviation of 1/√128, so that a layer's output is as large as its input: with 0.02,
    which suits models twenty times as wide, a copy of a token took hundreds of steps more to be learned.
    """
    import torch
    import transformers

    device, _ = choose_device()
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        initializer_range=HIDDEN**-0.5,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **({"num_labels": 1} if head == REWARD else {}),
    )
    model = getattr(transformers, head).from_config(config)
    return Student(_stopping(model, tokenizer).to(device), tokenizer, device, POSITIONS, fresh=True)


def make_tokenizer(merges: int = 0, texts: Iterable[str] = ()) -> Any:
    """A tokenizer that takes every text: a token for each byte, and as many pairs of tokens as `merges`, the most
    frequent in the texts, which become one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + 3 + merges,
        special_tokens=[END, START, STOP],
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    core.train_from_iterator(texts if merges else (), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=STOP, pad_token=END, clean_up_tokenization_spaces=False
    )
    tokenizer.model_max_length = POSITIONS
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def open_tokenizer(profile: Profile) -> Any:
    """A model's tokenizer, for a student without weights. Raises UsageError."""
    return load_tokenizer(profile, find(profile, whole=False).folder)


def open_student(profile: Profile, head: str, seed: int = 0) -> Student:
    """A model with weights in float32, which its optimizer needs; those that its head lacks are drawn from the seed.

    Raises UsageError where it cannot be opened.
    """
    import torch
    import transformers

    folder = find(profile).folder
    tokenizer = load_tokenizer(profile, folder)
    if not tokenizer.chat_template:
        raise UsageError(
            f"{profile.name}: has no chat template, so it cannot be told what is asked from what is answered. Take an "
            "instruction-tuned model, or put a chat_template.jinja into its folder."
        )
    device, _ = choose_device()
    extra = {"num_labels": 1} if head == REWARD else {}
    torch.manual_seed(seed)
    try:
        with quiet():
            model, report = getattr(transformers, head).from_pretrained(
                folder,
                dtype="float32",
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **extra,
            )
    except failures() as error:
        raise UsageError(f"{profile.name}: transformers cannot load {folder}: {error}") from None
    body = f"{model.base_model_prefix}." if head == REWARD else ""
    if missing := sorted(name for name in report["missing_keys"] if name.startswith(body)):
        raise UsageError(
            f"{profile.name}: {folder} is no {WHAT[head]}: its weights lack {len(missing)} of the tensors that its "
            f"architecture needs, such as {', '.join(missing[:3])}."
        )
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return Student(_stopping(model, tokenizer).to(device), tokenizer, device, _context(model), fresh=False)


def _stopping(model: Any, tokenizer: Any) -> Any:
    """The model, which ends its answers at the end of a turn: where it is trained on what it writes, and later."""
    config = getattr(model, "generation_config", None)  # a reward model writes nothing
    if config is not None:
        declared = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        stops = {end_of_turn(tokenizer), tokenizer.eos_token_id, *declared} - {None}
        config.eos_token_id = sorted(stops) if len(stops) > 1 else next(iter(stops), None)
        config.pad_token_id = tokenizer.pad_token_id
    return model


def add_adapters(student: Student, rank: int) -> Student:
    """The student with low-rank adapters on every linear layer, which alone are trained (LoRA, arXiv 2106.09685).

    Raises UsageError where the extra `train` is not installed.
    """
    import peft

    reward = type(student.model).__name__.endswith("SequenceClassification")
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        task_type="SEQ_CLS" if reward else "CAUSAL_LM",
    )
    return Student(
        peft.get_peft_model(student.model, config), student.tokenizer, student.device, student.context, student.fresh
    )


def save_student(model: Any, tokenizer: Any, folder: Path) -> None:
    """The model as any reader of transformers opens it, its weights in one file: adapters are merged into them."""
    merge = getattr(model, "merge_and_unload", None)
    with quiet():
        (merge() if merge else model).save_pretrained(folder, max_shard_size="1TB")
        tokenizer.save_pretrained(folder)


def _context(model: Any) -> int:
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else UNBOUNDED
