"""Markdown and HTML as a title and plain text. Knows no files, and reads bad markup as well as can be."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_FRONT_MATTER = re.compile(
    r"---[ \t]*\n(?=[\w\"'-]+[ \t]*:|---)(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)"
    r"|\+\+\+[ \t]*\n(?:.*\n)*?\+\+\+[ \t]*(?:\n|\Z)"
)
"""YAML or TOML at the head. A rule (`---`) that opens a text is none: the line after it would have to be `key:`."""
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*")
_NO_HEADING = re.compile(r"[ \t]*(?:[-+*][ \t]|[>|]|\d+[.)][ \t]|$)")

_DROPPED = {"script", "style", "nav", "header", "footer", "aside", "form", "template", "noscript", "svg"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_LISTS = {"ul", "ol", "menu"}
_BLOCKS = {
    *_HEADINGS, *_LISTS, "address", "article", "blockquote", "body", "caption", "center", "dd", "details", "dialog",
    "div", "dl", "dt", "fieldset", "figcaption", "figure", "head", "hr", "html", "legend", "li", "main", "p", "pre",
    "section", "summary", "table", "tbody", "tfoot", "thead", "tr",
}  # fmt: skip
_DEEPEST = 8
"""Lists within lists that are still set in further; a page may nest them without end."""
_UNFINISHED = 100
"""Marks of tags in what is left of a page once a tag or comment has no end. The standard parser reads it again for each
of them, so where there are more, what follows is left out, as browsers do."""
_SPACE = re.compile("[ \t\n\r\f\xa0]+")


def read_markdown(text: str) -> tuple[str, str]:
    """The first heading, or "", and the text as it stands without front matter."""
    front = _FRONT_MATTER.match(text)
    body = text[front.end() :] if front else text
    return _first_heading(body), body.strip("\n")


def read_html(text: str) -> tuple[str, str]:
    """The page's title (`<title>`, else the first `<h1>`, else "") and its text.

    Blocks are separated by blank lines, items of a list are lines with `- `, rows of a table lines with ` | `;
    `<pre>` stays as it is. Navigation, forms, scripts and the like are left out.
    """
    page = _Page()
    page.feed(text)
    if page.rawdata.count("<") > _UNFINISHED:
        page.rawdata = ""
    page.close()
    page.end_block()
    return page.title(), page.text()


def _first_heading(text: str) -> str:
    fence, before = "", ""
    for line in text.split("\n"):
        if mark := _FENCE.match(line):
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence) and line.strip() == mark[1]:
                fence = ""
        elif not fence:
            if (heading := _HEADING.match(line)) and (title := re.sub(r"(^|[ \t])#+[ \t]*$", "", heading[1]).strip()):
                return title
            if before and _UNDERLINE.fullmatch(line):
                return before
        before = "" if fence or mark or _NO_HEADING.match(line) else line.strip()
    return ""


class _Page(HTMLParser):
    """Gathers blocks of text while the standard parser walks over a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._blocks: list[tuple[str, str]] = []
        self._kind = ""
        """Of the block that is being gathered: `item`, `row`, `heading`, or "" for a paragraph."""
        self._pieces: list[str] = []
        self._dropping: list[str] = []
        self._pre = False
        self._lists = 0
        self._titles: dict[str, list[str]] = {}
        self._in_title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _DROPPED:
            self._dropping.append(tag)
        if tag in _BLOCKS and self._in_title and self._titles[self._in_title]:
            self._in_title = ""  # it was never closed
        if tag in ("title", "h1") and tag not in self._titles and "svg" not in self._dropping:
            self._titles[tag] = []
            self._in_title = tag
        if self._dropping:
            return
        if tag == "br":
            self._pieces.append("\n")
        elif tag in ("td", "th"):
            self._pieces.append(" | " if self._kind == "row" and any(map(str.strip, self._pieces)) else " ")
        elif tag in _BLOCKS and not self._pre:
            self.end_block()
            self._pre = tag == "pre"
            self._lists += tag in _LISTS
            self._kind = {"li": "item", "tr": "row"}.get(tag, "heading" if tag in _HEADINGS else self._kind)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._in_title:
            self._in_title = ""
        if tag in _DROPPED and tag in self._dropping:
            self._in_title = ""
            while self._dropping.pop() != tag:
                pass
        elif not self._dropping and tag in _BLOCKS and (not self._pre or tag == "pre"):
            self.end_block()
            self._pre = False
            self._lists = max(0, self._lists - (tag in _LISTS))
            if tag in _LISTS or tag in _HEADINGS or tag in ("li", "tr", "table"):
                self._kind = ""

    def handle_data(self, data: str) -> None:
        if self._in_title and (data.strip() or self._titles[self._in_title]):
            self._titles[self._in_title].append(data)
        if not self._dropping and self._in_title != "title":
            self._pieces.append(data if self._pre else _SPACE.sub(" ", data))

    def end_block(self) -> None:
        """What was gathered becomes a block, where it is more than space."""
        gathered = "".join(self._pieces)
        self._pieces.clear()
        if self._pre:
            text = gathered.strip("\n")
        else:
            lines = (_SPACE.sub(" ", line).strip() for line in gathered.split("\n"))
            text = (" " if self._kind in ("heading", "row") else "\n").join(lines).strip()
        if text.strip():
            mark = "  " * min(self._lists - 1, _DEEPEST) + "- " if self._kind == "item" else ""
            self._blocks.append((self._kind, mark + text))
            self._kind = ""

    def title(self) -> str:
        found = (" ".join("".join(self._titles.get(tag, ())).split()) for tag in ("title", "h1"))
        return next(filter(None, found), "")

    def text(self) -> str:
        parts: list[str] = []
        before = ""
        for kind, text in self._blocks:
            if parts:
                parts.append("\n" if kind == before and kind in ("item", "row") else "\n\n")
            parts.append(text)
            before = kind
        return "".join(parts)
