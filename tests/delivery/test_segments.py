"""SMS segments at, below and above every edge. Source of the figures: 3GPP TS 23.038 and TS 23.040."""

import pytest

from retention.delivery.segments import count_segments


@pytest.mark.parametrize(
    ("text", "encoding", "segments"),
    [
        ("", "GSM-7", 1),
        ("a" * 160, "GSM-7", 1),
        ("a" * 161, "GSM-7", 2),
        ("a" * 306, "GSM-7", 2),
        ("a" * 307, "GSM-7", 3),
        ("€" * 80, "GSM-7", 1),  # two units each
        ("€" * 81, "GSM-7", 2),
        ("a" * 152 + "€" + "b" * 153, "GSM-7", 3),  # an escaped character is not split
        ("@£$¥èéùìòÇ", "GSM-7", 1),
        ("ç", "UCS-2", 1),  # small c with cedilla is not in the alphabet
        ("生" * 70, "UCS-2", 1),
        ("生" * 71, "UCS-2", 2),
        ("生" * 134, "UCS-2", 2),
        ("生" * 135, "UCS-2", 3),
        ("🎂" * 35, "UCS-2", 1),
        ("🎂" * 36, "UCS-2", 2),
        ("生" * 66 + "🎂" + "日" * 66, "UCS-2", 3),  # a surrogate pair is not split
        ("a" * 100 + "生", "UCS-2", 2),  # one Chinese character makes the whole text UCS-2
    ],
)
def test_count_segments(text, encoding, segments):
    assert count_segments(text) == (encoding, segments)
