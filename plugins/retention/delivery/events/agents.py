"""Which programs open and click on their own: by the user agent they give. Data and one question."""

from __future__ import annotations

import re
from functools import lru_cache

_ALONE = "Mozilla/5.0"
"""Apple Mail loads every picture by itself under this name and nothing more (Mail Privacy Protection)."""

_PREFETCH = re.compile(
    r"Edge/12\.246 Mozilla/5\.0$"  # Google Mail, ahead of any reader; its GoogleImageProxy acts for one
    r"|\b(bot|crawler|spider|scanner|preview|headless\w*|facebookexternalhit|whatsapp|skypeuripreview|barracuda\w*|"
    r"mimecast\w*|proofpoint\w*|safelinks|python-(requests|urllib)|aiohttp|go-http-client|curl|wget|java|okhttp|"
    r"apache-httpclient|axios|node-fetch|libwww-perl)\b"
    r"|\w(?<!cu)bot\b",  # CUBOT makes phones
    re.IGNORECASE,
)
_LONGEST = 500


def is_machine_agent(agent: str | None) -> bool:
    """Whether this user agent is a program's that opens or clicks without a person. None at all says nothing."""
    return bool(agent) and _judge(agent[:_LONGEST].strip())


@lru_cache(10_000)
def _judge(agent: str) -> bool:
    return agent == _ALONE or bool(_PREFETCH.search(agent))
