"""A simulated student: it solves word problems with a known probability, and its errors do not agree.

    python -m tests.simulated --accuracy 0.5 --seed 1 --problems seeds/arithmetic.jsonl

serves it as the fault server does, port on stdout; `with serve(problems) as server:` does the same for a test. Every
sample is an independent draw from (seed, model, question, number of the sample), and each of a question's plausible
wrong values is equally likely. Every question is equally hard: a real student knows some questions well and others not
at all, and there voting helps less. A server sees no sample numbers, so it counts how often a request's body came:
which of the same draws a sample gets then depends on the order of arrival, and how they are distributed does not. At
temperature 0 a question has one draw, whatever the count.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.faultserver import ROOT, Server
from tests.faultserver.faults import FAULTS, Exchange, Fault, completion, response
from tests.faultserver.server import Plan, Service

GREEDY = "greedy"
"""The number of the sample at temperature 0."""

NAMES = ("Ada", "Bo", "Cem", "Dara", "Emil", "Fay", "Gus", "Ines")

Student = Callable[[Sequence[Mapping[str, Any]], int | str, str], str]
"""(messages, number of the sample or GREEDY, model's name) -> the reply."""


class Problem(NamedTuple):
    """A word problem and its answer, a whole number."""

    question: str
    answer: int


class Draw(NamedTuple):
    """What the student comes to, and by which of several ways."""

    value: int
    way: int


def problems(count: int) -> list[Problem]:
    """`count` different problems of three steps; fewer are a prefix of more, and answers are above 100."""
    made = []
    for number in range(count):
        boxes, pieces, given = 9 + number % 7, 13 + number % 11, 3 + number % 13
        question = (
            f"{NAMES[number % len(NAMES)]} has {boxes} boxes of {pieces} pencils, buys {number} more and gives "
            f"{given} away. How many pencils are left?"
        )
        made.append(Problem(question, boxes * pieces + number - given))
    return made


def read_problems(path: Path) -> list[Problem]:
    """Those of a JSONL file with the columns question and answer."""
    rows = (json.loads(line) for line in path.read_bytes().split(b"\n") if line)
    return [Problem(row["question"], int(row["answer"])) for row in rows]


def slips(answer: int, spread: int = 8) -> list[int]:
    """The first `spread` of at most 16 plausible wrong values: some off, doubled, a zero too many, halved.

    Fewer where some coincide or would be negative; no two are the same for answers above 100.
    """
    near = [answer + off for off in (1, -1, 10, -10)] + [2 * answer, 10 * answer, answer + 2, answer - 2]
    far = [answer + off for off in (3, -3, 5, -5, 20, -20, 100)] + [answer // 2]
    return [value for value in dict.fromkeys([*near, *far][:spread]) if value >= 0 and value != answer]


def draw(
    problem: Problem, number: int | str, accuracy: float = 0.5, seed: int = 1, model: str = "", spread: int = 8
) -> Draw:
    """One sample: right with the probability `accuracy`, else one of the `spread` slips, each as likely."""
    drawn = hashlib.sha256(f"{seed}\n{model}\n{number}\n{problem.question}".encode()).digest()
    way = drawn[16] % 4
    if int.from_bytes(drawn[:8]) < accuracy * 2**64:
        return Draw(problem.answer, way)
    wrong = slips(problem.answer, spread)
    return Draw(wrong[int.from_bytes(drawn[8:16]) % len(wrong)], way)


def make_student(known: Iterable[Problem], accuracy: float = 0.5, seed: int = 1) -> Student:
    """A student that answers these problems, wherever in a request the question stands, and no others.

    It reasons and tags its reply as the recipes `cot`, `self-consistency` and `rejection` of `label` ask for. The
    steps are a form only: they end in the drawn value, and there are four different ones for each value.
    """
    by_question = {problem.question: problem for problem in known}

    def student(messages: Sequence[Mapping[str, Any]], number: int | str, model: str = "") -> str:
        problem = _asked(messages, by_question)
        if problem is None:
            return "I do not know this problem."
        value, way = draw(problem, number, accuracy, seed, model)
        first = value * (way + 1) // 6
        steps = f"One part is {first} and the other is {value - first}: {first} + {value - first} = {value}."
        return f"<reasoning>{steps}</reasoning>\n<answer>{value}</answer>"

    return student


def _asked(messages: Sequence[Mapping[str, Any]], known: Mapping[str, Problem]) -> Problem | None:
    """The problem of the last message that holds a known question, as a line or, looked for longer, anywhere."""
    texts = [str(message.get("content", "")) for message in reversed(messages)]
    lines = (known[line] for text in texts for line in text.split("\n") if line in known)
    within = (problem for text in texts for question, problem in known.items() if question in text)
    return next(lines, None) or next(within, None)


def as_fault(student: Student) -> Fault:
    """The student as an entry of the fault server's table, paid as any right answer."""
    arrived: Counter[bytes] = Counter()

    def write(exchange: Exchange) -> None:
        payload = exchange.payload
        number = GREEDY if payload.get("temperature") == 0 else arrived[exchange.body]
        arrived[exchange.body] += 1
        said = student(payload["messages"], number, payload.get("model", ""))
        message = {"role": "assistant", "content": said}
        exchange.write(response(200, orjson.dumps(completion(exchange, message=message))))

    return Fault(200, True, write)


@contextlib.contextmanager
def serve(known: Iterable[Problem], accuracy: float = 0.5, seed: int = 1, latency: float = 0.0) -> Iterator[Server]:
    """The student on a free port of 127.0.0.1 for the length of a `with` block. Other plans may name it `student`."""
    with tempfile.TemporaryDirectory(prefix="simulated-") as directory:
        ledger, path = Path(directory) / "ledger.jsonl", Path(directory) / "problems.jsonl"
        path.write_bytes(b"".join(json.dumps(problem._asdict()).encode() + b"\n" for problem in known))
        numbers = {"--accuracy": accuracy, "--seed": seed, "--latency": latency, "--ledger": ledger, "--problems": path}
        options = [str(part) for option in numbers.items() for part in option]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.simulated", *options], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            assert ready, "the simulated student did not start: see its message above"
            yield Server(f"http://127.0.0.1:{json.loads(ready)['port']}/v1", ledger, process)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


async def listen(port: int, service: Service) -> None:
    """Print the port and serve until the process ends."""
    listener = await asyncio.get_running_loop().create_server(service.connection, "127.0.0.1", port, backlog=4096)
    print(json.dumps({"port": listener.sockets[0].getsockname()[1]}), flush=True)
    await listener.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulated", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--accuracy", type=float, default=0.5, help="probability of a right sample (default 0.5)")
    parser.add_argument("--seed", type=int, default=1, help="the same number gives the same draws (default 1)")
    parser.add_argument("--problems", type=Path, default=ROOT / "seeds" / "arithmetic.jsonl", help="what it knows")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--ledger", type=Path, default=Path(os.devnull), help="JSONL file, appended to")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    options = parser.parse_args()
    FAULTS["student"] = as_fault(make_student(read_problems(options.problems), options.accuracy, options.seed))
    service = Service(options.latency, Plan(rates={"student": 1.0}), options.ledger)
    asyncio.run(listen(options.port, service))


if __name__ == "__main__":
    main()
