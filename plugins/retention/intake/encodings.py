"""Bytes of any encoding become UTF-8. What can't be decoded stays in the text as bytes that are not UTF-8, so that the
reader finds it in its line; nothing is replaced in silence."""

from __future__ import annotations

import codecs
import io
import re

from charset_normalizer import from_bytes

SAMPLE = 1 << 20
"""How much of a file's beginning is looked at, in bytes."""
LONG_LINE = 32 << 20
FEW_LINES = 3
"""So many lines that are not UTF-8, late in a file, don't yet make it one of another encoding."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Nearly every text decodes as one of these; that of their country comes out as everyday characters, which its standard
# lists first. By the first byte in the standard of the second column: punctuation and kana, then those characters.
_ASIAN = (
    ("gb18030", "gb2312", {0xA1, 0xA3, *range(0xB0, 0xD8)}),
    ("big5", "big5", {0xA1, 0xA2, *range(0xA4, 0xC7)}),
    ("shift_jis", "euc_jp", {0xA1, 0xA3, 0xA4, 0xA5, *range(0xB0, 0xD0)}),
)
_OTHER = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874", "euc_kr", "euc_jp"]

# A lone surrogate is what no sound text holds: encoded as it is, it makes its line no UTF-8.
codecs.register_error("retention.mark", lambda error: ("\udcff", error.end))


def find_encoding(sample: bytes) -> str:
    """The encoding of a file by its beginning: its mark, UTF-8 if most lines are, else the likeliest.

    A guess where it is not UTF-8: it is told to whoever loads, and the mapping can say better."""
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    if b"\0" in sample and (wide := _find_wide(sample)):
        return wide
    lines = sample.replace(b"\r", b"\n").split(b"\n")
    if len(sample) >= SAMPLE and len(lines) > 1:
        lines.pop()  # cut in the middle, perhaps in the middle of a character
    lines = [line for line in lines if not line.isascii()]
    # A few damaged lines don't make a UTF-8 file another one.
    if 2 * sum(is_utf8(line) for line in lines) >= len(lines):
        return "utf-8"
    lines = [line for line in lines if not is_utf8(line)][:5000]
    for name, standard, everyday in _ASIAN:
        if _is_everyday(lines, name, standard, everyday):
            return name
    text = b"\n".join(lines)
    runs = re.findall(rb"[\x80-\xff]+", text)
    # In the languages of Western Europe a letter that is not ASCII stands alone between those that are.
    if 3 * sum(len(run) == 1 for run in runs) >= 2 * len(runs):
        return "cp1252"
    found = from_bytes(text[:200_000], cp_isolation=_OTHER).best()
    return found.encoding if found else "cp1252"


def _find_wide(sample: bytes) -> str | None:
    """UTF-16 without a mark: every second byte of its ASCII characters is 0."""
    half = max(1, len(sample) // 2)
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > half / 4 and even * 20 < odd:
        return "utf-16-le"
    return "utf-16-be" if even > half / 4 and odd * 20 < even else None


def _is_everyday(lines: list[bytes], name: str, standard: str, everyday: set[int]) -> bool:
    sound = [line for line in lines if _is_in(line, name)]
    foreign = [c for line in sound for c in line.decode(name) if not c.isascii()][:20_000]
    # Letters tell a country; a currency's sign or a dash may stand in any text.
    foreign = [c for c in foreign if c.isalpha()] or foreign
    common = sum((character.encode(standard, errors="ignore") or b"?")[0] in everyday for character in foreign)
    return 10 * len(sound) >= 9 * len(lines) and bool(foreign) and 10 * common >= 7 * len(foreign)


def _is_in(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def is_utf8(text: bytes) -> bool:
    """Whether the bytes are sound UTF-8."""
    return _is_in(text, "utf-8")


def has_returns_alone(sample: bytes, encoding: str) -> bool:
    """Whether lines end as on an old Mac: with carriage returns, and no newline anywhere."""
    text = sample.decode(encoding, errors="replace")
    return "\n" not in text and "\r" in text


class Decoder:
    """A stream's text as UTF-8, in pieces that end with a line. `done`: bytes of the stream's file that are read.

    `is_open`: nothing but ASCII was seen yet, and the first piece with more decides about `encoding`."""

    def __init__(self, stream: io.BufferedIOBase, encoding: str, block: int, *, is_mac=False, is_open=False):
        self.done = 0
        self._stream, self._block, self._is_mac, self._is_open = stream, block, is_mac, is_open
        self._tail = b""
        self._is_begin, self._is_end = True, False
        self._choose(encoding)

    def _choose(self, encoding: str) -> None:
        self.encoding = codecs.lookup(encoding).name
        self._decoder = None
        if self.encoding not in ("utf-8", "utf-8-sig", "ascii"):
            self._decoder = codecs.getincrementaldecoder(encoding)(errors="retention.mark")

    def _decide(self, piece: bytes) -> None:
        found = find_encoding(piece)
        # A line or two may as well be damaged: they are refused, and the next ones asked.
        if found == "utf-8" or sum(not is_utf8(line) for line in piece.split(b"\n")) > FEW_LINES:
            self._is_open = False
            self._choose(found)

    def read(self) -> bytes:
        """The next lines; empty at the end. A line longer than LONG_LINE comes in pieces."""
        while not self._is_end:
            piece = self._stream.read(self._block)
            self._is_end = not piece
            self.done = self._stream.taken() if hasattr(self._stream, "taken") else self.done + len(piece)
            if self._is_open and not piece.isascii():
                self._decide(piece)
            text = self._tail + self._decode(piece)
            if self._is_begin and (len(text) >= len(codecs.BOM_UTF8) or self._is_end):
                self._is_begin, text = False, text.removeprefix(codecs.BOM_UTF8)
            if self._is_mac:
                text = text.replace(b"\r", b"\n")
            cut = len(text) if self._is_end or len(text) > LONG_LINE else text.rfind(b"\n") + 1
            self._tail = text[cut:]
            if cut:
                return text[:cut]
        return b""

    def _decode(self, piece: bytes) -> bytes:
        if self._decoder is None:
            return piece
        return self._decoder.decode(piece, final=self._is_end).encode("utf-8", errors="surrogatepass")
