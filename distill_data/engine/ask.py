"""`ask`: a request goes in, its durable answer comes out, and nothing is ever bought twice.

    request -> body (the teacher lowers it) -> key -> on disk? -> in flight? -> the policy for a miss

The policy is `send` (see engine.send), `park` or `refuse`; a method cannot tell which one is at work. That is why
running a method again is resuming it. Knows nothing about items, but for the id that owns each answer.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

import orjson

from distill_data.data.exchange import RESAMPLED, Answer, Ask, Request, Unwanted, Wanted, always
from distill_data.data.items import canonical
from distill_data.engine.blobs import blob_at
from distill_data.engine.journal import Entry, Journal, Usage
from distill_data.engine.limiter import Limiter
from distill_data.engine.segments import owner_of
from distill_data.errors import AnswerFailed, DamageError, MissingAnswer
from distill_data.teachers import BadReply, read_answer
from distill_data.teachers.prices import Price, add_costs, cost_of
from distill_data.teachers.protocol import Teacher

NOBODY = "0" * 16
PROMPT_BYTES_PER_TOKEN = 3
"""For estimates before a request is sent; real texts need more bytes a token, so this errs on the dear side."""


class Parked(BaseException):
    """This item needs an answer that is not on disk, and sending is off. Not for methods to catch."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A teacher at work in a run, under the name of its role."""

    name: str
    """What the user calls it."""
    teacher: Teacher
    limiter: Limiter
    price: Price | None = None
    account: str = ""
    """Under which its answers are paid for, whatever the role: its model, and where that is."""


class Call(NamedTuple):
    """One request on its way to one teacher."""

    key: str
    owner: str
    """The item whose answer it will be for the drift check: nobody's, where it replaces one that could not be read."""
    role: str
    seat: Seat
    body: bytes
    prompt_tokens: int
    """Estimated."""
    completion_tokens: int
    """The most that the request allows."""
    item: str = ""
    """Who asks."""
    extends: bool = False
    """For the drift check: one more sample of a question that has answers on disk, or one to somebody new."""
    posts: int = 1
    """Requests on the wire that it takes."""
    wanted: Wanted = always
    """Asked when it could be sent."""

    @property
    def cost(self) -> float | None:
        """USD at most; None where the price is unknown."""
        return cost_of(self.seat.price, (self.prompt_tokens, self.completion_tokens, 0))


@dataclass(slots=True)
class Tally:
    """What this invocation did, for progress and the closing lines."""

    bought: int = 0
    reused: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    paid: dict[str, Usage] = field(default_factory=dict)
    """Tokens of the answers bought online, by role."""
    served: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Answers by role and by the model that the server said it used."""
    used: Counter[str] = field(default_factory=Counter)
    """Answers of the run's own journal that an item used, by owning item; kept for the drift check only."""

    def add(self, usage: Usage, role: str) -> None:
        prompt, completion, cached = usage
        self.count(usage)
        before = self.paid.get(role, (0, 0, 0))
        self.paid[role] = before[0] + prompt, before[1] + completion, before[2] + cached

    def count(self, usage: Usage) -> None:
        """Count an answer that was bought in some other way."""
        self.bought += 1
        self.prompt_tokens += usage[0]
        self.completion_tokens += usage[1]


Miss = Callable[[Call], Awaitable[Answer]]
"""What to do about an answer that is not on disk: returns it, durable by then."""


Turn = asyncio.Future[Answer | None]
"""Of one who waits for an equal request in flight."""


class Shelf(Protocol):
    """Where finished answers lie."""

    def find(self, key: str) -> Entry | None: ...
    def find_failure(self, key: str) -> Entry | None: ...


def request_key(identity: bytes, body: bytes, sample: int) -> str:
    """SHA-256 over who is asked (canonical), the exact bytes of the question, and which sample this is."""
    return hashlib.sha256(b"%s\n%d\n%s" % (identity, sample, body)).hexdigest()


def make_ask(
    seats: Mapping[str, Seat],
    journal: Journal,
    reuse: Sequence[Shelf],
    miss: Miss,
    tally: Tally,
    *,
    watch: bool = False,
    known: Collection[str] | None = None,
    final: bool = False,
) -> Callable[[str], Ask]:
    """A maker of `ask` functions, one for each item. `watch` records which answers on disk are used. `known` are the
    roles that were asked before, where nothing but samples and roles can have come to them; else None.

    With `final` a refusal that is on disk stands as an answer does: what was built on it stays reachable.
    """
    identities = {role: canonical(seat.teacher.identity) for role, seat in seats.items()}
    in_flight: dict[str, list[Turn]] = {}
    answered = set[tuple[str, str]]()

    def borrow(key: str, scored: bool) -> Entry | None:
        for shelf in reuse:
            if (entry := shelf.find(key)) is not None and (not scored or _is_whole(entry, key)):
                return entry
        return None

    async def ask(owner: str, request: Request, to: str = "teacher", *, wanted: Wanted = always) -> Answer:
        seat = seats[to]
        body = canonical(seat.teacher.lower(request))
        key = request_key(identities[to], body, request.sample)
        scored = request.kind == "score"
        while True:
            entry = journal.find(key)
            if entry is None:
                entry = borrow(key, scored)
            elif watch:
                tally.used[owner_of(entry.line)] += 1
            if entry is not None:
                tally.reused += 1
                if known is not None:
                    answered.add((owner, _asked(request)))
                found = _read(entry, key, scored)
                tally.served[to, found.model] += 1
                return found
            if final and (refusal := journal.find_failure(key)) is not None:
                raise _refused(refusal)
            waiting = in_flight.get(key)
            if waiting is None:
                break
            turn: Turn = asyncio.get_running_loop().create_future()
            waiting.append(turn)
            answer = await turn
            if answer is not None:
                return answer
            # Whoever was buying went away, and we did not: look again.
        credited = owner if request.sample < RESAMPLED else NOBODY
        more = known is not None and (
            _has_fewer(journal, seat.teacher, request) if to in known else (owner, _asked(request)) in answered
        )
        posts = 2 if scored and request.messages else 1
        bought = await buy(Call(key, credited, to, seat, body, *estimate(body, request), owner, more, posts, wanted))
        tally.served[to, bought.model] += 1
        return bought

    async def buy(call: Call) -> Answer:
        """Let the policy answer, and equal requests that come meanwhile share what it says."""
        in_flight[call.key] = []
        try:
            answer = await miss(call)
        except (asyncio.CancelledError, Unwanted):
            _tell(in_flight.pop(call.key), None)
            raise
        except BaseException as error:
            _tell(in_flight.pop(call.key), error)
            raise
        _tell(in_flight.pop(call.key), answer)
        return answer

    return partial(partial, ask)


