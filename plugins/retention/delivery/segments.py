"""How an SMS is coded and counted. Source: 3GPP TS 23.038 (GSM 7-bit alphabet) and TS 23.040 (concatenation)."""

from __future__ import annotations

import re

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")
_IS_BASIC = re.compile(f"[{re.escape(_BASIC)}]*").fullmatch
_IS_GSM = re.compile(f"[{re.escape(_BASIC + ''.join(_EXTENDED))}]*").fullmatch


def count_segments(text: str) -> tuple[str, int]:
    """The encoding ("GSM-7" or "UCS-2") and the number of segments that are sent and paid.

    160 GSM-7 or 70 UCS-2 units fit one message; 153 or 67 each when it is concatenated. A character of the extension
    table costs two units, one outside the Basic Multilingual Plane (most emoji) two UCS-2 units, and neither is split
    across segments. An empty text is one segment.
    """
    if _IS_BASIC(text):
        return "GSM-7", _divide(len(text), 160, 153)
    if _IS_GSM(text):
        return "GSM-7", _pack([2 if c in _EXTENDED else 1 for c in text], 160, 153)
    if max(text) <= "\uffff":
        return "UCS-2", _divide(len(text), 70, 67)
    return "UCS-2", _pack([2 if ord(c) > 0xFFFF else 1 for c in text], 70, 67)


def _divide(units: int, single: int, part: int) -> int:
    return 1 if units <= single else -(-units // part)


def _pack(widths: list[int], single: int, part: int) -> int:
    if sum(widths) <= single:
        return 1
    segments, used = 1, 0
    for width in widths:
        if used + width > part:
            segments, used = segments + 1, 0
        used += width
    return segments
