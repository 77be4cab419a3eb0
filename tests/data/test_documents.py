"""Documents: what is taken out of each kind of file, and that a refusal names the file and what to do."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_data.commands.options import Options
from distill_data.commands.plan import Seeds
from distill_data.data import documents
from distill_data.data.documents import Document, read_document, read_folder
from distill_data.data.items import canonical
from distill_data.data.markup import read_html, read_markdown
from distill_data.data.seeds import open_seeds, read_rows, stamp_of
from distill_data.errors import DriftError, SeedError, UsageError

on_disk = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(tmp_path: Path, name: str, content: str | bytes) -> Document:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_document(path)


def refusal(tmp_path: Path, name: str, content: str | bytes) -> str:
    with pytest.raises(SeedError) as refused:
        read(tmp_path, name, content)
    said = str(refused.value)
    assert str(tmp_path / name) in said
    return said


def pdf(*pages: str, title: str = "", encrypted: bool = False, packed: bool = False) -> bytes:
    """A PDF with a text object on each page, written object by object, with its table of offsets."""
    numbers = range(4, 4 + 2 * len(pages), 2)
    kids = " ".join(f"{number} 0 R" for number in numbers)
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    }
    for number, page in zip(numbers, pages, strict=True):
        lines = b" T* ".join(b"(%s) Tj" % line.encode("cp1252") for line in page.split("\n"))
        stream = b"BT /F1 12 Tf 14 TL 72 700 Td %s ET" % lines if page else b"0 0 10 10 re f"
        stream = zlib.compress(stream) if packed else stream
        packing = b" /Filter /FlateDecode" if packed else b""
        fonts = b"/Resources << /Font << /F1 3 0 R >> >>"
        objects[number] = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R %s >>" % (
            number + 1,
            fonts,
        )
        objects[number + 1] = b"<< /Length %d%s >>\nstream\n%s\nendstream" % (len(stream), packing, stream)
    trailer = b"/Root 1 0 R /Size %d" % (len(objects) + 2)
    if title:
        objects[len(objects) + 1] = b"<< /Title (%s) >>" % title.encode("cp1252")
        trailer += b" /Info %d 0 R" % len(objects)
    if encrypted:
        secret = b"<" + b"ab" * 32 + b">"
        objects[len(objects) + 1] = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O %s /U %s >>" % (secret, secret)
        trailer += b" /Encrypt %d 0 R /ID [<aa> <aa>]" % len(objects)
    content, offsets = b"%PDF-1.4\n", []
    for number, body in sorted(objects.items()):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(offsets) + 1, table)
    return content + b"trailer\n<< %s >>\nstartxref\n%d\n%%%%EOF\n" % (trailer, start)


def test_text_is_one_document_with_the_name_of_its_file(tmp_path: Path) -> None:
    got = read(tmp_path, "tide.pools.TXT", b"\xef\xbb\xbf\r\nLow water.\r\n\r\nCrabs\xe2\x80\xa8hide.\n")
    assert got == Document("tide.pools.TXT", "tide.pools", "Low water.\n\nCrabs\u2028hide.", "text")


@pytest.mark.parametrize(
    ("content", "title", "text"),
    [
        ("# Tide pools #\n\nCrabs *hide*.\n", "Tide pools", "# Tide pools #\n\nCrabs *hide*."),
        ("Intro.\n\n## Low water\n# High\n", "Low water", "Intro.\n\n## Low water\n# High"),
        ("---\ntitle: x\ntags:\n  - a\n---\n\n# Real\ntext", "Real", "# Real\ntext"),
        ("---\r\ntitle: x\r\n...\r\nbody\r\n", "page", "body"),
        ('+++\ntitle = "x"\n+++\n# Real', "Real", "# Real"),
        ("---\n---\nbody", "page", "body"),
        ("---\nA line between two rules.\n\n---\n# Real", "Real", "---\nA line between two rules.\n\n---\n# Real"),
        ("---\nkey: but no end\n# Real", "Real", "---\nkey: but no end\n# Real"),
        ("```sh\n# no heading\n~~~\n# nor this\n```\nText\n\n### C# ###\n", "C#", None),
        ("~~~~\n~~~\n# inside\n~~~~\n# Out", "Out", None),
        ("Over the line\n===\n# Later", "Over the line", None),
        ("*Em* here\n---\n", "*Em* here", None),
        ("- item\n---\n> quote\n===\n\n===\n# Later", "Later", None),
        ("a | b\n--- | ---\n1 | 2\n#hashtag\n", "page", None),
        ("#\n# #\n# Named", "Named", None),
    ],
)
def test_markdown_stands_as_it_is(tmp_path: Path, content: str, title: str, text: str | None) -> None:
    got = read(tmp_path, "page.md", content)
    assert (got.title, got.text) == (title, content.strip("\n") if text is None else text)
    assert read(tmp_path, "page.markdown", content).kind == "markdown"


PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Tide &amp;
 pools</title><style>p { color: red }</style><script>if (1 < 2) document.write("<p>no</p>")</script></head>
<body><header><h1>Site</h1></header><nav><ul><li>Home</li></ul></nav>
<!-- a comment <p>no</p> -->
<main><h1>Low <em>water</em></h1>
<p>Crabs&nbsp;hide &lt;under&gt; stones,<br>all of
   them &mdash; caf&eacute;.</p><p>Second<p>Third, unclosed
<ul>
  <li>one</li>
  <li><p>two <b>bold</b></p>
    <ol><li>deep</ol>
  <li>three
</ul>
<pre><code>
def f():
    return "&lt;p&gt;"

print(f())
</code></pre>
<table><tr><th>Sea</th><th>Depth</th></tr><tr><td>North</td><td>95 m</td></tr></table>
<aside>Buy!</aside><form><p>Name <input></p></form><noscript>No</noscript><template><p>no</p></template>
<svg><title>icon</title></svg><div>Last <span>words</span>.</div></main><footer>2020</footer></body></html>"""


