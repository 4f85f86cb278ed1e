"""Cells become values: what every kind takes, what it refuses and how it says so; addresses as their libraries say."""

from datetime import UTC, date, datetime
from decimal import Decimal

import phonenumbers
import polars as pl
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from retention.intake.addresses import derive_countries, derive_zones, normalise_emails, normalise_phones, read_phone
from retention.intake.convert import FALSE_WORDS, TRUE_WORDS, Context, read_column
from retention.intake.mapping import Cell
from retention.intake.targets import TARGETS

CONTEXT = Context("America/New_York", "CN", frozenset({"login"}), {"empty": {"x": {}}}, date(2026, 11, 23))
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def values(kind: str, cells: list[str | None], choices=(), context: Context = CONTEXT, **how) -> list:
    """What the cells become; checks that each is a value, nothing, or a fault with a reason and a remedy."""
    frame = pl.DataFrame({"x": cells}, schema={"x": pl.String})
    column = read_column("x", kind, Cell(columns=("x",), **how), frame, context, choices)
    made = list(zip(*(series.to_list() for series in column.values.values()), strict=True))
    for i, cell in enumerate(cells):
        words = [(reason, remedy) for mask, reason, remedy in column.faults if mask[i]]
        has_value = any(value is not None for value in made[i])
        assert len(words) == (0 if has_value or cell is None else 1), (cell, made[i], words)
        for reason, remedy in words:
            assert len(reason) > 5 and len(remedy) > 10
            assert len(cell) < 9 or cell not in reason + remedy, "the person's data is quoted"
    return [row[0] for row in made] if len(column.values) == 1 else made


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- moments and days -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "moment"),
    [
        ("2026-12-31 10:00:00", "2026-12-31 15:00"),
        ("2026-07-01", "2026-07-01 04:00"),
        ("2026-1-5", "2026-01-05 05:00"),
        ("2024-02-29", "2024-02-29 05:00"),
        ("2026-01-05T10:00:00Z", "2026-01-05 10:00"),
        ("2026-01-05T10:00Z", "2026-01-05 10:00"),
        ("2026-01-05T10:00:00.5+05:30", "2026-01-05 04:30:00.500"),
        ("2026-01-05 10:00:00 +0800", "2026-01-05 02:00"),
        # An hour that daylight saving leaves out: an hour later; one that comes twice: the first.
        ("2026-03-08 02:30:00", "2026-03-08 07:30"),
        ("2026-11-01 01:30:00", "2026-11-01 05:30"),
        ("2026-03-08 03:30:00", "2026-03-08 07:30"),
    ],
)
def test_moments(cell, moment):
    assert values("moment", [cell]) == [utc(moment)]


@pytest.mark.parametrize(
    "cell",
    ["2026-13-01", "2026-02-29", "2026-04-31", "0001-01-01", "9999-12-31", "99999-01-01", "2026-01-05 24:00:00", "31.12.2026",
     "never", "20260105", "0000-00-00", "1900-02-29", "２０２６-01-05", "2026-01-05 10:00:00 xyz", "1799-12-31"],
)  # fmt: skip
def test_no_moments(cell):
    assert values("moment", [cell]) == [None] and values("moment", ["2026-01-01", cell, None])[1:] == [None, None]


def test_dates_in_three_formats_in_one_column():
    cells = ["31.12.2026", "12/31/2026", "20261231", "31.4.2026", "5.6.26", None, "1.2.2026", "2026-12-31"]
    found = values("moment", cells, formats=("%d.%m.%Y", "%m/%d/%Y", "%Y%m%d"))
    assert found == [utc("2026-12-31 05:00")] * 3 + [None, None, None, utc("2026-02-01 05:00"), None]
    # The first format that fits counts.
    assert values("moment", ["01/02/2026"], formats=("%d/%m/%Y", "%m/%d/%Y")) == [utc("2026-02-01 05:00")]


def test_a_z_that_is_written_out_is_a_zone():
    assert values("moment", ["2026-01-01T10:00:00Z"], formats=("%Y-%m-%dT%H:%M:%SZ",)) == [utc("2026-01-01 10:00")]
    assert values("moment", ["1767261600", "x1", "99999999999"], formats=("%s",)) == [
        utc("2026-01-01 10:00"),
        None,
        None,
    ]


