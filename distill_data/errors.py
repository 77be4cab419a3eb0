"""Every error that this package raises on purpose, and the exit code each one ends a command with.

    DistillError                     1  a bug, when nothing below fits
    ├── UsageError                   2  flag, recipe, configuration or seeds are wrong; nothing was sent
    │   ├── RecipeError              2  a recipe file cannot be used
    │   └── SeedError                2  a seed file cannot be read, or a row lacks what the recipe needs
    ├── YieldError                   3  too many items failed, or nothing was kept; `.partial` was written
    ├── TeacherError                 4  the teacher refused or cannot be reached; the run stopped and can go on
    │   └── BudgetError              4  the budget is spent
    ├── DamageError                  5  the journal is damaged
    │   ├── DriftError               5  the run's answers belong to other requests than the ones asked for now
    │   └── MissingAnswer            5  a replay needs an answer that the run never got
    ├── LockedError                  6  another process works on this run
    ├── DiskError                    7  the disk is full, read-only or broken
    │   └── OutOfMemory              7  memory ran out
    ├── Interrupted            130/143  a signal asked the run to stop
    └── ShardError                   …  a shard ended by one of these, and has its code

Three more never leave a run, because a bad row is data and not a crash:

    ParseError                          a reply that its parser refuses; becomes a reject with this reason
    AnswerFailed                        a request that the teacher refuses for good; its item ends as failed
    VerifierFailed                      a verifier that raises; its item ends as failed

A message says what is wrong, where (file, line, row), and what to do about it. To add an error: give it the parent
whose exit code it shares, one line above, and nothing else; a new exit code also needs a line in the README.

Knows nothing about terminals: `cli` prints the message and leaves with `exit_code`.
"""


class DistillError(Exception):
    """Root of the tree. The message is one paragraph for a person."""

    exit_code = 1


class UsageError(DistillError):
    """The user wrote something that cannot work. Found before anything is sent, so it cost nothing."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe file cannot be found, read, validated or rendered."""


class SeedError(UsageError):
    """A seed file cannot be read, or one of its rows lacks a column that the recipe needs."""


class YieldError(DistillError):
    """The run ended, but too many items failed or nothing was kept."""

    exit_code = 3


class TeacherError(DistillError):
    """The teacher cannot go on: unreachable, not authorised, out of quota, model gone."""

    exit_code = 4


class BudgetError(TeacherError):
    """The next request might exceed `--max-cost` or `--max-tokens-total`."""


class DamageError(DistillError):
    """A line of the journal does not match its checksum."""

    exit_code = 5


class DriftError(DamageError):
    """Answers on disk would go unused while new ones are bought, and nobody said that this is meant."""


class MissingAnswer(DamageError):
    """A replay came to a request whose answer is not in the run."""


class LockedError(DistillError):
    """Another process holds the run."""

    exit_code = 6


class DiskError(DistillError):
    """Writing failed. What was acknowledged before is safe."""

    exit_code = 7


class OutOfMemory(DiskError):
    """Memory ran out. What was acknowledged before is safe."""

    def __init__(
        self, where: str, advice: str = "give it more memory or a lower --concurrency, and run the same command again."
    ) -> None:
        super().__init__(f"{where}: memory ran out. What was acknowledged before is safe; {advice}")


class Interrupted(DistillError):
    """A signal asked the run to stop: 128 plus its number is the exit code, as shells expect."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class ShardError(DistillError):
    """A shard ended by an error in another process: its message, and its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ParseError(Exception):
    """A reply that a parser refuses.

    `reason` is a short stable word that is counted (`no-tag`, `not-json`, `not-a-choice`); `detail` is for a person.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class AnswerFailed(Exception):
    """A request that got no answer and won't get one by asking again. Its item ends as failed with this reason."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class VerifierFailed(Exception):
    """A verifier that could not tell right from wrong. Its item ends as failed with the reason `verifier-error`."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
