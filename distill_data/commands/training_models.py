"""The models that a training is given: student, tokenizer, teacher, reward. What they are, told without any path of
this machine, and how they are opened. Knows no run and no output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_data.data.fingerprints import matches
from distill_data.data.items import Row
from distill_data.errors import UsageError
from distill_data.quality import make_verifier
from distill_data.teachers.checkpoints import find, label_of
from distill_data.teachers.profiles import find_profile, load_profiles
from distill_data.teachers.protocol import Profile
from distill_data.training.jobs import Student
from distill_data.training.objectives import Objective

if TYPE_CHECKING:
    from distill_data.commands.train import Training

TINY = "tiny"
VERIFIER, TEACHER = "verifier", "teacher"
"""What `--reward` takes instead of a model."""
UNSAID = ("id", "kind", "meta", "features", "batch", "role")
"""Columns of rows and messages whose texts nobody says."""


def require_models(training: Training, objective: Objective) -> None:
    """Raises UsageError where a model is missing that the objective asks, and where one is given that it does not."""
    asks = {*objective.asks, *([TEACHER] if training.reward == TEACHER else [])}
    advice = {
        TEACHER: "--teacher: a folder, or transformers/NAME",
        "reward": "--reward: the folder of a model trained by --objective reward, verifier, or teacher",
    }
    for role, given in ((TEACHER, training.teacher), ("reward", training.reward)):
        if role in asks and not given:
            raise UsageError(f"--objective {training.objective} needs {advice[role]}.")
        if given and role not in asks:
            raise UsageError(f"--{role} {given}: nothing asks it in --objective {training.objective}; leave it out.")
    if training.tokenizer != "bytes" and training.student != TINY:
        raise UsageError(f"--tokenizer {training.tokenizer}: {training.student} has its own; only tiny takes another.")


def refuse_own(training: Training, folder: Path) -> None:
    """Raises UsageError where the student would be written over a model that it comes of."""
    for name in (training.student, training.teacher, training.reward, training.tokenizer):
        path = Path(name.removeprefix("transformers/").removeprefix("local/")).expanduser()
        if name and folder.exists() and path.exists() and path.samefile(folder):
            raise UsageError(f"-o {folder}: is the model {name}, which this training reads. Name another folder.")


def describe(training: Training) -> dict[str, Any]:
    """The student before it is trained, and the models beside it. Raises UsageError for one that is not there."""
    named = {TEACHER: training.teacher, "reward": training.reward}
    beside = {role: _identity(training, name) for role, name in named.items() if name}
    lora = {"lora": training.lora} if training.lora else {}
    if training.student == TINY:
        given = training.tokenizer
        own = given if given == "bytes" or given.startswith("bpe:") else _identity(training, given)
        return {"name": TINY, "tokenizer": own, **lora, **beside}
    return {**_identity(training, training.student), **lora, **beside}


def _identity(training: Training, name: str) -> dict[str, Any]:
    if name in (VERIFIER, TEACHER):
        return {"name": name}
    profile = profile_of(name, training.config)
    return {"name": label_of(profile), "weights": find(profile).weights}


def profile_of(name: str, config: Path | None) -> Profile:
    """A model that runs here on torch: a folder, a GGUF file, or as `-t` names it; `local/NAME` has the same weights as
    `transformers/NAME`. Raises UsageError."""
    known = load_profiles(config)
    if name not in known and not name.startswith("transformers/"):
        backend, _, rest = name.partition("/")
        if backend in ("openai", "echo") and not Path(name).is_dir():
            raise UsageError(f"{name}: a model is needed that runs here on torch: a folder, or transformers/NAME.")
        name = f"transformers/{rest if backend == 'local' and not Path(name).is_dir() else name}"
    return find_profile(name, known)


def open_beginning(training: Training, head: str, rows: Sequence[Row]) -> Student:
    """The student as it is before; what is random in it hangs on the seed. Raises UsageError."""
    from distill_data.training.students import add_adapters, make_tiny, open_student

    if training.student == TINY:
        student = make_tiny(_tokenizer(training, rows), training.loop.seed, head)
    else:
        student = open_student(profile_of(training.student, training.config), head, training.loop.seed)
    if training.loop.max_length > student.context:
        raise UsageError(
            f"--max-length {training.loop.max_length}: the student takes {student.context} tokens at most."
        )
    return add_adapters(student, training.lora) if training.lora else student


def _tokenizer(training: Training, rows: Sequence[Row]) -> Any:
    from distill_data.training.students import make_tokenizer, open_tokenizer

    name, _, merges = training.tokenizer.partition(":")
    if training.tokenizer == "bytes":
        return make_tokenizer()
    if name == "bpe":
        if not merges.isdigit() or not 0 < int(merges) <= 100_000:
            raise UsageError(f"--tokenizer {training.tokenizer}: bpe:N takes a number of merges from 1 to 100,000.")
        return make_tokenizer(int(merges), _texts_of(list(rows)))
    return open_tokenizer(profile_of(training.tokenizer, training.config))


def _texts_of(value: Any) -> Iterator[str]:
    """All that is said in rows."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from () if name in UNSAID else _texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts_of(each)


def open_teacher(training: Training, student: Student) -> Any:
    """A `teachers.loading.Loaded`; None where none is given.

    Raises UsageError where it cannot be opened, or where the objective compares distributions over tokens and these are
    not the student's.
    """
    from distill_data.teachers.loading import fingerprint, load

    if not training.teacher:
        return None
    teacher = load(profile_of(training.teacher, training.config))
    size = student.model.config.get_text_config().vocab_size
    own = fingerprint(student.tokenizer, training.student, size)
    if (
        training.reward != TEACHER
        and matches(own, fingerprint(teacher.tokenizer, teacher.label, teacher.vocab_size)) != "same"
    ):
        raise UsageError(
            f"--teacher {training.teacher}: its vocabulary is not the student's ({teacher.vocab_size:,} and {size:,} "
            "tokens), and next-token distributions are compared. Take a student of the same family; tiny takes over a "
            f"model's vocabulary by --tokenizer {training.teacher}. Or train on the teacher's texts by --objective sft."
        )
    return teacher


def open_reward(training: Training, settings: Mapping[str, Any]) -> Any:
    """A `Loaded` reward model, or (answer, known answer) to a number for `verifier`; else None. Raises UsageError."""
    from distill_data.teachers.loading import REWARD, load

    if training.reward == VERIFIER:
        verify = make_verifier(str(settings["verifier"]), None)
        return lambda answer, known: float(verify(answer, known))
    if training.reward in ("", TEACHER):
        return None
    return load(profile_of(training.reward, training.config), REWARD)