def test_a_day_that_a_zone_left_out():
    samoa = Context("Pacific/Apia", None, frozenset(), {}, date(2026, 1, 1))
    assert values("moment", ["2011-12-30 10:00:00"], context=samoa) == [utc("2011-12-30 20:00")]


@pytest.mark.parametrize("kind", ["moment", "date", "birthday"])
@pytest.mark.parametrize("form", ["%d", "%Y", "%H:%M", "%p", "%I:%M", "%I", "%j", "%s%Y", "%z", "%#z", "%Y %z", "%.f", "%f",
                                  "%9f", "%T", "%D", "%Y-%m-%d %%", "%B", "%e %b %Y", "%Y%Y", "%H %p", "(%d", "%d)|(%Y"])  # fmt: skip
@pytest.mark.filterwarnings("ignore:Detected the pattern")
def test_no_format_raises(kind, form):
    values(kind, ["2026-01-02", "1", "9999999999", "January 5, 2026", "20260102030405", "99", None], formats=(form,))


def test_days():
    assert values("date", ["2026-01-02", "2026-01-02 00:00:00", "2026-02-29", "1.2.2026"]) == [
        date(2026, 1, 2), date(2026, 1, 2), None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        ("1990-12-31", ("solar", 1990, 12, 31)),
        ("1990/1/5", ("solar", 1990, 1, 5)),
        ("1990-12-31 00:00:00", ("solar", 1990, 12, 31)),
        ("02-29", ("solar", None, 2, 29)),
        ("2000-02-29", ("solar", 2000, 2, 29)),
        ("2026-11-23", ("solar", 2026, 11, 23)),
    ],
)
def test_birthdays(cell, day):
    assert values("birthday", [cell]) == [day]


@pytest.mark.parametrize(
    "cell", ["1990-02-30", "1900-02-29", "1990-04-31", "04-31", "13-01", "00-10", "2026-11-24", "1879-12-31", "0000-01-01",
             "１９９０-01-01", "1990-１-01", "19900101", "99999-01-01", "-5-05"]
)  # fmt: skip
def test_no_birthdays(cell):
    assert values("birthday", [cell]) == [(None,) * 4]


def test_lunar_birthdays_have_thirty_days():
    found = values("birthday", ["30-02", "30-12", "31-01"], formats=("%d-%m",), calendar="lunar")
    assert found == [("lunar", None, 2, 30), ("lunar", None, 12, 30), (None,) * 4]


# --- numbers --------------------------------------------------------------------------------------------------------

NUMBERS = {
    "5": "5", "-5": "-5", "+5": "5", "-0": "0", "00012": "12", "1234.5678": "1234.5678", "1,234.50": "1234.50",
    "$1,234.50": "1234.50", "$1,234.50 ": "1234.50", "¥ 100": "100", "¥-5": "-5", "-¥5": "-5", "1,234": "1234",
    "99999999999999.9999": "99999999999999.9999",
    "12 pcs": None, "USD 5": None, "1.234,50": None, "1,5": None, "(5)": None, "1e5": None, "NaN": None, "inf": None,
    "１２": None, "12345678901234567890": None, "-": None, "--5": None, "5.": None, ".5": None, "0x1F": None, "5%": None,
    "1,23,456": None, "1 234": None, "$": None, "1.2.3": None, "٣": None, "99999999999999.99999": None, "None": None,
}  # fmt: skip


@pytest.mark.parametrize("cell", NUMBERS)
def test_money(cell):
    wanted = None if NUMBERS[cell] is None else Decimal(NUMBERS[cell])
    assert values("money", [cell.strip()]) == [wanted]
    # ... and beside cells that are plain.
    assert values("money", ["7", cell.strip(), None])[1] == wanted


def test_decimal_commas_and_units():
    cells = ["1.234,50", "1,5", "1234", "1.5", "1.234.567,89", "€ 5,00", "1,234.50", "12.34,5"]
    found = values("money", cells, decimal=",")
    assert found == [*map(Decimal, ["1234.50", "1.5", "1234"]), None, *map(Decimal, ["1234567.89", "5.00"]), None, None]
    assert values("money", ["12 pcs", "3"], strip="pcs") == [Decimal(12), Decimal(3)]


