"""`train`: options in, losses on stderr as they come, the student's folder and how it went at the end."""

from collections.abc import Mapping
from math import inf
from typing import Annotated, Any

import typer

from distill_data.cli.options import AsJson, Config, Quiet, Seed, Settings, pairs
from distill_data.cli.talk import listening, put_json, say
from distill_data.errors import UsageError

STUDENT, LOOP, OUTPUT = "Student", "Loop", "Output and resume"
"""Headings of the help."""


def _option(heading: str, about: str, metavar: str | None, *names: str) -> Any:
    return typer.Option(*names, rich_help_panel=heading, help=about, metavar=metavar)


Data = Annotated[str, typer.Argument(metavar="DATA", help="rows as a command wrote them", show_default=False)]
StudentName = Annotated[
    str, _option(STUDENT, "tiny, a folder, smollm2, or ORG/NAME of the hub", "MODEL", "-s", "--student")
]
ObjectiveName = Annotated[str, _option(STUDENT, "one of those below", "NAME", "--objective")]
Folder = Annotated[str, _option(OUTPUT, "the student's folder", "DIR", "-o", "--output")]
Held = Annotated[str, _option(LOOP, "rows that the loss is measured on, before and after", "FILE", "--held-out")]
TeacherName = Annotated[str, _option(STUDENT, "on-policy, rl: a model that runs here", "MODEL", "-t", "--teacher")]
Reward = Annotated[str, _option(STUDENT, "rl: a reward model, `verifier`, or `teacher`", "MODEL", "--reward")]
Tokenizer = Annotated[str, _option(STUDENT, "of tiny: bytes, bpe:N, or a model's", "NAME", "--tokenizer")]
Lora = Annotated[int, _option(STUDENT, "train adapters of this rank instead of the weights", "RANK", "--lora")]
Epochs = Annotated[float, _option(LOOP, "how often each row is seen", "N", "--epochs")]
Steps = Annotated[int, _option(LOOP, "steps of the optimizer, whatever the epochs", "N", "--steps")]
Batch = Annotated[int, _option(LOOP, "rows at a time", "N", "--batch")]
Accumulate = Annotated[int, _option(LOOP, "batches of one step", "N", "--accumulate")]
Rate = Annotated[float, _option(LOOP, "else the objective's", "NUMBER", "--learning-rate")]
MaxLength = Annotated[int, _option(LOOP, "tokens of x and y together; the rest is cut", "N", "--max-length")]
Fresh = Annotated[bool, _option(OUTPUT, "begin again, whatever checkpoints there are", None, "--fresh")]

TRAIN_EXAMPLES = """\
Objectives; docs/training.md tells the rows that each takes, its formula and its settings:
  sft step-by-step                    supervised
  kd on-policy hidden relations       divergence and similarity
  reward rl                           reinforcement
  dpo kto orpo rrhf pro               ranking

Examples:
  distill-data train out.jsonl -s tiny --objective sft -o students/a
  distill-data train out.jsonl -s smollm2 --objective sft --lora 16 -o students/b"""


def train(
    data: Data,
    student: StudentName,
    objective: ObjectiveName,
    output: Folder,
    held: Held = "",
    teacher: TeacherName = "",
    reward: Reward = "",
    tokenizer: Tokenizer = "bytes",
    lora: Lora = 0,
    epochs: Epochs = 3.0,
    steps: Steps = 0,
    batch: Batch = 8,
    accumulate: Accumulate = 1,
    learning_rate: Rate = 0.0,
    max_length: MaxLength = 1024,
    seed: Seed = 0,
    settings: Settings = None,
    fresh: Fresh = False,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a student on rows as they were written."""
    from distill_data.commands.train import Loop, Training
    from distill_data.commands.train import train as run

    for name, value, least in (("--batch", batch, 1), ("--accumulate", accumulate, 1), ("--max-length", max_length, 8)):
        if value < least:
            raise UsageError(f"{name} {value}: must be at least {least}.")
    if not 0 < epochs < inf or steps < 0 or lora < 0 or not 0 <= learning_rate < inf:
        raise UsageError("--epochs must be above 0; --steps, --lora and --learning-rate at least 0.")
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: must be from 0 to 2^32 - 1.")
    training = Training(
        student=student,
        objective=objective,
        loop=Loop(epochs, steps, batch, accumulate, learning_rate, max_length, seed),
        settings=pairs("--set", "NAME=VALUE", settings),
        held=held,
        teacher=teacher,
        reward=reward,
        tokenizer=tokenizer,
        lora=lora,
        fresh=fresh,
        config=config,
    )
    with listening(quiet=quiet, verbose=False, tty=False):
        done = run(data, training, output, (lambda _: None) if quiet else _tell)
    if as_json:
        put_json(done.result)
    elif not quiet:
        told = training_lines(done.result) if done.changed else ["is there already, and up to date"]
        say(f"{done.folder}: {told[0]}", *told[1:])


def _tell(measured: Mapping[str, float]) -> None:
    """A line for each tenth of the way."""
    step, steps = measured["step"], measured["steps"]
    told = -(-steps // 100)  # as often as losses come
    if "loss" in measured and (step * 10 // steps > (step - told) * 10 // steps or step == 1):
        what = "reward" if "reward" in measured else "loss"  # the loss of `rl` is about 0 at each step
        say(f"step {measured['step']:,} of {measured['steps']:,}: {what} {measured[what]:.4f}")


def training_lines(result: Mapping[str, Any]) -> list[str]:
    """What was trained on what, and how the loss went."""
    what = "reward" if any("reward" in each for each in result["history"]) else "loss"
    losses = [each[what] for each in result["history"] if what in each]
    held = [each[f"eval_{what}"] for each in result["history"] if f"eval_{what}" in each]
    lines = [f"{result['objective']} on {result['rows']:,} rows, {result['steps']:,} steps"]
    lines += [f"{what} {losses[0]:.4f} -> {losses[-1]:.4f}"] if losses else []
    lines += [f"held out {held[0]:.4f} -> {held[-1]:.4f}"] if held else []
    return lines
