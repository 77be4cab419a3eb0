"""Arithmetic word problems with gold answers, written as JSON lines from a seed number.

    python seeds/arithmetic.py --seed 7 --rows 240 > seeds/arithmetic.jsonl

Each template draws its numbers, computes the answer from them and words the question. The templates take turns, so
every stretch of rows is a fair mixture, and fewer rows are a prefix of more. Numbers come from `Random.random` alone,
the one method whose sequence Python promises to keep, so the output is the same on every version. It knows nothing of
the package and needs the standard library only.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Problem(NamedTuple):
    """A question, its answer (a positive integer), and its steps: the operations on two numbers that a short solution
    takes. A percentage of a number and a remainder count as one operation each."""

    question: str
    answer: int
    steps: int


Template = Callable[[random.Random], Problem]

MAX_TRIES = 1000
NAMES = ("Amira", "Ben", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hana", "Ivan", "Jun", "Kofi", "Lena", "Mateo")
PRICED_GOODS = (("notebooks", 2, 6), ("mugs", 5, 12), ("cushions", 9, 20), ("scarves", 8, 18), ("puzzles", 7, 16))
SMALL_THINGS = ("pencils", "stickers", "marbles", "biscuits", "balloons")
COLLECTIONS = ("stamps", "shells", "postcards", "coins")
SAVINGS_GOALS = ("bicycle", "guitar", "camera", "tent")


def between(rng: random.Random, low: int, high: int, stride: int = 1) -> int:
    """One of `low`, `low + stride`, … up to and including `high`."""
    return low + stride * int(rng.random() * ((high - low) // stride + 1))


def pick(rng: random.Random, options: Sequence[T]) -> T:
    return options[between(rng, 0, len(options) - 1)]


def three_names(rng: random.Random) -> list[str]:
    first = between(rng, 0, len(NAMES) - 1)
    gap = between(rng, 1, (len(NAMES) - 1) // 2)
    return [NAMES[(first + turn * gap) % len(NAMES)] for turn in range(3)]


def purchase(rng: random.Random) -> Problem:
    (goods, low, high), name, count = pick(rng, PRICED_GOODS), pick(rng, NAMES), between(rng, 3, 12)
    price = between(rng, low, high)
    text = f"{name} buys {count} {goods} that cost {price} dollars each. How many dollars does {name} pay?"
    return Problem(text, count * price, 1)


def equal_shares(rng: random.Random) -> Problem:
    children, share, things = between(rng, 4, 12), between(rng, 3, 15), pick(rng, SMALL_THINGS)
    text = (
        f"A teacher shares {children * share} {things} equally among {children} children. "
        f"How many {things} does each child get?"
    )
    return Problem(text, share, 1)


def pages_left(rng: random.Random) -> Problem:
    name, pages = pick(rng, NAMES), between(rng, 180, 420)
    read = between(rng, 25, pages - 40)
    text = f"{name} has read {read} pages of a book that has {pages} pages. How many pages are left to read?"
    return Problem(text, pages - read, 1)


def eggs_over(rng: random.Random) -> Problem:
    carton, full = pick(rng, (6, 10, 12)), between(rng, 5, 15)
    over = between(rng, 2, carton - 1)
    text = (
        f"A farmer packs {carton * full + over} eggs into cartons of {carton} and fills as many cartons as possible. "
        "How many eggs are left over?"
    )
    return Problem(text, over, 1)


def bus_stop(rng: random.Random) -> Problem:
    aboard = between(rng, 18, 45)
    leaving, boarding = between(rng, 3, 14), between(rng, 2, 12)
    text = (
        f"A bus is carrying {aboard} passengers. At the next stop {leaving} passengers get off and {boarding} get on. "
        "How many passengers are on the bus now?"
    )
    return Problem(text, aboard - leaving + boarding, 2)


def change_due(rng: random.Random) -> Problem:
    (goods, low, high), name, count = pick(rng, PRICED_GOODS), pick(rng, NAMES), between(rng, 2, 4)
    price = between(rng, low, high)
    note = next(value for value in (20, 50, 100) if value > count * price)
    text = (
        f"{name} chooses {count} {goods} at {price} dollars each and pays with a {note}-dollar note. "
        f"How many dollars of change does {name} get back?"
    )
    return Problem(text, note - count * price, 2)


def train_ride(rng: random.Random) -> Problem:
    speed, hours, rest = between(rng, 70, 160, 5), between(rng, 2, 6), between(rng, 12, 68)
    text = (
        f"A train travels at {speed} kilometres an hour for {hours} hours and then covers another {rest} kilometres. "
        "How many kilometres does it travel altogether?"
    )
    return Problem(text, speed * hours + rest, 2)


def saving_up(rng: random.Random) -> Problem:
    name, goal = pick(rng, NAMES), pick(rng, SAVINGS_GOALS)
    weekly, weeks, saved = between(rng, 12, 25), between(rng, 6, 16), between(rng, 15, 60)
    text = (
        f"{name} wants a {goal} that costs {saved + weekly * weeks} dollars, already has {saved} dollars and saves "
        f"{weekly} dollars a week. After how many weeks does {name} have exactly enough money?"
    )
    return Problem(text, weeks, 2)


def three_ages(rng: random.Random) -> Problem:
    oldest, middle, youngest = three_names(rng)
    years, times, age = between(rng, 3, 12), between(rng, 3, 5), between(rng, 4, 12)
    text = (
        f"{oldest} is {years} years older than {middle}. {middle} is {times} times as old as {youngest}, "
        f"who is {age} years old. How old is {oldest}?"
    )
    return Problem(text, times * age + years, 2)


def sale_price(rng: random.Random) -> Problem:
    price, percent = between(rng, 40, 240, 20), between(rng, 5, 45, 5)
    text = (
        f"A coat normally costs {price} dollars. In a sale the price is reduced by {percent} percent. "
        "What is the sale price in dollars?"
    )
    return Problem(text, price - price * percent // 100, 2)


def leaking_tank(rng: random.Random) -> Problem:
    gain, loss, minutes = between(rng, 6, 18), between(rng, 2, 5), between(rng, 12, 40)
    text = (
        f"An empty tank holds {gain * minutes} litres. A pump adds {gain + loss} litres a minute, while a leak loses "
        f"{loss} litres a minute. After how many minutes is the tank full?"
    )
    return Problem(text, minutes, 2)


def apple_boxes(rng: random.Random) -> Problem:
    box, boxes = between(rng, 8, 24), between(rng, 9, 20)
    monday = between(rng, 40, box * boxes - 30)
    text = (
        f"{pick(rng, NAMES)} picks {monday} apples on Monday and {box * boxes - monday} apples on Tuesday and packs "
        f"all of them into boxes of {box}. How many boxes are filled?"
    )
    return Problem(text, boxes, 2)


def daily_walks(rng: random.Random) -> Problem:
    name, morning, evening = pick(rng, NAMES), between(rng, 15, 40), between(rng, 20, 55)
    days = between(rng, 4, 14)
    text = (
        f"{name} walks for {morning} minutes every morning and {evening} minutes every evening. "
        f"For how many minutes does {name} walk in {days} days?"
    )
    return Problem(text, (morning + evening) * days, 2)


def recipe_for_more(rng: random.Random) -> Problem:
    people, grams = between(rng, 2, 6), between(rng, 40, 120, 5)
    guests = people + between(rng, 2, 8)
    text = (
        f"A bread recipe for {people} people needs {people * grams} grams of flour. "
        f"How many grams of flour are needed for {guests} people?"
    )
    return Problem(text, grams * guests, 2)


def two_collections(rng: random.Random) -> Problem:
    first, second, _ = three_names(rng)
    count, times, things = between(rng, 14, 75), between(rng, 3, 6), pick(rng, COLLECTIONS)
    text = (
        f"{first} has collected {count} {things}, and {second} has collected {times} times as many. "
        f"How many {things} do they have together?"
    )
    return Problem(text, count + count * times, 2)


def garden_fence(rng: random.Random) -> Problem:
    width, price = between(rng, 6, 18), between(rng, 4, 15)
    length = width + between(rng, 2, 12)
    text = (
        f"A rectangular garden is {length} metres long and {width} metres wide. A fence costs {price} dollars a metre. "
        "How many dollars does it cost to fence all four sides?"
    )
    return Problem(text, (length + width) * 2 * price, 3)


def bakery_rolls(rng: random.Random) -> Problem:
    trays, rolls = between(rng, 6, 14), between(rng, 12, 30)
    morning, afternoon = between(rng, 20, 40), between(rng, 8, 30)
    text = (
        f"A bakery bakes {trays} trays of {rolls} rolls. It sells {morning} rolls before noon and {afternoon} rolls "
        "in the afternoon. How many rolls remain?"
    )
    return Problem(text, trays * rolls - morning - afternoon, 3)


def average_score(rng: random.Random) -> Problem:
    name, first, second, average = pick(rng, NAMES), between(rng, 64, 80), between(rng, 64, 80), between(rng, 66, 76)
    third = 3 * average - first - second
    text = (
        f"In three tests {name} scores {first}, {second} and {third} points. "
        f"What is the average number of points that {name} scores in a test?"
    )
    return Problem(text, average, 3)


def two_shifts(rng: random.Random) -> Problem:
    name, wage, fare = pick(rng, NAMES), between(rng, 12, 28), between(rng, 5, 19)
    saturday, sunday = between(rng, 3, 8), between(rng, 2, 7)
    text = (
        f"{name} earns {wage} dollars an hour, works {saturday} hours on Saturday and {sunday} hours on Sunday and "
        f"spends {fare} dollars of the pay on bus fares. How many dollars are left?"
    )
    return Problem(text, wage * (saturday + sunday) - fare, 3)


def museum_tickets(rng: random.Random) -> Problem:
    adults, children, child_price = between(rng, 2, 6), between(rng, 3, 15), between(rng, 4, 9)
    adult_price = child_price + between(rng, 3, 9)
    text = (
        f"A museum ticket costs {adult_price} dollars for an adult and {child_price} dollars for a child. "
        f"How many dollars does a group of {adults} adults and {children} children pay?"
    )
    return Problem(text, adults * adult_price + children * child_price, 3)


TEMPLATES: tuple[Template, ...] = (
    purchase,
    bus_stop,
    garden_fence,
    equal_shares,
    change_due,
    bakery_rolls,
    train_ride,
    pages_left,
    saving_up,
    average_score,
    three_ages,
    sale_price,
    eggs_over,
    two_shifts,
    leaking_tank,
    apple_boxes,
    museum_tickets,
    daily_walks,
    recipe_for_more,
    two_collections,
)


def problems(seed: int, rows: int) -> list[Problem]:
    """`rows` different problems, the same for the same seed. Raises ValueError when a template has no new one left."""
    rng = random.Random(seed)
    unique: dict[str, Problem] = {}
    for row in range(rows):
        template = TEMPLATES[row % len(TEMPLATES)]
        drawn = (template(rng) for _ in range(MAX_TRIES))
        problem = next((one for one in drawn if one.question not in unique), None)
        if problem is None:
            raise ValueError(f"row {row + 1}: no new question in {MAX_TRIES} draws; ask for fewer rows")
        unique[problem.question] = problem
    return list(unique.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Write arithmetic word problems with answers as JSON lines to stdout.")
    parser.add_argument("--seed", type=int, default=7, help="the same number gives the same rows (default 7)")
    parser.add_argument("--rows", type=int, default=240, help="how many problems (default 240)")
    options = parser.parse_args()
    if options.rows < 1:
        parser.error(f"--rows must be at least 1, not {options.rows}")
    try:
        made = problems(options.seed, options.rows)
    except ValueError as error:
        parser.error(str(error))
    for problem in made:
        row = {"question": problem.question, "answer": str(problem.answer), "steps": str(problem.steps)}
        print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