def test_products_never_overflow():
    big = "99999999999999.9999"
    assert values("money", [big, "2", "x", None, f"-{big}"], times=Cell(columns=("x",))) == [
        None, Decimal(4), None, None, None,
    ]  # fmt: skip


def test_whole_numbers():
    cells = ["1", "1.0", "-1", "1.5", "１", "999999999", "9999999999", "1e3", "+1"]
    assert values("integer", cells) == [1, 1, -1, None, None, 999_999_999, None, None, 1]


def test_what_strip_leaves_empty_is_nothing():
    frame = pl.DataFrame({"x": ["USD", "USD 5"]})
    column = read_column("x", "money", Cell(columns=("x",), strip="USD"), frame, CONTEXT)
    assert column.values["x"].to_list() == [None, Decimal(5)] and not any(mask.any() for mask, *_ in column.faults)


# --- words ----------------------------------------------------------------------------------------------------------


def test_booleans():
    assert values("boolean", [word.upper() for word in TRUE_WORDS]) == [True] * len(TRUE_WORDS)
    assert values("boolean", list(FALSE_WORDS)) == [False] * len(FALSE_WORDS)
    assert values("boolean", ["ja", "oui", "sí", "maybe", "2", "нет"]) == [None] * 6
    assert values("boolean", ["ja", "nein"], value_map={"ja": "true", "nein": "false"}) == [True, False]


def test_ids():
    cells = [
        "12",
        "\u200b2\u200b",
        "\ufeff3",
        "\u202a4\u202c",
        "a\tb",
        "a\nb",
        "a\x85b",
        "x" * 200,
        "x" * 201,
        "１２",
        "012",
    ]
    assert values("id", cells) == ["12", "2", "3", "4", None, None, None, "x" * 200, None, "１２", "012"]
    assert values("id", ["\u200b", "\u3000\u200b "]) == [None, None]
    assert values("id", ["张 伟", " a ", "a\u200bb"]) == ["张 伟", "a", "ab"]


@pytest.mark.parametrize("cell", ["1.23457E+12", "8,61380E+12", "1E+15"])
def test_ids_that_a_spreadsheet_cut_short_are_nobodys(cell):
    assert values("id", [cell]) == [None]


def test_texts():
    cells = ["a\x01b", "a\nb\tc\r\nd", "a\x92b", "x" * 10_000, "x" * 10_001, "\u202eabc", "👩‍👩‍👧"]
    assert values("text", cells) == [None, "a\nb\tc\r\nd", None, "x" * 10_000, None, "\u202eabc", "👩‍👩‍👧"]


def test_currencies_and_countries_are_those_that_there_are():
    assert values("currency", ["cny", "USD", "RMB", "$", "XYZ", "US"]) == ["CNY", "USD", None, None, None, None]
    assert values("country", ["cn", "GB", "UK", "XX", "CHN", "ZZ"]) == ["CN", "GB", None, None, None, None]
    assert values("locale", ["zh_CN", "EN", "english", "zh-Hans-CN"])[:3] == ["zh-CN", "en", None]
    assert values("timezone", ["Asia/Shanghai", "Mars"]) == ["Asia/Shanghai", None]
    assert values("event_kind", ["login", "jump"]) == ["login", None]
    assert values("choice", ["Paid", "x"], choices=("paid",)) == ["paid", None]


def test_lookups_and_maps_that_are_empty():
    assert values("text", ["a", None], lookup=("empty", "x")) == [None, None]
    assert values("text", ["a", None], value_map={}) == [None, None]
    assert values("text", ["a", None], value_map={}, otherwise="keep") == ["a", None]


KINDS = sorted({about.kind for target in TARGETS.values() for about in target.fields.values()} | {"date"})


@QUICK
@given(st.lists(st.none() | st.text(max_size=12) | st.text("0123456789+-.,:/ TZe%$¥()１\u200b", max_size=20), max_size=8),
       st.sampled_from(KINDS), st.sampled_from([{}, {"decimal": ","}, {"formats": ("%d.%m.%Y", "%H:%M", "%s")}]))  # fmt: skip
@example(["￥", "+", "-"], "money", {})
def test_no_cell_raises_in_any_kind(cells, kind, how):
    # As the readers hand cells on: trimmed, and null where nothing is left.
    trimmed = [(pl.Series([cell.replace("\0", "")]).str.strip_chars()[0] or None) if cell else None for cell in cells]
    found = values(kind, trimmed, choices=("paid",), **how)
    # Each cell is read for itself: whatever stands beside it.
    assert found == [values(kind, [cell], choices=("paid",), **how)[0] for cell in trimmed]


