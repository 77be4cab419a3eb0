"""Questions on images: the teacher sees the picture, as a content part, and the caption that comes with it.

Knows which files are images and how they travel; which teachers see is the teachers' business. The column `image` of a
row is a path, from the folder that the command runs in, or of a picture that comes with the package's seeds.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_data.data.exchange import Ask, Message
from distill_data.data.growth import Draft, Draw, Growth
from distill_data.data.items import Item, Record, Row
from distill_data.errors import SeedError
from distill_data.methods.drawing import draw_combined
from distill_data.methods.growing import (
    Composed,
    Propose,
    drafts_of,
    make_admit,
    make_check_x,
    make_x_record,
    settle_nothing,
    student_prompt,
)
from distill_data.methods.needs import ANSWER
from distill_data.methods.setup import Setup
from distill_data.methods.verified import Build, Shown, make_verified_answer
from distill_data.recipes import seed_path
from distill_data.recipes.template import MAIN

LARGEST = 8 << 20
"""Bytes of an image file. Servers refuse larger ones, and each image is sent twice."""
MEDIA = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}
"""How a file begins to its media type."""


def vision(setup: Setup) -> Growth:
    """x from image and caption, y from image and x. Raises SeedError, with the row, for an image that isn't there."""
    for item in setup.seeds:
        try:
            read_image(item.row)
        except SeedError as error:
            raise SeedError(f"{item.where}: {error}") from None
    answer = make_verified_answer(
        setup, lambda draft, fields: ("", ""), build=make_image_record(setup), shown=make_show(setup)
    )
    return Composed(draw_combined(setup), make_look(setup), make_admit(setup, ()), answer, settle_nothing)


def read_image(row: Row) -> tuple[str, bytes]:
    """Media type and content of the row's image. Raises SeedError where there is none that can be sent."""
    name = row.get("image")
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise SeedError("the column image must be the path of an image file.")
    try:
        shipped = seed_path("@images").parent / name
        path = shipped if not Path(name).is_file() and shipped.is_file() else Path(name)
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise SeedError(
            f"the image {name} cannot be read: {error.strerror}. Paths are taken from the folder that you are in."
        ) from None
    if len(content) > LARGEST:
        raise SeedError(f"the image {name} is larger than {LARGEST >> 20} MiB; make it smaller.")
    media = next((media for start, media in MEDIA.items() if content.startswith(start)), "")
    if not media or (media == "image/webp" and content[8:12] != b"WEBP"):
        raise SeedError(f"the file {name} is no PNG, JPEG, GIF or WebP image.")
    return media, content


def with_image(messages: list[Message], part: Mapping[str, Any]) -> list[Message]:
    """The messages with an image part before the text of the first one of the user."""
    first = next((number for number, message in enumerate(messages) if message["role"] == "user"), 0)
    message = messages[first]
    seen = {**message, "content": [dict(part), {"type": "text", "text": message["content"]}]}
    return [*messages[:first], seen, *messages[first + 1 :]]


def image_part(row: Row) -> dict[str, Any]:
    """The image as a content part of a chat message, all of it in the URL. Raises SeedError as `read_image` does."""
    media, content = read_image(row)
    url = f"data:{media};base64,{base64.b64encode(content).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def make_look(setup: Setup) -> Propose:
    """One request for one drawing, the image in it; each x in the reply is a candidate."""
    check_x = make_check_x(setup)

    async def look(item: Item, draw: Draw, ask: Ask) -> list[Draft]:
        messages = with_image(setup.stages.messages(MAIN, draw.row, draw.shown), image_part(draw.row))
        said = await setup.stages.ask(ask, MAIN, draw.row, sample=draw.sample, messages=messages)
        if said.reason:
            return [Draft(draw, {}, said.reason, said.detail, (said.answer.text,))]
        return drafts_of(setup, draw, said, check_x)

    return look


def make_show(setup: Setup) -> Shown:
    """The block `answer`, with the image."""

    def show(draft: Draft) -> list[Message]:
        row = draft.draw.row
        return with_image(setup.stages.messages(ANSWER, row, {**draft.draw.shown, "x": draft.x}), image_part(row))

    return show


def make_image_record(setup: Setup) -> Build:
    """The record with the column `images`, and a place for each of them in the prompt, as trainers take them."""

    def build(item: Item, draft: Draft, said: Mapping[str, Any], model: str) -> Record:
        prompt = with_image(student_prompt(setup, draft), {"type": "image"})
        images = [draft.draw.row["image"]]
        return make_x_record(setup, item, draft, said, model, prompt=prompt, extra={"images": images})

    return build
