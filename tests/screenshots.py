"""The pictures of a report in docs/: `python -m tests.screenshots [DATASET]`. Needs chromium.

Without a dataset one is made: the embedded teacher answers tasks that are shipped, under data/, which takes minutes the
first time and nothing after. Looks at the printed page too: all sections are on it.
"""

from __future__ import annotations

import asyncio
import io
import sys
import unicodedata
from pathlib import Path

import pypdf

from distill_data.commands import Options, label, report
from tests.browser import Browser, browsing

ROOT = Path(__file__).parents[1]
DOCS, DEMO = ROOT / "docs", ROOT / "data" / "report-demo" / "answers.jsonl"
LARGEST = 300_000
"""Bytes of a picture."""
SHOTS = (
    ("report-light.png", 900, 1500, False, 1, ""),
    ("report-dark.png", 900, 1300, True, 1, "roots"),
    ("report-phone.png", 360, 1400, False, 1.5, ""),
)
"""Name, width and height in pixels of the page, dark, scale, and the section at the top."""


def main() -> None:
    dataset = Path(sys.argv[1]) if sys.argv[1:] else _make_dataset()
    page = dataset.with_suffix(".html")
    report(str(dataset), output=str(page))
    asyncio.run(_take(page))


def _make_dataset() -> Path:
    DEMO.parent.mkdir(parents=True, exist_ok=True)
    options = Options(teachers=("local/smollm2",), settings={"max_tokens": "64"})
    label("@tasks", recipe="answer", output=str(DEMO), options=options)
    return DEMO


async def _take(page: Path) -> None:
    async with browsing() as browser:
        for name, width, height, dark, scale, section in SHOTS:
            await browser.look(width, height, dark=dark, scale=scale, phone=width < 600)
            await browser.open(page)
            if section:
                place = f"document.getElementById({section!r}).getBoundingClientRect().top - 16"
                await browser.evaluate(f"window.scrollTo({{top: {place}, behavior: 'instant'}})")
            picture = await browser.screenshot()
            assert len(picture) < LARGEST, f"{name}: {len(picture):,} bytes"
            (DOCS / name).write_bytes(picture)
            print(f"{name}: {len(picture):,} bytes")
        await _check_print(browser)
        assert not browser.complaints, browser.complaints


async def _check_print(browser: Browser) -> None:
    """Every section and every folded text is on paper."""
    printed = pypdf.PdfReader(io.BytesIO(await browser.pdf()))
    text = _one_line(" ".join(each.extract_text() for each in printed.pages))
    headings = await browser.evaluate("[...document.querySelectorAll('h2')].map(each => each.textContent)")
    folded = await browser.evaluate("[...document.querySelectorAll('details dd')].map(each => each.textContent)")
    missing = [each for each in headings if _one_line(each) not in text]
    missing += [each for each in folded if len(each) < 30 and each.strip() and _one_line(each) not in text]
    assert not missing, missing
    print(f"printed: {len(printed.pages)} pages, {len(headings)} sections, {len(folded)} folded values")


def _one_line(text: str) -> str:
    """Without ligatures, which a printer sets."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


if __name__ == "__main__":
    main()
