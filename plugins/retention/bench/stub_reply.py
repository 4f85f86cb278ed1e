"""What an endpoint says, before it is put on the wire."""

from __future__ import annotations

from typing import NamedTuple

JSON = b"Content-Type: application/json\r\n"


class Reply(NamedTuple):
    """`headers` are whole lines; `is_accepted` says that messages were taken."""

    status: int
    body: bytes = b""
    headers: bytes = b""
    is_accepted: bool = False