# --- e-mail addresses -----------------------------------------------------------------------------------------------


def by_the_library(email: str) -> str | None:
    try:
        return validate_email(email, check_deliverability=False).normalized
    except (EmailNotValidError, ValueError):
        return None


ATOMS = st.text("abcXYZ019._+-'é张 \"", max_size=10)
DOMAINS = st.sampled_from(["example.com", "EXAMPLE.com", "sub.a-b.org", "bücher.de", "xn--bcher-kva.de", "a", "a..b", "-a.de",
                           "localhost", "test", "foo.test", "1.2.3.4", "[1.2.3.4]", "q.中国", "a_b.com", "x" * 64 + ".de",
                           "qq.com.", ".com", "x." * 126 + "de"])  # fmt: skip


@QUICK
@given(
    st.lists(st.builds("{}@{}".format, ATOMS, DOMAINS) | st.builds("{}@{}".format, ATOMS, ATOMS) | ATOMS, max_size=8)
)
@example(["a" * 64 + "@example.com", "a" * 65 + "@example.com", "a@" + "x" * 60 + "." + "y" * 60 + ".com"])
@example(["a@" + ".".join(["bü" + "x" * 50] * 4) + ".de", "a" * 60 + "@" + ".".join(["x" * 60] * 3) + ".comcomcom"])
def test_the_fast_way_is_the_librarys(emails):
    found = normalise_emails(pl.Series(emails, dtype=pl.String)).to_list()
    assert found == [by_the_library(email) for email in emails]


def test_emails():
    cells = ["Ann@Example.com", "ann@example", "ann@@example.com", "\u200bann@example.com\u202c", "ann @example.com", "13800138000",
             "Ann <ann@example.com>", "ann@example.com;ben@example.com"]  # fmt: skip
    assert values("email", cells) == ["ann@example.com", None, None, "ann@example.com", None, None, None, None]
    assert values("address", ["A@b.com", "13800138000", "13800138000@", "x"]) == [
        "a@b.com",
        "+8613800138000",
        None,
        None,
    ]


# --- phone numbers --------------------------------------------------------------------------------------------------


def by_their_library(number: str, country: str | None) -> str | None:
    """What phonenumbers says of digits and what stands between them, as far as it can be dialled from everywhere."""
    try:
        parsed = phonenumbers.parse(number, country)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    found = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return found if 8 <= len(found) <= 16 and found[1] != "0" else None


@pytest.mark.parametrize(
    ("cell", "country", "number"),
    [
        ("+86 138 0013 8000", None, "+8613800138000"),
        ("0086 13800138000", "CN", "+8613800138000"),
        ("8613800138000", "CN", "+8613800138000"),
        ("138-0013-8000", "CN", "+8613800138000"),
        ("１３８ ００１３ ８０００", "CN", "+8613800138000"),
        ("＋８６（１３８）００１３８０００", None, "+8613800138000"),
        ("\u202a+86 138 0013 8000\u202c", None, "+8613800138000"),
        ("13800138000.0", "CN", "+8613800138000"),
        ("010-6552 9988", "CN", "+861065529988"),
        ("(202) 555-0123", "US", "+12025550123"),
        ("1 202 555 0123", "US", "+12025550123"),
        ("011 44 20 7946 0958", "US", "+442079460958"),
        ("+44 (0)20 7946 0958", None, "+442079460958"),
        ("020 7946 0958", "GB", "+442079460958"),
        ("(+49) 30/123456", None, "+4930123456"),
        ("+39 06 1234567", None, "+39061234567"),
        ("13800138000", None, None),
        ("1-800-FLOWERS", "US", None),
        ("13800138000 ext 5", "CN", None),
        ("13800138000x5", "CN", None),
        ("13800138000/13900139000", "CN", None),
        ("138\n0013 8000", "CN", None),
        ("12345 Main Street 5", "CN", None),
        ("C0089183", "US", None),
        ("13800138000@", "CN", None),
        ("2024-09-23", "CN", None),
        ("23.09.2024", "CN", None),
        ("12345678.50", "CN", None),
        ("1.38001E+10", "CN", None),
        ("110", "CN", None),
        ("+49112", None, None),
        ("+491234567890123456", None, None),
        ("+", "CN", None),
        ("1" * 41, "CN", None),
    ],
)
def test_phones(cell, country, number):
    assert read_phone(cell, country) == number
    around = ["+8613900139000", cell, None, "x", "+12025550123"]
    assert normalise_phones(pl.Series(around), country)[1] == number


