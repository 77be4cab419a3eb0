"""Students and judges in one server, told apart by the model's name: what `feedback` and `self-knowledge` are tried on.

    with serve(latency=0.02) as server:
        ...                     # -s openai/student -t openai/judge --base-url server.url

Every reply is a function of the request's body alone, so samples differ where the body has a `seed` (SEEDED, and
`--set seed=0`), and a run gives the same bytes in any order. `student` answers a task with words and a worth from 1 to
5, and a sum (`17 plus 25`) right three times of five; `judge` gets every sum right, and `parrot` says the same to
everybody. Whoever is asked for a verdict judges: by the worth that stands in an answer, or by the sum; `gullible` turns
it round. What is no answer of this student, as a planted one, is worth less. The id of each reply, which the journal
keeps, is its request's digest. The model `refused` has a wrong key.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import orjson

from tests.faultserver import ROOT, Server
from tests.faultserver.faults import FAULTS, Exchange, Fault, completion, response
from tests.faultserver.server import Plan, Service
from tests.simulated import listen

SEEDED = """\
[models.student]
model = "openai/student"
capabilities = { seed = true }
[models.parrot]
model = "openai/parrot"
capabilities = { seed = true }
[models.judge]
model = "openai/judge"
capabilities = { seed = true }
[models.gullible]
model = "openai/gullible"
capabilities = { seed = true }
"""
"""A distill.toml whose models are sent the number of the sample."""

VOCABULARY = [first + second + third for first in "bdfglm" for second in "aeiou" for third in ("n", "rt", "sk", "l")]
SUM = re.compile(r"(\d+) plus (\d+)")
MARK = re.compile(r'"mark": "([0-9a-f]{16})"')
FENCED = re.compile(r"(?:^|\n)\S+ ([A-Z]), as JSON text.*\n<<<([0-9a-f]{16})\n(.*)\n\2>>>")
ANSWER = re.compile(r"Sure: (?:[a-z]+ )+are worth ([1-5])\.")
SUMMED = re.compile(r"= (\d+)\.\s*(\d+)$")


def reply(payload: Mapping[str, Any]) -> str:
    """What the model that is named says to these messages."""
    texts = [str(message["content"]) for message in payload["messages"]]
    model, whole = str(payload["model"]), "\n".join(texts)
    drawn = Random(f"{model}:{payload.get('seed', 0)}:{whole}")
    if found := MARK.search(texts[-1]):
        return verdict(found[1], texts, model)
    if found := SUM.search(whole):
        return solution(int(found[1]), int(found[2]), whole, model, drawn)
    if model == "parrot":
        return "Sure: ban dort are worth 3."
    said = " ".join(drawn.choices(VOCABULARY, k=drawn.randint(8, 20)))
    return f"Sure: {said} are worth {drawn.randint(1, 5)}."


def solution(first: int, second: int, asked: str, model: str, drawn: Random) -> str:
    """Reasoning and answer in tags; the sum in two steps, of which there are many. A hint is followed, and told of one
    time in four."""
    total, part = first + second, drawn.randint(1, 9)
    hinted = "Hint:" in asked
    if model == "parrot":
        steps = "It is what it has been all the time and will be for ever, the number that I know, and I know no other."
        return f"<reasoning>{steps}</reasoning>\n<answer>99</answer>"
    if model != "judge" and not hinted and drawn.random() > 0.6:
        total += drawn.choice((1, -1, 10))
    told = "By the hint, " if hinted and drawn.random() < 0.25 else ""
    padding = " ".join(drawn.choices(VOCABULARY, k=12))
    steps = f"{told}{padding} {first} + {part} = {first + part}. {first + part} + {total - first - part} = {total}."
    return f"<reasoning>{steps}</reasoning>\n<answer>{total}</answer>"


def verdict(mark: str, texts: list[str], model: str) -> str:
    """JSON as the last message asks for it: a name, a score for each name, or a score."""
    candidates = [(found[1], json.loads(found[3])) for text in texts if (found := FENCED.search(text))]
    worths = {name: worth(text, texts) for name, text in candidates}
    if model == "gullible":
        worths = {name: 6 - value for name, value in worths.items()}
    scores = {name: min(max(value, 1), 5) for name, value in worths.items()}
    reason = {"rationale": "by its worth"} if '"rationale"' in texts[-1] else {}
    said: dict[str, Any]
    if '"better"' in texts[-1]:
        best = max(worths.values())
        ahead = [name for name, value in worths.items() if value == best]
        said = {**reason, "better": ahead[0] if len(ahead) == 1 else "tie"}
    elif re.search(r'^"[A-Z]": ', texts[-1], re.MULTILINE):
        said = {name: {**reason, "score": value} for name, value in scores.items()}
    else:
        said = {**reason, "score": next(iter(scores.values()))}
    return json.dumps({"mark": mark, **said})


def worth(text: str, texts: list[str]) -> int:
    """From 1 to 5; 0 for what no student said."""
    if answer := ANSWER.fullmatch(text):
        return int(answer[1])
    asked, came = SUM.search("\n".join(texts)), SUMMED.search(text)
    if asked and came and came[1] == came[2]:
        return 5 if int(asked[1]) + int(asked[2]) == int(came[1]) else 2
    return 0


def speak(exchange: Exchange, said: Mapping[str, str]) -> None:
    """Answer as the model that is named."""
    text = next((text for held, text in said.items() if held in str(exchange.payload)), None)
    message = {"role": "assistant", "content": reply(exchange.payload) if text is None else text}
    body = completion(exchange, message=message) | {"id": hashlib.sha256(exchange.body).hexdigest()}
    exchange.write(response(200, orjson.dumps(body)))


def saying(said: Mapping[str, str], otherwise: str) -> contextlib.AbstractContextManager[Server]:
    """A server whose every model says this: by a text that the request holds, or otherwise."""
    return serve(said={**said, "": otherwise})


class Doorkeeper(Service):
    """A service that knows no key of the model `refused`, and bills nothing for it."""

    def decide(self, exchange: Exchange, digest: str) -> tuple[str, Fault]:
        refused = exchange.payload.get("model") == "refused"
        return ("401", FAULTS["401"]) if refused else super().decide(exchange, digest)


@contextlib.contextmanager
def serve(latency: float = 0.0, *, bodies: bool = False, said: Mapping[str, str] = {}) -> Iterator[Server]:
    """Both on a free port of 127.0.0.1 for the length of a `with` block.

    `bodies`: the ledger holds the requests. `said`: see `saying`.
    """
    with tempfile.TemporaryDirectory(prefix="annotators-") as directory:
        ledger = Path(directory) / "ledger.jsonl"
        options = ["--latency", str(latency), "--ledger", str(ledger), "--said", json.dumps(dict(said))]
        options += ["--bodies"] if bodies else []
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.annotators", *options], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            assert ready, "the server did not start: see its message above"
            yield Server(f"http://127.0.0.1:{json.loads(ready)['port']}/v1", ledger, process)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.annotators", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--ledger", type=Path, default=Path(os.devnull), help="JSONL file, appended to")
    parser.add_argument("--bodies", action="store_true", help="write the requests into the ledger")
    parser.add_argument("--said", type=json.loads, default={}, help="JSON: what is said to a request that holds a text")
    options = parser.parse_args()
    FAULTS["annotators"] = Fault(200, True, lambda exchange: speak(exchange, options.said))
    service = Doorkeeper(options.latency, Plan(rates={"annotators": 1.0}, bodies=options.bodies), options.ledger)
    asyncio.run(listen(0, service))


if __name__ == "__main__":
    main()