def _asked(request: Request) -> str:
    """The request, whoever is asked."""
    return hashlib.sha256(canonical(list(request._replace(sampling=dict(request.sampling))))).hexdigest()


def _has_fewer(journal: Journal, teacher: Teacher, request: Request) -> bool:
    """Whether the same question has an earlier sample on disk."""
    identity = canonical(teacher.identity)
    fewer = (request._replace(sample=sample) for sample in range(request.sample % RESAMPLED))
    keys = (request_key(identity, canonical(teacher.lower(each)), each.sample) for each in fewer)
    return any(journal.find(key) is not None for key in keys)


def _tell(waiting: list[Turn], result: Answer | BaseException | None) -> None:
    """Give those who wait for an equal request what came of it; nothing, where they are to look again."""
    for turn in waiting:
        if turn.done():
            continue
        if isinstance(result, BaseException):
            turn.set_exception(result)
            turn.exception()  # its owner may be cancelled first, and asyncio complains about one that nobody reads
        else:
            turn.set_result(result)


def _read(entry: Entry, key: str, scored: bool) -> Answer:
    """The answer. Only a question about scores has arrays, whatever a server says of itself."""
    try:
        answer = read_answer(entry.body)
    except BadReply as error:
        raise DamageError(f"the stored answer {key[:16]} cannot be read: {error}") from error
    if not scored or answer.feature is None or "blob" not in answer.feature:
        return answer
    place = answer.feature["blob"]
    blob = blob_at(entry.blobs, place if isinstance(place, Mapping) else {})
    blob.check()
    return answer._replace(blob=blob)


def _is_whole(entry: Entry, key: str) -> bool:
    """Whether the arrays of an answer of another run are all there; where they are not it is asked again."""
    try:
        answer = _read(entry, key, scored=True)
        if answer.blob is not None:
            answer.blob.read()
    except DamageError:
        return False
    return True


def _refused(entry: Entry) -> AnswerFailed:
    failure = orjson.loads(entry.body)
    return AnswerFailed(failure["reason"], failure["detail"])


def estimate(body: bytes, request: Request) -> tuple[int, int]:
    """Prompt and completion tokens to expect at most: by the length of the body, and by its token limit.

    Where y is given, a server reads x twice, once by itself, and writes a token each time.
    """
    if request.kind == "score":
        return (len(body) + len(canonical(request.messages))) // PROMPT_BYTES_PER_TOKEN + 2, 2
    return len(body) // PROMPT_BYTES_PER_TOKEN + 1, int(request.sampling.get("max_tokens") or 0)


@dataclass(slots=True)
class Parking:
    """What the parked requests would come to."""

    keys: set[int] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)
    """Items that asked something which is not merely more of what they asked before."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = 0.0
    first_body: bytes = b""
    awaited: Collection[int] = ()
    """What batches are answering, by the beginnings of the keys: it is not sent again."""


def make_park(parking: Parking) -> Miss:
    """Sending is off: count the request once and stop its item."""

    async def park(call: Call) -> Answer:
        name = int(call.key[:16], 16)
        if name in parking.awaited:
            raise Parked
        if not call.extends:
            parking.owners.add(call.item)
        if name not in parking.keys:
            parking.keys.add(name)
            parking.first_body = parking.first_body or call.body
            parking.prompt_tokens += call.prompt_tokens
            parking.completion_tokens += call.completion_tokens
            parking.cost = add_costs(parking.cost, call.cost)
        raise Parked

    return park


def make_refuse(shelves: Sequence[Shelf]) -> Miss:
    """A replay: a refusal that the run recorded is repeated, anything else that is missing is an error."""

    async def refuse(call: Call) -> Answer:
        for shelf in shelves:
            entry = shelf.find_failure(call.key)
            if entry is not None:
                raise _refused(entry)
        raise MissingAnswer(
            f"the replayed run has no answer for item {call.item} (request {call.key[:16]} to {call.role}). Its "
            "seeds, recipe, settings and --reuse must be those it was made with; without --replay the teacher is asked."
        )

    return refuse
