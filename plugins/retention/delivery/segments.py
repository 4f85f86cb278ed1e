"""How an SMS is coded and counted. Source: 3GPP TS 23.038 (GSM 7-bit alphabet) and TS 23.040 (concatenation)."""

from __future__ import annotations

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")


def count_segments(text: str) -> tuple[str, int]:
    """The encoding ("GSM-7" or "UCS-2") and the number of segments that are sent and paid.

    160 GSM-7 or 70 UCS-2 units fit one message; 153 or 67 each when it is concatenated. A character of the extension
    table costs two units, one outside the Basic Multilingual Plane (most emoji) two UCS-2 units, and neither is split
    across segments. An empty text is one segment.
    """
    if all(c in _BASIC or c in _EXTENDED for c in text):
        return "GSM-7", _pack([2 if c in _EXTENDED else 1 for c in text], 160, 153)
    return "UCS-2", _pack([2 if ord(c) > 0xFFFF else 1 for c in text], 70, 67)


def _pack(widths: list[int], single: int, part: int) -> int:
    if sum(widths) <= single:
        return 1
    segments, used = 1, 0
    for width in widths:
        if used + width > part:
            segments, used = segments + 1, 0
        used += width
    return segments