def test_html_gives_blocks(tmp_path: Path) -> None:
    got = read(tmp_path, "page.html", PAGE)
    assert got.title == "Tide & pools"
    assert got.text.split("\n\n") == [
        "Low water",
        "Crabs hide <under> stones,\nall of them — café.",
        "Second",
        "Third, unclosed",
        "- one\n- two bold\n  - deep\n- three",
        'def f():\n    return "<p>"',
        "print(f())",
        "Sea | Depth\nNorth | 95 m",
        "Last words.",
    ]


@pytest.mark.parametrize(
    ("page", "title", "text"),
    [
        ("<h2>b</h2><h1> a <i>b</i></h1><h1>c</h1>", "a b", "b\n\na b\n\nc"),
        ("<header><h1>In the head</h1></header><p>x", "In the head", "x"),
        ("<h1>Open<p>x</p><p>y</p>", "Open", "Open\n\nx\n\ny"),
        ("<title> </title><h1>a</h1>", "a", "a"),
        ("<p>x</p><svg><title>icon</title></svg>", "page", "x"),
        ("a<nav>b<nav>c</nav>d</nav>e</nav>f", "page", "aef"),
        ("<nav><p>gone<script>x</nav></script>gone</nav>x", "page", "x"),
        ("<ul><li></ul><p>x", "page", "x"),
        ("1 &lt; 2 &#x1F600; &#55296; & &unknown;", "page", "1 < 2 \U0001f600 \ufffd & &unknown;"),
        ("plain\n\nwords", "page", "plain words"),
        ("<pre>\n\n  a  \n\n</pre>b", "page", "  a  \n\nb"),
        ("<pre>a<br>b<div>c</div></pre>d", "page", "a\nbc\n\nd"),
        ("x<", "page", "x<"),
        ("<ul><li>a" * 12, "page", "\n".join("  " * min(depth, 8) + "- a" for depth in range(12))),
        ("<table><tr><td><td>a<td>b<tr><td>c</table>d", "page", "a | b\nc\n\nd"),
    ],
)
def test_html_as_people_write_it(tmp_path: Path, page: str, title: str, text: str) -> None:
    got = read(tmp_path, "page.htm", page)
    assert (got.title, got.text) == (title, text)


@pytest.mark.parametrize("page", ["", " \n", "<html><body></body></html>", "<script>draw()</script>", "<p>&nbsp;</p>"])
def test_html_without_text_is_refused(tmp_path: Path, page: str) -> None:
    said = refusal(tmp_path, "page.html", page)
    assert "there is no text in this document; it may be made by a script" in said


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ok\nnot \xe9 ok\n", ":2: byte 5 of this line (0xE9) is not UTF-8; re-encode the file"),
        ("word".encode("utf-16"), ":1: this file is UTF-16; re-encode it"),
        ("word".encode("utf-16-le"), ":1: byte 2 is NUL; this is no UTF-8 text file"),
        (b"\x1f\x8b\x08", ":1: this file is gzip"),
        (b" \n", ": there is no text in this document"),
        (b"", ": there is no text in this document"),
    ],
)
def test_what_is_no_utf8_or_blank_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    assert said in refusal(tmp_path, name, content)


