"""Bytes of any encoding become UTF-8. What can't be decoded stays in the text as bytes that are not UTF-8, so that the
reader finds it in its line; nothing is replaced in silence."""

from __future__ import annotations

import codecs
import io

from charset_normalizer import from_bytes

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# A lone surrogate is what no sound text holds: encoded as it is, it makes its line no UTF-8.
codecs.register_error("retention.mark", lambda error: ("\udcff", error.end))


def find_encoding(sample: bytes) -> str:
    """The encoding of a file by its beginning: its mark, UTF-8 if most lines are, else the likeliest."""
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    lines = [line for line in sample.split(b"\n")[:-1] or [sample] if not line.isascii()]
    sound = sum(_is_utf8(line) for line in lines)
    # A few damaged lines don't make a UTF-8 file another one.
    if 2 * sound >= len(lines):
        return "utf-8"
    try:
        text = b"\n".join(lines).decode("gb18030")
    except UnicodeDecodeError:
        found = from_bytes(b"\n".join(lines[:2000])).best()
        return found.encoding if found else "cp1252"
    # Nearly every text decodes as GB18030; that of a Chinese company comes out as everyday characters.
    common = sum("\u4e00" <= c <= "\u9fa5" for c in text if not c.isascii())
    if 2 * common >= sum(not c.isascii() for c in text):
        return "gb18030"
    found = from_bytes(b"\n".join(lines[:2000])).best()
    return found.encoding if found else "gb18030"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


class Decoder:
    """A stream's text as UTF-8, in pieces that end with a line. `done`: bytes of the stream that are read."""

    def __init__(self, stream: io.BufferedIOBase, encoding: str, block: int):
        self.encoding = codecs.lookup(encoding).name
        self.done = 0
        self._stream, self._block = stream, block
        self._decoder = None
        if self.encoding not in ("utf-8", "utf-8-sig", "ascii"):
            self._decoder = codecs.getincrementaldecoder(encoding)(errors="retention.mark")
        self._tail = b""
        self._is_mac: bool | None = None
        self._is_end = False

    def read(self) -> bytes:
        """The next lines; empty at the end."""
        while not self._is_end:
            piece = self._stream.read(self._block)
            self._is_end = not piece
            is_first, self.done = self.done == 0, self.done + len(piece)
            text = self._decode(piece)
            if is_first:
                text = text.removeprefix(codecs.BOM_UTF8)
                self._is_mac = b"\n" not in text and b"\r" in text
            if self._is_mac:
                text = text.replace(b"\r", b"\n")
            text = self._tail + text
            cut = len(text) if self._is_end or len(text) > 4 * self._block else text.rfind(b"\n") + 1
            self._tail = text[cut:]
            if cut:
                return text[:cut]
        return b""

    def _decode(self, piece: bytes) -> bytes:
        if self._decoder is None:
            return piece
        return self._decoder.decode(piece, final=self._is_end).encode("utf-8", errors="surrogatepass")
