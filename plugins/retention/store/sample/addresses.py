"""E-mail addresses and phone numbers that look real and reach nobody; some missing, broken or shared.

E-mail: only example.com, example.org and example.net, which RFC 2606 keeps out of use for ever.

Phones, by country:
- US: 555-0100 to 555-0199 of each area code, set aside for fiction by the North American Numbering Plan.
- GB: Ofcom's numbers for drama: mobile 07700 900000-900999; when these are used up, the landlines of its list.
- CN: no range is set aside. Ours begin with 154, the one code among 150-159 that no operator holds. A Chinese mobile
  number is a three-digit code and eight digits, and the ministry's list of allotted codes (MIIT, codes and H0 of the
  public mobile networks, as of the end of March 2023) has 150-153 and 155-159 only. 10x, 11x and 12x were no choice: a
  switch could take the first digits as a short code (10086, 110, 12345). Should 154 be allotted one day, a test that
  holds it against the numbering plan in `phonenumbers` fails: change `CHINA` then.
"""

from __future__ import annotations

import numpy as np

from retention.store.sample.anchors import is_anchor

DOMAINS = ("example.com", "example.org", "example.net")

CHINA = "+86154"
US_AREA_CODES = (
    "201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240 248 251 "
    "252 253 254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309 310 312 313 314 315 316 317 318 "
    "319 320 321 323 325 330 334 336 337 347 351 352 360 361 386 401 402 404 405 406 407 408 409 410 412 413 414 "
    "415 417 419 423 425 432 434 435 440 443 458 469 478 479 480 484 501 502 503 504 505 507 508 509 510 512 513 "
    "515 516 517 518 520 530 540 541"
).split()
UK_RANGES = (
    "+447700900",
    "+441134960", "+441144960", "+441154960", "+441164960", "+441174960", "+441184960",
    "+441214960", "+441314960", "+441414960", "+441514960", "+441614960", "+441914980", "+442079460", "+441632960",
)  # fmt: skip
"""Ofcom's numbers for drama, each followed by three free digits; the first range is mobile."""

MISSING_SHARE = {"email": 0.04, "phone": 0.06}
BROKEN_EMAIL_SHARE = 0.01
SHARED_SHARE = 0.005
"""Customers who gave the address of another one, for e-mail and phone each; half of the e-mails in other letters."""


def draw_emails(rng: np.random.Generator, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """One address each from the name in Latin letters; about 5 % are missing (None) or broken."""
    count = len(first)
    domain = rng.integers(len(DOMAINS), size=count)
    fate = rng.random(count)
    fate[is_anchor(count)] = 1
    emails = np.empty(count, object)
    for i, (given, family) in enumerate(zip(first, last, strict=True)):
        local = f"{given}.{family}{i + 1}".lower().replace(" ", "").replace("'", "")
        emails[i] = f"{local}@{DOMAINS[domain[i]]}"
    for i in np.flatnonzero(fate < MISSING_SHARE["email"] + BROKEN_EMAIL_SHARE):
        emails[i] = None if fate[i] < MISSING_SHARE["email"] else _break(emails[i], i)
    return _share(rng, emails, change=str.title)


def _break(email: str, which: int) -> str:
    local, domain = email.split("@")
    return [f"{local}@", f"{local}.{domain}", f"{local}@@{domain}", f"{local[0]} {email}", f"{local}@.{domain}"][
        which % 5
    ]


def draw_phones(rng: np.random.Generator, countries: np.ndarray) -> np.ndarray:
    """One E.164 number each from the ranges above, different for everybody until a country's ranges are used up; then
    and for another 6 % None."""
    count = len(countries)
    is_missing = rng.random(count) < MISSING_SHARE["phone"]
    is_missing &= ~is_anchor(count)
    # a fixed permutation of the eight digits, so that neighbours do not have neighbouring numbers
    offset = int(rng.integers(10**8))
    numbers = {
        "CN": lambda n: f"{CHINA}{(n * 7_368_787 + offset) % 10**8:08d}",
        "US": lambda n: _fill([f"+1{code}55501" for code in US_AREA_CODES], n, 100, across=True),
        "GB": lambda n: _fill(UK_RANGES, n, 1000, across=False),
    }
    phones = np.empty(count, object)
    for country, number in numbers.items():
        for n, i in enumerate(np.flatnonzero((countries == country) & ~is_missing)):
            phones[i] = number(n)
    return _share(rng, phones)


def _fill(ranges, n: int, size: int, *, across: bool) -> str | None:
    """The n-th number of `ranges`, each holding `size`: one of each range in turn (`across`) or range by range."""
    if n >= len(ranges) * size:
        return None
    which, rest = (n % len(ranges), n // len(ranges)) if across else divmod(n, size)
    return f"{ranges[which]}{rest:0{len(str(size - 1))}d}"


def _share(rng: np.random.Generator, addresses: np.ndarray, change=None) -> np.ndarray:
    """Give a few customers the address of another one, every second time passed through `change`."""
    count = len(addresses)
    sharing = np.flatnonzero((rng.random(count) < SHARED_SHARE) & ~is_anchor(count))
    # an anchor's address stays its own
    others = rng.integers(is_anchor(count).sum(), max(count, 1), size=len(sharing)) if len(sharing) else []
    shared = addresses.copy()
    for n, (i, other) in enumerate(zip(sharing, others, strict=True)):
        if addresses[other] is not None:
            shared[i] = change(addresses[other]) if change and n % 2 else addresses[other]
    return shared