def test_what_is_no_document_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "this is no document; known are .txt, .md" in refusal(tmp_path, "a.docx", b"x")
    for name in ("gone.md", "gone.pdf"):
        with pytest.raises(SeedError, match=rf"{name}: cannot read this document: No such file"):
            read_document(tmp_path / name)
    monkeypatch.setattr(documents, "DOCUMENT_LIMIT", 1 << 20)
    assert "larger than 1 MiB; split it" in refusal(tmp_path, "a.md", b"x" * ((1 << 20) + 1))
    assert read(tmp_path, "a.md", b"x" * (1 << 20)).text


@given(st.text(alphabet=st.sampled_from("<>/!-[]&;#=\"' \nabpreulivtsxh1") | st.characters(exclude_categories=["Cs"])))
def test_any_markdown_has_a_title_and_a_text(text: str) -> None:
    title, body = read_markdown(text)
    assert "\n" not in title and body in text


TAGS = ["p", "pre", "ul", "li", "nav", "script", "title", "h1", "br", "td", "tr", "table", "svg"]
BROKEN = ["<p", "<!", "<!--", "-->", "<![CDATA[", "<![if", "<![x[", "]>", "]]>", "<?", "&#", "&amp", "&#xD800;", "</"]
MARKUP = st.lists(
    st.sampled_from([*(f"<{tag}>" for tag in TAGS), *(f"</{tag}>" for tag in TAGS), *BROKEN, "\xa0", "\n"])
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
).map("".join)


@on_disk
@given(MARKUP)
def test_any_page_is_a_document_or_refused(tmp_path: Path, page: str) -> None:
    try:
        got = read(tmp_path, "page.html", page)
    except SeedError as error:
        assert str(tmp_path / "page.html") in str(error)
    else:
        assert got.text.strip() and got.title.strip()
        assert canonical([got.title, got.text])


@given(st.lists(st.text("abc &<>", min_size=1).map(str.split).filter(bool).map(" ".join), min_size=1))
def test_what_is_written_as_paragraphs_comes_back(paragraphs: list[str]) -> None:
    escaped = (text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for text in paragraphs)
    assert read_html("".join(f"<div>\n <p>{text}</p></div>" for text in escaped))[1] == "\n\n".join(paragraphs)


@pytest.mark.parametrize("packed", [False, True])
def test_pdf_gives_pages_as_blocks(tmp_path: Path, packed: bool) -> None:
    content = pdf("Low water café.\nCrabs hide.", "", "Last page.", title="Tide  pools", packed=packed)
    got = read(tmp_path, "a.pdf", content)
    assert got == Document("a.pdf", "Tide pools", "Low water café.\nCrabs hide.\n\nLast page.", "pdf")
    assert read(tmp_path, "tide.PDF", pdf("x")).title == "tide"


def test_pdf_without_text_or_encrypted_is_refused(tmp_path: Path) -> None:
    assert "it may be scanned: run OCR first" in refusal(tmp_path, "a.pdf", pdf("", ""))
    assert "encrypted; decrypt it first" in refusal(tmp_path, "a.pdf", pdf("secret", encrypted=True))


def test_pdf_cut_off_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    whole = pdf("Low water.", title="Tide", packed=True)
    outcomes = []
    for end in range(0, len(whole), 7):
        try:
            outcomes.append(read(tmp_path, "a.pdf", whole[:end]).text)
        except SeedError as error:
            assert str(tmp_path / "a.pdf") in str(error)
            outcomes.append("refused")
    assert outcomes[0] == outcomes[len(outcomes) // 2] == "refused"
    assert "damaged" in refusal(tmp_path, "a.pdf", whole[:300])
    assert "damaged" in refusal(tmp_path, "a.pdf", b"no PDF at all")


def test_pdf_with_wrong_bytes_is_read_or_refused(tmp_path: Path) -> None:
    whole = pdf("Low water.", "High water.", title="Tide", packed=True)
    rng = random.Random(7)
    for _ in range(300):
        spoilt = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            spoilt[rng.randrange(len(spoilt))] = rng.choice(b"\x00\xff<>[]()/ 0123456789RM")
        try:
            assert canonical(read(tmp_path, "a.pdf", bytes(spoilt)).text)
        except SeedError as error:
            assert str(tmp_path / "a.pdf") in str(error)


def test_pdf_text_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "DOCUMENT_LIMIT", 1 << 20)
    assert "longer than 1 Mi characters" in refusal(tmp_path, "a.pdf", pdf("x" * (1 << 20) + "y", packed=True))


def test_half_characters_and_nul_do_not_reach_a_row() -> None:
    assert documents._whole_characters("a\0b\ud83d\ude00\udc00c") == "ab\U0001f600\ufffdc"


def test_without_pypdf_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(UsageError, match=r"a\.pdf: PDF needs the extra `pdf`: pip install 'distill-data\[pdf\]'"):
        read(tmp_path, "a.pdf", pdf("x"))


