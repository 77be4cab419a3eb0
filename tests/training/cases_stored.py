"""Objectives on stored knowledge: a tiny teacher learns four languages of letters, and `feature` stores what it knows.

In a language each letter is followed by one of three, and which those are a student can only learn from rows of that
language. The control has the same rows, with the arrays of others: same tokens of y, other distributions, states or
likenesses.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from distill_data.cli import main
from distill_data.commands.train import Loop, Training, profile_of, train
from distill_data.data.features import FORMAT, VERSION, open_features
from distill_data.training.objectives import LANGUAGE
from distill_data.training.students import open_student
from tests.system.command import read_jsonl
from tests.training.measures import ids_of
from tests.training.teaching import HELD, TRAIN, Case, Metric, write_rows

LETTERS, LENGTH = ("abcdefgh", "ijklmnop", "qrstuvwx", "ABCDEFGH"), 16
ROWS, KEPT = 192, 32
"""Rows in all, of which the last are held out."""
BATCH = 16
STEPS, STEPS_OF_SLOW = 80, 240
"""The gradients of reverse KL, JSD and skewed KL are small where the student gives almost nothing to what the teacher
says, as one with random weights does: they learn as much in more steps."""
TEACHER = "teacher"


def write_words(path: Path, seed: int) -> None:
    """A row asks for a word of a language, and has one."""
    rng = Random(seed)
    after = {letter: rng.sample(letters, 3) for letters in LETTERS for letter in letters}
    rows = []
    for _ in range(ROWS):
        letters = rng.choice(LETTERS)
        word = rng.choice(letters)
        while len(word) < LENGTH:
            word += rng.choices(after[word[-1]], (6, 3, 1))[0]
        rows.append({"prompt": letters[0], "completion": word})
    write_rows(path, rows)


@cache
def taught(seed: int, steps: int) -> tempfile.TemporaryDirectory[str]:
    """A folder with rows and the teacher that was trained on them."""
    folder = tempfile.TemporaryDirectory()
    rows = Path(folder.name) / "rows.jsonl"
    write_words(rows, seed)
    training = Training("tiny", "sft", Loop(steps=steps, batch=BATCH, seed=seed))
    train(str(rows), training, str(rows.with_name(TEACHER)))
    return folder


def store(folder: Path, seed: int, recipe: str, steps: int = 150, **settings: Any) -> None:
    """What the teacher knows of the rows, by our own command."""
    source = Path(taught(seed, steps).name)
    (folder / TEACHER).symlink_to(source / TEACHER)
    rows = read_jsonl(source / "rows.jsonl")
    chosen = [part for name, value in settings.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    for name, part in ((TRAIN, rows[:-KEPT]), (HELD, rows[-KEPT:])):
        write_rows(folder / f"of-{name}", part)
        teacher = f"transformers/{folder / TEACHER}"
        command = ["feature", str(folder / f"of-{name}"), "-r", recipe, "-t", teacher, "-o", str(folder / name)]
        assert main([*command, *chosen, "--quiet"]) == 0


def store_shuffled(folder: Path, seed: int, recipe: str, **settings: Any) -> None:
    """The same, and then each row gets the arrays of another, its own tokens aside."""
    from safetensors.numpy import save_file

    store(folder, seed, recipe, **settings)
    features, records = open_features(folder / TRAIN), read_jsonl(folder / TRAIN)
    order = list(range(len(records)))
    Random(seed).shuffle(order)
    own = [{name: array.copy() for name, array in features.of(record).items()} for record in records]
    moved = [{**own[there], **_tokens(own[here])} for here, there in enumerate(order)]
    tensors = {
        f"{record['id']}.{name}": array
        for record, arrays in zip(records, moved, strict=True)
        for name, array in arrays.items()
    }
    (file,) = {record["features"]["file"] for record in records}
    save_file(tensors, folder / file, metadata={FORMAT: VERSION})


def _tokens(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {"tokens": arrays["tokens"]} if "tokens" in arrays else {}


def likeness(folder: Path, held: Path) -> float:
    """Minus KL(p_T ‖ p_S), the mean over all tokens of held-out y, of all of the vocabulary."""
    (told, said), at = (_outputs(each, held) for each in (held.parent / TEACHER, folder)), slice(-LENGTH - 3, -2)
    one, other = (each.logits[:, at].log_softmax(-1) for each in (told, said))
    return -float((one.exp() * (one - other)).sum(-1).mean())


def nearness(folder: Path, held: Path) -> float:
    """Minus the mean squared distance of the last states at held-out tokens from the teacher's."""
    one, other = (_outputs(each, held).hidden_states[-1][:, -LENGTH - 2 :] for each in (held.parent / TEACHER, folder))
    return -float((one - other).square().mean())


def agreement(folder: Path, held: Path) -> float:
    """Minus the mean squared difference of the cosines of held-out rows, of their mean states, to the teacher's."""
    cosines = []
    for each in (held.parent / TEACHER, folder):
        states = _outputs(each, held).hidden_states[-1][:, -LENGTH - 2 :].mean(1)
        scaled = states / states.norm(dim=-1, keepdim=True)
        cosines.append(scaled @ scaled.T)
    return -float((cosines[0] - cosines[1]).square().mean())


def _outputs(folder: Path, held: Path) -> Any:
    """Of the held-out rows, which are all as long: prompt, word, the end of the turn and a line's end."""
    import torch

    student = open_student(profile_of(str(folder), None), LANGUAGE)
    ids = [
        [*ids_of(student.tokenizer, row["prompt"]), *student.tokenizer(row["completion"] + "<|im_end|>\n")["input_ids"]]
        for row in read_jsonl(held.with_name(f"of-{held.name}"))
    ]
    with torch.no_grad():
        return student.model.eval()(input_ids=torch.tensor(ids).to(student.device), output_hidden_states=True)


def _case(
    objective: str,
    recipe: str,
    metric: Metric,
    measures: str,
    given: Mapping[str, Any],
    steps: int = STEPS,
    **settings: str,
) -> Case:
    make, shuffle = (partial(each, recipe=recipe, **given) for each in (store, store_shuffled))
    return Case(objective, measures, make, shuffle, metric, settings, Loop(steps=steps, batch=BATCH, max_length=128))


CASES = (
    *(
        _case("kd", "topk", likeness, f"{name}: minus KL to the teacher", {"k": 8}, steps, divergence=name)
        for name, steps in (
            ("forward-kl", STEPS),
            ("reverse-kl", STEPS_OF_SLOW),
            ("jsd", STEPS_OF_SLOW),
            ("skewed-kl", STEPS_OF_SLOW),
        )
    ),
    _case("kd", "sampled", likeness, "counts: minus KL to the teacher", {"draws": 20}),
    _case("hidden", "hidden", nearness, "minus square distance of states", {}),
    _case("relations", "relations", agreement, "minus square difference of cosines", {"batch": BATCH}),
)
