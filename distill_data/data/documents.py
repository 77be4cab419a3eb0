"""Documents (text, Markdown, HTML, PDF) as titles and plain text, one at a time. Knows no seeds and no passages.

Whatever is wrong with a document is a SeedError that names its path, because a folder may hold many of one name.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distill_data.data.items import Row
from distill_data.data.utf8 import decode_file
from distill_data.errors import SeedError, UsageError

DOCUMENTS = {
    ".txt": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
}
"""Ending to kind of document."""
DOCUMENT_LIMIT = 16 << 20
"""Bytes of a text, Markdown or HTML file, and characters that are taken out of a PDF."""

_SILENT = logging.NullHandler()


@dataclass(frozen=True, slots=True)
class Document:
    """A document's words, without its layout."""

    source: str
    """The name of its file."""
    title: str
    """What it calls itself, else the name of its file without the ending."""
    text: str
    """Never blank. Lines end in `\\n`."""
    kind: str
    """`text`, `markdown`, `html` or `pdf`."""


def read_document(path: Path) -> Document:
    """Read one document, its kind told by its ending. PDF needs the extra `pdf`.

    Raises SeedError for an unknown ending, a file that cannot be read, is not UTF-8, is damaged, encrypted or too
    large, and for a document without text; UsageError where the extra is missing.
    """
    kind = DOCUMENTS.get(path.suffix.lower())
    if kind is None:
        raise SeedError(f"{path}: this is no document; known are {', '.join(DOCUMENTS)}")
    if kind == "pdf":
        title, text = _read_pdf(path)
    else:
        content = decode_file(_read_bytes(path), str(path))
        if kind == "html":
            title, text = _read_html(content, path)
        elif kind == "markdown":
            from distill_data.data.markup import read_markdown

            title, text = read_markdown(content)
        else:
            title, text = "", content.strip("\n")
    if not text.strip():
        raise SeedError(f"{path}: there is no text in this document; {_EMPTY[kind]}")
    return Document(path.name, title or path.stem, text, kind)


def list_documents(path: Path) -> list[Path]:
    """The documents below a folder, sorted by their path; hidden files and folders are skipped, links to folders too.

    Raises SeedError for a folder that cannot be read.
    """
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise SeedError(f"{error.filename}: cannot read this folder: {error.strerror}") from error

    for folder, folders, names in os.walk(path, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(folder, name) for name in names if not name.startswith("."))
        found += (file for file in files if file.suffix.lower() in DOCUMENTS and file.is_file())
    return sorted(found, key=lambda file: file.parts)


def read_folder(path: Path) -> Iterator[tuple[str, Row]]:
    """A row for each document below a folder, with its place; one row where `path` is a document itself.

    A row is `title`, `text` and `source`, which is the path below the folder and also the place. One document is in
    memory at a time. Raises what `read_document` raises, and SeedError for a folder without documents.
    """
    is_file = path.is_file()
    files = [path] if is_file else list_documents(path)
    if not files:
        raise SeedError(f"{path}: no documents in this folder; known are {', '.join(DOCUMENTS)}")
    for file in files:
        document = read_document(file)
        source = document.source if is_file else file.relative_to(path).as_posix()
        yield source, {"title": document.title, "text": document.text, "source": source}


_EMPTY = {
    "text": "leave it out",
    "markdown": "leave it out",
    "html": "it may be made by a script in the browser: save the page as it is shown, or leave it out",
    "pdf": "it may be scanned: run OCR first, for example with: ocrmypdf in.pdf out.pdf",
}


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(DOCUMENT_LIMIT + 1)
    except OSError as error:
        raise SeedError(f"{path}: cannot read this document: {error.strerror}") from error
    if len(content) > DOCUMENT_LIMIT:
        raise SeedError(f"{path}: this document is larger than {DOCUMENT_LIMIT >> 20} MiB; split it")
    return content


def _read_html(content: str, path: Path) -> tuple[str, str]:
    from distill_data.data.markup import read_html

    try:
        return read_html(content)
    except (AssertionError, ValueError) as error:  # the standard parser's words for odd pages
        raise SeedError(f"{path}: cannot read this as HTML: {error}") from error


def _read_pdf(path: Path) -> tuple[str, str]:
    """Title and text, pages as blocks."""
    try:
        import pypdf
    except ImportError as error:
        raise UsageError(f"{path}: PDF needs the extra `pdf`: pip install 'distill-data[pdf]'") from error
    # Remarks about oddities that it got over would reach the terminal, and without the name of the file.
    logging.getLogger("pypdf").addHandler(_SILENT)
    pages: list[str] = []
    length = 0
    try:
        with path.open("rb") as stream:
            reader = pypdf.PdfReader(stream)
            if reader.is_encrypted:
                raise SeedError(f"{path}: this PDF is encrypted; decrypt it first: qpdf --decrypt in.pdf out.pdf")
            for page in reader.pages:
                pages.append(_whole_characters(page.extract_text()).strip())
                length += len(pages[-1])
                if length > DOCUMENT_LIMIT:
                    raise SeedError(f"{path}: the text is longer than {DOCUMENT_LIMIT >> 20} Mi characters; split it")
            title = reader.metadata.title if reader.metadata else None
    except OSError as error:
        raise SeedError(f"{path}: cannot read this document: {error.strerror or error}") from error
    except SeedError:
        raise
    except Exception as error:  # a damaged file makes the extractor trip over whatever it meets first: KeyError, …
        raise SeedError(f"{path}: cannot read this as PDF, it may be cut off or damaged: {error!r}") from error
    return " ".join(_whole_characters(title or "").split()), "\n\n".join(filter(None, pages))


def _whole_characters(text: str) -> str:
    """Without NUL and half characters, which fonts with wrong tables bring, and which no JSON or teacher takes."""
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