def test_remarks_of_pypdf_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """In a process of its own, because pytest itself listens to every logger."""
    (tmp_path / "a.pdf").write_bytes(pdf("Low water.").replace(b"startxref\n", b"startxref\n9"))
    code = "import sys; from pathlib import Path; from distill_data.data.documents import read_document as r; "
    done = subprocess.run(
        [sys.executable, "-c", code + "print(r(Path(sys.argv[1])).text)", str(tmp_path / "a.pdf")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(documents.__file__).parents[2])},
    )
    assert (done.stdout, done.stderr) == ("Low water.\n", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    files = {
        "b.md": b"# B\n\nbody\n",
        "a/z.txt": b"one\ntwo\n",
        "a-b.html": b"<title>H</title><p>x",
        "a/c.pdf": pdf("P"),
        "notes.csv": b"no document",
        ".hidden.md": b"\xff",
        ".git/x.md": b"\xff",
        "a/.cache/x.txt": b"\xff",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "dir.md").mkdir()
    os.mkfifo(folder / "pipe.txt")
    return folder


def test_a_folder_is_a_row_for_each_document(folder: Path) -> None:
    expected = [
        ("a/c.pdf", {"title": "c", "text": "P", "source": "a/c.pdf"}),
        ("a/z.txt", {"title": "z", "text": "one\ntwo", "source": "a/z.txt"}),
        ("a-b.html", {"title": "H", "text": "x", "source": "a-b.html"}),
        ("b.md", {"title": "B", "text": "# B\n\nbody", "source": "b.md"}),
    ]
    assert list(read_folder(folder)) == expected
    seeds = open_seeds(folder)
    assert seeds.format == "documents"
    assert list(read_rows(seeds)) == list(read_rows(seeds)) == expected
    assert list(read_rows(seeds, {"passage": "text"}))[3][1] == {
        "title": "B",
        "passage": "# B\n\nbody",
        "source": "b.md",
    }


def test_documents_are_read_one_at_a_time(folder: Path) -> None:
    (folder / "c.md").write_bytes(b"\xff")
    rows = read_rows(open_seeds(folder))
    assert [next(rows)[0] for _ in range(4)] == ["a/c.pdf", "a/z.txt", "a-b.html", "b.md"]
    with pytest.raises(SeedError, match=r"docs/c\.md:1: byte 1 of this line \(0xFF\) is not UTF-8"):
        next(rows)


@pytest.mark.parametrize("name", ["x.md", "x.html", "x.pdf", "X.HTM", "x.markdown"])
def test_a_single_document_is_a_row(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pdf("hello") if name.endswith("pdf") else b"hello")
    assert list(read_rows(open_seeds(path))) == [(name, {"title": path.stem, "text": "hello", "source": name})]


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"{}")
    with pytest.raises(SeedError, match=r"no documents in this folder; known are \.txt, \.md"):
        list(read_rows(open_seeds(tmp_path)))


def test_a_folder_that_cannot_be_listed_is_refused(folder: Path) -> None:
    seeds = open_seeds(folder)
    folder.rename(folder.with_name("away"))
    with pytest.raises(SeedError, match=r"docs: cannot read this folder: No such file"):
        list(read_rows(seeds))


def test_a_change_in_the_folder_is_noticed(folder: Path) -> None:
    def surveyed() -> Seeds:
        for path in (folder, *folder.rglob("*")):
            os.utime(path, ns=(0, 0))  # the clock of the file system may be slower than this test
        seeds = Seeds(open_seeds(folder), Options())
        seeds.digest = hashlib.sha256(b"".join(canonical(row) for _, row in seeds.read())).hexdigest()
        seeds._stamp = stamp_of(seeds.file)
        return seeds

    seeds = surveyed()
    assert seeds.changed() is None
    (folder / ".hidden.md").write_bytes(b"other")
    (folder / "notes.csv").write_bytes(b"other")
    assert seeds.changed() is None
    for change in (
        lambda: (folder / "b.md").write_bytes(b"# B\n\nbodY\n"),
        lambda: (folder / "a" / "z.txt").rename(folder / "a" / "y.txt"),
        lambda: (folder / "new.md").write_bytes(b"new"),
        lambda: (folder / "new.md").unlink(),
    ):
        seeds = surveyed()
        change()
        assert isinstance(seeds.changed(), DriftError)


def test_a_page_with_a_number_that_python_refuses_is_named(tmp_path: Path) -> None:
    page = tmp_path / "odd.html"
    page.write_text("<p>&#" + "1" * 5000 + ";</p>")
    with pytest.raises(SeedError, match=r"odd\.html"):
        read_document(page)
