"""Bytes as UTF-8 text, or an error that names the line and says how to re-encode. Knows no format and no file."""

from __future__ import annotations

from distill_data.errors import SeedError

BOM = b"\xef\xbb\xbf"
_SIGNATURES = {
    b"\xff\xfe": "is UTF-16; re-encode it, for example with: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "is UTF-16; re-encode it, for example with: iconv -f UTF-16 -t UTF-8",
    b"\x1f\x8b": "is gzip; give its name the ending .gz, or unpack it before piping it in",
    b"PAR1": "is Parquet; give its name the ending .parquet",
}
"""What a file that is not UTF-8 text may start with. None of these can start a readable text, apart from one that
really starts with the letters PAR1."""


def without_bom(start: bytes, name: str) -> bytes:
    """The start of a file without the byte order mark. Raises SeedError where it starts as no text does."""
    for signature, advice in _SIGNATURES.items():
        if start.startswith(signature):
            raise SeedError(f"{name}:1: this file {advice}")
    return start.removeprefix(BOM)


def decode_line(line: bytes, name: str, number: int) -> str:
    """A line as text. Raises SeedError for what is no UTF-8 text."""
    if b"\0" in line:
        raise SeedError(f"{name}:{number}: byte {line.index(0) + 1} is NUL; this is no UTF-8 text file")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise SeedError(f"{name}:{number}: {not_utf8(error)}") from error


def decode_file(content: bytes, name: str) -> str:
    """A whole file as text, with `\\n` at the ends of its lines. Raises SeedError for what is no UTF-8 text."""
    lines = without_bom(content, name).split(b"\n")
    return "\n".join(decode_line(line, name, number) for number, line in enumerate(lines, 1)).replace("\r\n", "\n")


def not_utf8(error: UnicodeDecodeError) -> str:
    """What is wrong with a line, and what to do."""
    return (
        f"byte {error.start + 1} of this line (0x{error.object[error.start]:02X}) is not UTF-8; "
        "re-encode the file, for example with: iconv -f ISO-8859-1 -t UTF-8"
    )