def examples() -> list[tuple[str, str]]:
    found = []
    for country in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (
            phonenumbers.PhoneNumberType.MOBILE,
            phonenumbers.PhoneNumberType.FIXED_LINE,
            phonenumbers.PhoneNumberType.TOLL_FREE,
        ):
            if number := phonenumbers.example_number_for_type(country, kind):
                found.append((country, number))
    return found


def test_every_countrys_numbers_are_the_librarys():
    forms = phonenumbers.PhoneNumberFormat
    by_country: dict[str, list[str]] = {}
    for country, number in examples():
        written = [
            phonenumbers.format_number(number, form) for form in (forms.E164, forms.INTERNATIONAL, forms.NATIONAL)
        ]
        national = str(number.national_number)
        written += [national, f"{number.country_code}{national}", f"00{number.country_code}{national}", f"0{national}",
                    f"+{number.country_code}0{national}", national[1:], national + "1", f"+{number.country_code}{national}11"]  # fmt: skip
        by_country.setdefault(country, []).extend(it for it in written if it.replace(" ", "").isascii())
    everything = [it for listed in by_country.values() for it in listed[:1]]
    checked = 0
    for country, listed in by_country.items():
        cells = [it for it in [*listed, *everything] if not any(c.isalpha() for c in it)]
        found = normalise_phones(pl.Series(cells), country).to_list()
        for cell, number in zip(cells[: len(listed)], found, strict=False):
            wanted = by_their_library(cell, country)
            assert number == wanted, f"{cell} in {country}"
            checked += 1
        assert found[-len(everything) :] == everything or country not in ("CN", "US", "GB", "DE")
    assert checked > 5000


COUNTRIES = st.sampled_from(
    [None, "CN", "US", "CA", "GB", "DE", "IT", "BR", "AR", "MX", "RU", "KZ", "AG", "IM", "JP", "HU", "CR", "LI"]
)
NUMBER_TEXTS = st.from_regex(r"\A(\+|00|011|0|)(86|1|44|55|549|54|52|521|39|7|81|36|)[0-9]{3,12}\Z") | st.from_regex(
    r"\A[(]?\+?[0-9]{1,4}[) ./-]{0,2}[0-9]{2,5}[ -]?[0-9]{2,6}\Z"
)


@QUICK
@given(st.lists(NUMBER_TEXTS, max_size=30), COUNTRIES)
def test_groups_of_numbers_are_read_as_each_for_itself(numbers, country):
    found = normalise_phones(pl.Series(numbers, dtype=pl.String), country).to_list()
    for cell, number in zip(numbers, found, strict=True):
        if number is None and (cell.count(".") == 1 or sum(map(cell.count, "-./")) == 2):
            continue  # perhaps a date or an amount
        assert number == by_their_library(cell, country), cell


@pytest.mark.soak
@settings(max_examples=5000, deadline=None)
@given(st.lists(NUMBER_TEXTS, max_size=60), st.none() | st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
def test_groups_of_numbers_for_long(numbers, country):
    found = normalise_phones(pl.Series(numbers, dtype=pl.String), country).to_list()
    for cell, number in zip(numbers, found, strict=True):
        if number is not None or not (cell.count(".") == 1 or sum(map(cell.count, "-./")) == 2):
            assert number == by_their_library(cell, country), cell


def test_countries_and_zones_from_phones():
    phones = pl.Series(
        ["+8613800138000", "+12025550123", "+14165550123", "+442079460958", "+61412345678", "+80012345678", None]
    )
    countries = derive_countries(phones).to_list()
    assert countries[:5] == ["CN", "US", "CA", "GB", "AU"] and countries[5:] == [None, None]
    zones = derive_zones(derive_countries(phones), phones).to_list()
    assert zones[:4] == ["Asia/Shanghai", "America/New_York", "America/Toronto", "Europe/London"] and zones[5:] == [
        None,
        None,
    ]
