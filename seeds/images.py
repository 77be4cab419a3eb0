"""The five seed pictures: plain shapes on a plain ground, 96 × 96 pixels, written as PNG files.

    python seeds/images.py seeds/images

A shape is a function that says whether it covers a point. The pixel data is stored without compression, so that
the bytes do not depend on the version of zlib. It knows nothing of the package and needs the standard library only.
"""

from __future__ import annotations

import argparse
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

Colour = tuple[int, int, int]
Shape = Callable[[float, float], bool]

SIZE = 96
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (210, 210, 210)
RED, GREEN, BLUE, YELLOW = (210, 30, 40), (30, 140, 60), (30, 70, 200), (250, 205, 30)


def disc(x: float, y: float, radius: float) -> Shape:
    return lambda px, py: (px - x) ** 2 + (py - y) ** 2 <= radius**2


def rectangle(left: float, top: float, right: float, bottom: float) -> Shape:
    return lambda px, py: left <= px < right and top <= py < bottom


def triangle(x: float, top: float, bottom: float, half_base: float) -> Shape:
    """Standing on its base, with the tip at (x, top)."""
    return lambda px, py: top <= py < bottom and abs(px - x) <= half_base * (py - top) / (bottom - top)


IMAGES: dict[str, tuple[Colour, list[tuple[Colour, Shape]]]] = {
    "circle": (WHITE, [(RED, disc(48, 48, 30))]),
    "squares": (GREY, [(BLUE, rectangle(10, 34, 38, 62)), (GREEN, rectangle(58, 34, 86, 62))]),
    "triangle": (YELLOW, [(BLACK, triangle(48, 16, 80, 36))]),
    "dots": (BLUE, [(WHITE, disc(x, y, 10)) for x, y in ((24, 24), (72, 24), (48, 48), (24, 72), (72, 72))]),
    "stripes": (WHITE, [(RED, rectangle(0, 0, 96, 32)), (GREEN, rectangle(0, 64, 96, 96))]),
}
"""Name to the colour of the ground and the shapes on it; a later shape covers an earlier one."""


def pixels(ground: Colour, shapes: list[tuple[Colour, Shape]]) -> list[Colour]:
    """The colours of the picture, row by row from the top left."""
    picture = [ground] * (SIZE * SIZE)
    for paint, covers in shapes:
        for place in range(SIZE * SIZE):
            y, x = divmod(place, SIZE)
            if covers(x + 0.5, y + 0.5):
                picture[place] = paint
    return picture


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def stored(content: bytes) -> bytes:
    """A zlib stream with one block that is not compressed; at most 65,535 bytes."""
    block = struct.pack("<BHH", 1, len(content), len(content) ^ 0xFFFF) + content
    return b"\x78\x01" + block + struct.pack(">I", zlib.adler32(content))


def png(picture: list[Colour]) -> bytes:
    """A PNG file with a palette of at most four colours, two bits for each pixel."""
    palette = sorted(set(picture))
    numbers = [palette.index(colour) for colour in picture]
    rows = bytearray()
    for start in range(0, len(numbers), 4):
        if start % SIZE == 0:
            rows.append(0)  # PNG's mark for a row that is stored as it is
        first, second, third, fourth = numbers[start : start + 4]
        rows.append(first << 6 | second << 4 | third << 2 | fourth)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIZE, SIZE, 2, 3, 0, 0, 0))
    colours = chunk(b"PLTE", b"".join(bytes(colour) for colour in palette))
    return b"\x89PNG\r\n\x1a\n" + header + colours + chunk(b"IDAT", stored(bytes(rows))) + chunk(b"IEND", b"")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the five seed pictures as PNG files.")
    parser.add_argument("folder", type=Path, help="where to write them; made if it does not exist")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, (ground, shapes) in IMAGES.items():
        (folder / f"{name}.png").write_bytes(png(pixels(ground, shapes)))


if __name__ == "__main__":
    main()
