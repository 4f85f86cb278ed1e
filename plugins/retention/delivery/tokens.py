"""Signed ids: what stands in a link or a callback address instead of a customer's. Nobody can make one without the key.

A token is `<kind><message id in hex>.<signature>`; the kind (a letter) keeps one made for one purpose from serving another.
A token of a click is shorter, because an SMS pays by the character: it is written in bytes, and its signature has six. Who
guessed one would be led to a page of the shop and leave a click that nobody made, no more.
"""

from __future__ import annotations

import hmac
import os
from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from hashlib import blake2b, sha256

from retention.errors import ConfigError, Problem

STATUS = "s"
"""Comes back with a provider's word on a message's delivery."""

UNSUBSCRIBE = "u"
"""Ends what its receiver agreed to."""

PREFERENCES = "p"
"""Shows its receiver what we may write to them, and changes it."""

_BYTES = 15
_CLICK_BYTES = 6
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_ENOUGH = 32


class Signer:
    """Makes and reads tokens. The first key signs; all of them are believed, so that a key can be replaced."""

    def __init__(self, keys: tuple[str, ...]):
        made = [sha256(key.encode()).digest() for key in keys]
        # Keyed BLAKE2 (RFC 7693): a MAC by design, and far cheaper than HMAC for texts this short. Copied for each token.
        self._macs = [blake2b(key=key, digest_size=_BYTES) for key in made]
        self._click_macs = [blake2b(key=key, digest_size=_CLICK_BYTES) for key in made]

    def sign(self, kind: str, message_id: int) -> str:
        """A token for a message: letters, digits, `-`, `_` and one dot."""
        said = f"{kind}{message_id:x}"
        return f"{said}.{_spell(_sign(self._macs[0], said.encode()))}"

    def read(self, kind: str, token: str) -> int | None:
        """The message's id, or None for what was not made here for this purpose."""
        if not token.isascii():
            return None
        said, _, signature = token.partition(".")
        made = (_spell(_sign(mac, said.encode())) for mac in self._macs)
        is_ours = any(hmac.compare_digest(it, signature) for it in made)
        return int(said[1:], 16) if is_ours and said[:1] == kind else None

    def sign_click(self, message_id: int, link_id: int) -> str:
        """A token for a link of a message: 12 to 16 letters, digits, `-` and `_`, now and then 18; the last one is a letter
        or a digit.

        (What ends in a dash or a dot is cut off where a phone makes a link of an address.)"""
        mac, said = self._click_macs[0], _write_click(message_id, link_id)
        token = _spell(_sign(mac, said) + said)
        if token[-1] in "-_":  # a zero before the number is the same number
            at = len(said) - (((message_id & 0xFFFFFFFF).bit_length() + 7) // 8 or 1)
            said = said[:at] + b"\0" + said[at:]
            token = _spell(_sign(mac, said) + said)
        return token

    def read_click(self, token: str) -> tuple[int, int] | None:
        """The ids of the message and the link, or None for what was not made here for a click."""
        try:
            read = a2b_base64(token.encode("ascii").translate(_FROM_URL) + b"=" * (-len(token) % 4), strict_mode=True)
        except (NotBase64, UnicodeEncodeError):
            return None
        mac, said = read[:_CLICK_BYTES], read[_CLICK_BYTES:]
        if not any(hmac.compare_digest(_sign(it, said), mac) for it in self._click_macs):
            return None
        ids = _read_click(said)
        # Base 64 spells some bytes in more than one way: a token is what we would write, letter by letter.
        return ids if _spell(read) == token else None


def _write_click(message_id: int, link_id: int) -> bytes:
    """The link, then the month that a message's id begins with (store/months.py), each in sevens of bits; then its number."""
    month, number = message_id >> 32, message_id & 0xFFFFFFFF
    said = bytes((link_id, month)) if link_id < 128 and month < 128 else _write_sevens(link_id) + _write_sevens(month)
    return said + number.to_bytes((number.bit_length() + 7) // 8 or 1, "big")


def _read_click(said: bytes) -> tuple[int, int]:
    link_id, at = _read_sevens(said, 0)
    month, at = _read_sevens(said, at)
    return month << 32 | int.from_bytes(said[at:], "big"), link_id


def _write_sevens(number: int) -> bytes:
    """The low bits first; every byte but the last one has its top bit set."""
    written = b""
    while number > 127:
        written += bytes((128 | number & 127,))
        number >>= 7
    return written + bytes((number,))


def _read_sevens(said: bytes, at: int) -> tuple[int, int]:
    """The number, and where it ends."""
    number = shift = 0
    while said[at] > 127:
        number |= (said[at] & 127) << shift
        at, shift = at + 1, shift + 7
    return number | said[at] << shift, at + 1


def _sign(mac: blake2b, said: bytes) -> bytes:
    own = mac.copy()
    own.update(said)
    return own.digest()


def _spell(signature: bytes) -> str:
    return b2a_base64(signature, newline=False).translate(_URL_SAFE, b"=").decode()


def read_signer() -> Signer:
    """The signer of RETENTION_SIGNING_KEY (several keys: with commas, the newest first). Raises ConfigError."""
    keys = tuple(key.strip() for key in os.environ.get("RETENTION_SIGNING_KEY", "").split(",") if key.strip())
    if not keys or min(map(len, keys)) < _ENOUGH:
        what = f"is shorter than {_ENOUGH} characters." if keys else "is not set."
        remedy = "It signs the ids in links and callbacks; make one with: openssl rand -hex 32"
        raise ConfigError([Problem("RETENTION_SIGNING_KEY", 0, what, remedy)])
    return Signer(keys)
