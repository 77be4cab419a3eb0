"""The report in a real browser: nothing runs, nothing is fetched, nothing sticks out. Needs chromium."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands import report
from tests.browser import Browser, browsing
from tests.poison import expected, payloads, write_poisoned

pytestmark = pytest.mark.browser

TRAP = """
window.caught = [];
for (const name of ["alert", "confirm", "prompt", "print", "open", "eval", "msgbox"])
  window[name] = (...said) => { window.caught.push([name, String(said)]) };
"""
"""Runs in every document before anything else."""
ALLOWED = """html head meta title style body main header footer nav section article h1 h2 p b code span bdi a ul ol li
    dl dt dd div table caption thead tbody tr th td figure figcaption details summary svg desc rect line path text"""
LOOK = """(() => {
  const found = {elements: [], handlers: [], styles: document.querySelectorAll("style, [style]").length, links: [],
    caught: window.caught, title: document.title, text: document.documentElement.textContent, folds: 0};
  for (const element of document.querySelectorAll("*")) {
    found.elements.push(element.localName);
    for (const each of element.attributes) {
      if (each.name.startsWith("on")) found.handlers.push(each.name);
      if (["href", "src", "xlink:href", "action", "srcdoc", "data"].includes(each.name)) found.links.push(each.value);
    }
  }
  return found;
})()"""
OVERFLOW = "document.documentElement.scrollWidth"


def in_browser(do: Callable[[Browser], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        async with browsing() as browser:
            await browser.send("Page.addScriptToEvaluateOnNewDocument", source=TRAP)
            return await do(browser)

    return asyncio.run(go())


def poisoned_page(folder: Path, text: str, number: int) -> Path:
    place = folder / str(number)
    place.mkdir()
    page = place / "page.html"
    report(str(write_poisoned(place, text)), output=str(page))
    return page


def without_policy(page: Path) -> Path:
    """The page as it would be if the browser knew no policy: then escaping alone has to hold."""
    bare = page.with_name("bare.html")
    text, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    assert count == 1
    bare.write_text(text, encoding="utf-8")
    return bare


def check_inert(seen: dict[str, Any], browser: Browser, page: Path, text: str) -> None:
    assert set(seen["elements"]) <= set(ALLOWED.split()), text
    assert (seen["handlers"], seen["caught"], seen["styles"], browser.dialogs) == ([], [], 1, []), text
    assert all(link.startswith("#") for link in seen["links"]), text
    assert browser.requests == [page.resolve().as_uri()], text


@pytest.mark.timeout(600)
def test_every_payload_in_every_position_is_inert(tmp_path: Path) -> None:
    texts = payloads()
    assert len(texts) >= 60

    async def look(browser: Browser) -> None:
        await browser.look(360, 800, phone=True)
        for number, text in enumerate(texts):
            page = poisoned_page(tmp_path, text, number)
            for shown in (page, without_policy(page)):
                await browser.open(shown)
                seen = await browser.evaluate(LOOK)
                check_inert(seen, browser, shown, text)
                assert [
                    each for each in expected(text) if each.replace("_", " ") not in seen["text"].replace("_", " ")
                ] == []
            assert await browser.evaluate(OVERFLOW) <= 360, text
            assert browser.complaints == [], text

    in_browser(look)


def test_the_trap_catches_what_is_not_escaped(tmp_path: Path) -> None:
    """The check above can fail: the same payloads, put into a page as they are, are all seen."""
    raw = tmp_path / "raw.html"
    raw.write_text(
        '<!DOCTYPE html><meta charset="utf-8"><title>raw</title><p>'
        + "<script>alert(1)</script><img src=x onerror=alert(17)><svg onload=alert(38)>"
        + "<a href='javascript:alert(59)'>x</a>"
    )

    async def look(browser: Browser) -> Any:
        await browser.open(raw)
        return await browser.evaluate(LOOK), list(browser.requests), list(browser.complaints)

    seen, requests, complaints = in_browser(look)
    assert {said for _, said in seen["caught"]} == {"1", "17", "38"}
    assert {"script", "img"} <= set(seen["elements"]) and {"onerror", "onload"} <= set(seen["handlers"])
    assert "javascript:alert(59)" in seen["links"] and len(requests) > 1 and complaints


def test_the_policy_holds_where_escaping_would_not(tmp_path: Path) -> None:
    page = poisoned_page(tmp_path, "plain", 0)
    broken = page.with_name("broken.html")
    markup = "<script>alert(1)</script><img src=x onerror=alert(2)><p style='color:red' onclick=alert(3)>x</p>"
    broken.write_text(page.read_text(encoding="utf-8").replace("<main>", f"<main>{markup}"), encoding="utf-8")

    async def look(browser: Browser) -> Any:
        await browser.open(broken)
        return await browser.evaluate("window.caught"), list(browser.complaints)

    caught, complaints = in_browser(look)
    assert caught == []
    assert any("Content Security Policy" in said for said in complaints)


def test_a_report_fits_every_screen_and_is_whole_on_paper(tmp_path: Path) -> None:
    pypdf = pytest.importorskip("pypdf")
    import io

    rows = tmp_path / "rows.jsonl"
    long = "Every word of this long answer has to be on paper too. " * 60
    rows.write_text(
        "".join(
            json.dumps(
                {
                    "instruction": f"Write a {'very ' * (n % 4)}short poem number {n} about {'x' * 200}",
                    "output": long + str(n),
                }
            )
            + "\n"
            for n in range(30)
        )
    )
    page = tmp_path / "page.html"
    report(str(rows), output=str(page))

    async def look(browser: Browser) -> Any:
        widths = {}
        for width, dark in ((320, False), (360, True), (768, False), (1400, True)):
            await browser.look(width, 800, dark=dark, phone=width < 700)
            await browser.open(page)
            widths[width] = await browser.evaluate(OVERFLOW)
            paper = await browser.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            light = sum(map(int, re.findall(r"\d+", paper)[:3])) > 382
            assert light is not dark
        await browser.open(page)
        return widths, await browser.pdf(), list(browser.complaints)

    widths, pdf, complaints = in_browser(look)
    assert all(seen <= width for width, seen in widths.items()), widths
    assert complaints == []
    printed = "\n".join(each.extract_text() for each in pypdf.PdfReader(io.BytesIO(pdf)).pages)
    assert len(re.findall(r"Every word of this\s+long answer", printed)) > 300
