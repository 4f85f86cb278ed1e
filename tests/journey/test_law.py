"""Each row of include/law.yaml refuses a journey that does not keep it before live: true, with file, line and remedy; the same
is a note while live: false, and a journey that keeps all rows passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from retention.errors import ConfigError
from retention.journey.files import Files
from retention.journey.law import Law, read_law
from retention.journey.load import load, load_version
from retention.journey.policy import read_policy
from tests.world import example_files

INCLUDE = Path(__file__).resolve().parents[2] / "include"
SHIPPED = example_files()
LAW, _ = read_law("include/law.yaml", SHIPPED["law.yaml"])
JOURNEY, POLICY, SHOP = "journeys/birthday_care.yaml", "policy.yaml", "shop.yaml"
GREETING = "templates/birthday/greeting/"

Change = Callable[[dict[str, str]], None]


def replace(path: str, before: str, after: str) -> Change:
    def change(files: dict[str, str]) -> None:
        assert before in files[path], f"{path} does not say {before}"
        files[path] = files[path].replace(before, after)

    return change


def lawful(*changes: Change, live: bool = True, markets: str = "[CN, GB, US]") -> Files:
    """The shipped files, as a shop has them that goes live: providers declared, words for every channel."""
    files = dict(SHIPPED)
    files[POLICY] = files[POLICY].replace("processed_in: {}", "processed_in: {email: US, sms: CN}")
    files[POLICY] = files[POLICY].replace("markets: [CN, GB, US]", f"markets: {markets}")
    files[JOURNEY] = files[JOURNEY].replace("live: false", f"live: {str(live).lower()}")
    for change in changes:
        change(files)
    return Files(files)


def transactional(files: dict[str, str]) -> None:
    replace(GREETING + "template.yaml", "purpose: marketing", "purpose: transactional")(files)


def at_night(files: dict[str, str]) -> None:
    """The greeting comes at 22:00 of the customer's own day and expires before the morning."""
    replace(JOURNEY, "    at: day 0, 10:00 ", "    zone: customer\n    at: day 0, 22:00 ")(files)
    replace(JOURNEY, "expires: 2d ", "expires: 6h ")(files)


def no_address(files: dict[str, str]) -> None:
    files[SHOP], count = re.subn(r"postal_address:\n(  .*\n)+", "", files[SHOP])
    assert count == 1


def no_words(channel: str, after: str) -> Change:
    """Take the words of consent to a channel out of the policy."""

    def change(files: dict[str, str]) -> None:
        files[POLICY], count = re.subn(rf"(?ms)^  {channel}:\n    zh-CN.*?(?=^{after})", "", files[POLICY])
        assert count == 1

    return change


NO_SMS_WORDS = no_words("sms", "\n#")
NO_EMAIL_WORDS = no_words("email", "  sms:")
NO_STOP = replace(GREETING + "sms.en.txt", " Reply STOP to end", "")
NO_LINK = replace(GREETING + "email.en.txt", "Unsubscribe: {{ links.unsubscribe }}", "")
NO_CHOICE = replace(GREETING + "email.en.txt", "Choose what we send: {{ links.preferences }}", "")
FOREVER = replace(POLICY, "outbox: 90d", "outbox: forever")
WORDS = "so no consent to it could be proved"
STOP = "include/templates/birthday/greeting/sms.en.txt:1: the sms does not say how to have no more of them"
LINK = "include/templates/birthday/greeting/email.en.txt:1: the e-mail has no link to have no more of them"
CHOICE = (
    "include/templates/birthday/greeting/email.en.txt:1: the e-mail leads to no page on which profiling can be refused"
)
KEEP = "include/policy.yaml:49: keep.outbox: forever is longer than any purpose needs"
ONE_REMEDY = {
    "stop": "End it with: Reply STOP to end",
    "link": "Put {{ links.unsubscribe }} into it.",
    "choice": "Put {{ links.preferences }} into it.",
    "keep": "Write how long it is kept, such as 90d.",
    "sms words": "Write under consent_words what people read when they agree: sms: {en: ...}.",
    "email words": "Write under consent_words what people read when they agree: email: {en: ...}.",
}


def young(age: int) -> Change:
    return replace(POLICY, "adult_age: 16", f"adult_age: {age}")


CASES: dict[str, tuple[Change, str, str]] = {
    "coupon_is_marketing": (
        transactional,
        "[CN]",
        "include/templates/birthday/greeting/template.yaml:2: a message with a coupon is marketing, whatever it says; step "
        "greeting calls it transactional (everywhere; law.yaml: coupon_is_marketing). Write purpose: marketing, or take the "
        "coupon out.",
    ),
    "cn_abroad": (
        replace(POLICY, "processed_in: {email: US, sms: CN}", "processed_in: {sms: CN}"),
        "[CN]",
        "include/policy.yaml:42: processed_in: nothing says in which country the provider of email handles customers' data "
        "(China; law.yaml: cn_abroad). Write processed_in: {email: US} for SendGrid and Twilio, or the country of yours.",
    ),
    "cn_profiling": (NO_CHOICE, "[CN]", f"{CHOICE} (China; law.yaml: cn_profiling). {ONE_REMEDY['choice']}"),
    "cn_minors": (
        young(13),
        "[CN]",
        "include/policy.yaml:44: adult_age: 13 is too young: below 14 a guardian has to agree (China; law.yaml: cn_minors). "
        "Write 14 or more.",
    ),
    "cn_sms_consent": (
        NO_SMS_WORDS,
        "[CN]",
        f"include/policy.yaml:30: consent_words: there is no text for sms, {WORDS} (China; law.yaml: cn_sms_consent). "
        f"{ONE_REMEDY['sms words']}",
    ),
    "cn_sms_signature": (
        replace(GREETING + "sms.zh-CN.txt", "【{{ shop.name }}】", ""),
        "[CN]",
        "include/templates/birthday/greeting/sms.zh-CN.txt:1: the sms does not begin with who sends it, 青禾生活 "
        "(China; law.yaml: cn_sms_signature). Begin it with 【{{ shop.sms_signature }}】",
    ),
    "cn_sms_opt_out": (
        replace(GREETING + "sms.zh-CN.txt", "回复TD退订", ""),
        "[CN]",
        "include/templates/birthday/greeting/sms.zh-CN.txt:1: the sms does not say how to have no more of them "
        "(China; law.yaml: cn_sms_opt_out). End it with: 回复TD退订",
    ),
    "cn_email_ad_mark": (
        replace(GREETING + "email.zh-CN.html", "subject: （广告）", "subject: "),
        "[CN]",
        "include/templates/birthday/greeting/email.zh-CN.html:2: the subject does not begin with 广告 or AD, the mark of "
        "advertising (China; law.yaml: cn_email_ad_mark). Begin it with （广告）.",
    ),
    "cn_email_opt_out": (NO_LINK, "[CN]", f"{LINK} (China; law.yaml: cn_email_opt_out). {ONE_REMEDY['link']}"),
    "us_sms_consent": (
        NO_SMS_WORDS,
        "[US]",
        f"include/policy.yaml:30: consent_words: there is no text for sms, {WORDS} (United States; law.yaml: us_sms_consent). "
        f"{ONE_REMEDY['sms words']}",
    ),
    "us_sms_hours": (
        at_night,
        "[US]",
        "include/journeys/birthday_care.yaml:36: steps[0] (greeting): at: 22:00-04:00 is outside 08:00-21:00 of the "
        "customer's day: no sms ever goes (United States; law.yaml: us_sms_hours). Write a time from 08:00 on, or a longer "
        "expires.",
    ),
    "us_sms_revocation": (
        NO_STOP,
        "[US]",
        f"{STOP} (United States; law.yaml: us_sms_revocation). {ONE_REMEDY['stop']}",
    ),
    "us_email_address": (
        no_address,
        "[US]",
        "include/shop.yaml:1: postal_address is missing, which marketing e-mails have to show (United States; law.yaml: "
        "us_email_address). Add postal_address: {zh-CN: ..., en: ...}.",
    ),
    "us_email_opt_out": (NO_LINK, "[US]", f"{LINK} (United States; law.yaml: us_email_opt_out). {ONE_REMEDY['link']}"),
    "us_minors": (
        young(12),
        "[US]",
        "include/policy.yaml:44: adult_age: 12 is too young: below 13 a guardian has to agree (United States; law.yaml: "
        "us_minors). Write 13 or more.",
    ),
    "eu_opt_in_proof": (
        NO_EMAIL_WORDS,
        "[DE]",
        f"include/policy.yaml:30: consent_words: there is no text for email, {WORDS} (Germany; law.yaml: eu_opt_in_proof). "
        f"{ONE_REMEDY['email words']}",
    ),
    "eu_objection": (NO_CHOICE, "[DE]", f"{CHOICE} (Germany; law.yaml: eu_objection). {ONE_REMEDY['choice']}"),
    "eu_email_opt_out": (NO_LINK, "[DE]", f"{LINK} (Germany; law.yaml: eu_email_opt_out). {ONE_REMEDY['link']}"),
    "eu_text_opt_out": (NO_STOP, "[DE]", f"{STOP} (Germany; law.yaml: eu_text_opt_out). {ONE_REMEDY['stop']}"),
    "eu_storage": (FOREVER, "[DE]", f"{KEEP} (Germany; law.yaml: eu_storage). {ONE_REMEDY['keep']}"),
    "eu_minors": (
        young(15),
        "[DE]",
        "include/policy.yaml:44: adult_age: 15 is too young: below 16 a guardian has to agree (Germany; law.yaml: eu_minors). "
        "Write 16 or more.",
    ),
    "gb_opt_in_proof": (
        NO_EMAIL_WORDS,
        "[GB]",
        f"include/policy.yaml:30: consent_words: there is no text for email, {WORDS} (United Kingdom; law.yaml: "
        f"gb_opt_in_proof). {ONE_REMEDY['email words']}",
    ),
    "gb_objection": (NO_CHOICE, "[GB]", f"{CHOICE} (United Kingdom; law.yaml: gb_objection). {ONE_REMEDY['choice']}"),
    "gb_email_opt_out": (NO_LINK, "[GB]", f"{LINK} (United Kingdom; law.yaml: gb_email_opt_out). {ONE_REMEDY['link']}"),
    "gb_text_opt_out": (NO_STOP, "[GB]", f"{STOP} (United Kingdom; law.yaml: gb_text_opt_out). {ONE_REMEDY['stop']}"),
    "gb_storage": (FOREVER, "[GB]", f"{KEEP} (United Kingdom; law.yaml: gb_storage). {ONE_REMEDY['keep']}"),
    "gb_minors": (
        young(12),
        "[GB]",
        "include/policy.yaml:44: adult_age: 12 is too young: below 13 a guardian has to agree (United Kingdom; law.yaml: "
        "gb_minors). Write 13 or more.",
    ),
}


def test_every_row_has_its_case() -> None:
    assert set(CASES) == {row.id for row, _ in LAW.rows}


@pytest.mark.parametrize("row", CASES)
def test_a_row_that_is_not_kept_refuses_the_journey_before_it_is_live(row: str) -> None:
    change, markets, expected = CASES[row]
    workspace = load(lawful(change, markets=markets))
    assert [str(problem) for problem in workspace.problems] == [expected]
    assert workspace.broken["birthday_care"] == workspace.problems and "birthday_care" not in workspace.versions


@pytest.mark.parametrize("row", CASES)
def test_before_that_it_is_a_note(row: str) -> None:
    change, markets, expected = CASES[row]
    workspace = load(lawful(change, markets=markets, live=False))
    assert workspace.problems == [] and [str(note) for note in workspace.notes] == [expected]
    assert not workspace.versions["birthday_care"].journey.live


@pytest.mark.parametrize("markets", sorted({markets for _, markets, _ in CASES.values()} | {"[CN, GB, US]"}))
def test_a_journey_that_keeps_all_of_it_may_go_live(markets: str) -> None:
    workspace = load(lawful(markets=markets))
    assert workspace.problems == [] and workspace.notes == []
    assert workspace.versions["birthday_care"].journey.live


@pytest.mark.parametrize(
    ("markets", "because"),
    [
        ("[BR]", "the table does not know Brazil, so every row holds"),
        ("[CN, BR]", "the table does not know Brazil, so every row holds"),
        ("[]", "no markets are named, so every row holds"),
    ],
)
@pytest.mark.parametrize("row", [row for row in CASES if row != "coupon_is_marketing"])
def test_where_the_country_is_unknown_every_row_holds(row: str, markets: str, because: str) -> None:
    change, _, _ = CASES[row]
    problems = load(lawful(change, markets=markets)).problems
    assert problems and all(because in problem.what for problem in problems)
    assert any(re.search(rf"\b{row}\b", problem.what) for problem in problems)


def test_a_market_that_is_not_named_asks_for_nothing() -> None:
    assert load(lawful(NO_CHOICE, markets="[US]")).problems == []


def test_what_several_rows_want_is_told_once() -> None:
    [problem] = load(lawful(NO_STOP)).problems
    assert str(problem) == (
        f"{STOP} (China, United Kingdom, United States; law.yaml: cn_sms_opt_out, gb_text_opt_out, us_sms_revocation). "
        "End it with: Reply STOP to end"
    )


def test_a_channel_that_is_not_used_asks_for_nothing() -> None:
    only_email = replace(JOURNEY, "channels: [sms, email]", "channels: [email]")
    assert load(lawful(NO_STOP, NO_SMS_WORDS, only_email)).problems == []


def test_transactional_messages_and_retired_steps_are_free() -> None:
    def no_coupons(files: dict[str, str]) -> None:
        for path in [path for path in files if path.startswith("templates/")]:
            files[path] = re.sub(r"\{\{ coupon\.\w+ \}\}", "x", files[path])
        files[JOURNEY] = re.sub(r"(?m)^    (coupon|only_if): .*\n", "", files[JOURNEY])
        for step in ("greeting", "last_day"):
            replace(f"templates/birthday/{step}/template.yaml", "purpose: marketing", "purpose: transactional")(files)

    assert load(lawful(no_coupons, NO_STOP, NO_LINK, NO_SMS_WORDS)).problems == []
    retire = replace(JOURNEY, "    expires: 2d ", "    retired: true\n    expires: 2d ")
    gone = replace(JOURNEY, "    only_if: coupon_unused\n", "    coupon: {kind: percent_off, value: 5, valid: 2d}\n")
    assert load(lawful(NO_STOP, retire, gone)).problems == []


@pytest.mark.parametrize(
    ("subject", "is_marked"),
    [("AD: News", True), ("[AD] News", True), ("(AD) News", True), ("【广告】News", True), ("广告 News", True),
     ("ADVENT NEWS", False), ("News (AD)", False), ("ad News", False)],
)  # fmt: skip
def test_the_mark_of_advertising_stands_first(subject: str, is_marked: bool) -> None:
    write = replace(GREETING + "email.en.html", "subject: (AD) An early happy birthday", f"subject: {subject}")
    assert bool(load(lawful(write, markets="[CN]")).problems) != is_marked


@pytest.mark.parametrize(
    ("head", "is_signed"),
    [("{{ shop.sms_signature }}: ", True), ("{{shop.name}}, ", True), ("【Qinghe Home】", True), ("【{{ shop.name }}】", True),
     ("Hello from {{ shop.name }}: ", False), ("【Other Shop】", False)],
)  # fmt: skip
def test_an_sms_begins_with_who_sends_it(head: str, is_signed: bool) -> None:
    write = replace(GREETING + "sms.en.txt", "{{ shop.name }}: ", head)
    assert bool(load(lawful(write, markets="[CN]")).problems) != is_signed


def test_a_signature_that_is_not_the_name_has_to_be_said() -> None:
    other = replace(SHOP, "sms_signature:\n  zh-CN: 青禾生活", "sms_signature:\n  zh-CN: 青禾")
    problems = load(lawful(other, markets="[CN]")).problems
    assert [problem.path.rpartition("/")[2] for problem in problems] == ["sms.zh-CN.txt"] * 2
    assert "who sends it, 青禾 (" in problems[0].what


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            replace(SHOP, "sms_signature:\n  zh-CN: 青禾生活\n  en: Qinghe Home", "sms_signature: 青禾生活"),
            'include/shop.yaml:10: sms_signature: "青禾生活" is not a name for each language. Write {zh-CN: ..., en: ...}.',
        ),
        (
            replace(SHOP, "postal_address:", "postal_adress:"),
            'include/shop.yaml:7: unknown key "postal_adress". Did you mean "postal_address"?',
        ),
    ],
)
def test_mistakes_of_the_shops_new_keys(change: Change, told: str) -> None:
    assert [str(problem) for problem in load(lawful(change, live=False)).problems] == [told]


def test_words_are_words_and_not_parts_of_others() -> None:
    write = replace(GREETING + "sms.en.txt", "Reply STOP to end", "We never stopped, so visit BUSSTOPS")
    assert load(lawful(write, markets="[US]")).problems
    ends = replace(GREETING + "sms.en.txt", "Reply STOP to end", "To opt out reply Stop")
    assert load(lawful(ends, markets="[US]")).problems == []


@pytest.mark.parametrize(
    ("zone", "at", "expires", "is_refused"),
    [("customer", "20:30", "1h", False), ("customer", "21:00", "1h", True), ("customer", "06:00", "2h", True),
     ("customer", "06:00", "3h", False), ("customer", "22:00", "1d", False), ("journey", "22:00", "1h", False)],
)  # fmt: skip
def test_a_step_that_only_ever_comes_at_night_is_refused(zone: str, at: str, expires: str, is_refused: bool) -> None:
    def change(files: dict[str, str]) -> None:
        replace(JOURNEY, "    at: day 0, 10:00 ", f"    zone: {zone}\n    at: day 0, {at} ")(files)
        replace(JOURNEY, "expires: 2d ", f"expires: {expires} ")(files)

    assert bool(load(lawful(change, markets="[US]")).problems) == is_refused


def test_without_the_table_nothing_goes_live_and_stored_versions_stay_readable() -> None:
    files = lawful()
    content = load(files).versions["birthday_care"].content
    bare = Files({path: text for path, text in files.items() if path != "law.yaml"})
    assert "birthday_care" in load(bare).broken
    with pytest.raises(ConfigError):
        read_policy(bare)
    assert load_version(content).journey.live


def test_a_stopped_journey_is_heard_whatever_the_law_says() -> None:
    stopped = replace(JOURNEY, "status: active", "status: stopped")
    workspace = load(lawful(NO_STOP, stopped))
    assert workspace.problems == [] and len(workspace.notes) == 1
    assert workspace.versions["birthday_care"].journey.status == "stopped"


def test_a_policy_that_cannot_be_read_keeps_journeys_from_going_live() -> None:
    workspace = load(lawful(replace(POLICY, "adult_age: 16", "adult_age: old")))
    assert [problem.path for problem in workspace.broken["birthday_care"]] == ["include/policy.yaml"]


MISTAKES = {
    "rows: [{id: a, countries: [CN], rule: {}, says: x, sources: [https://a.example/b]}]": "rows[0].rule: unknown rule a group "
    "of keys. Rules: ad_mark, agree_abroad, consent_wording, coupon_is_marketing, hours, may_refuse_profiling, minors, "
    "opt_out_link, opt_out_words, postal_address, sender_first, storage_limits.",
    "rows: []": "rows: the list is empty. Write at least one item.",
    "rows: [{id: a, countries: [CN], rule: minor, says: x, sources: [https://a.example/b]}]": "rows[0].rule: unknown rule "
    '"minor". Did you mean "minors"? Rules: ad_mark, agree_abroad, consent_wording, coupon_is_marketing, hours, '
    "may_refuse_profiling, minors, opt_out_link, opt_out_words, postal_address, sender_first, storage_limits.",
    "rows: [{id: a, countries: [CN], rule: minors, says: x, sources: [https://a.example/b]}]": "rows[0]: the rule minors needs "
    "age. Add age.",
    "rows: [{id: a, countries: [CN], rule: ad_mark, words: [AD], age: 14, says: x, sources: [https://a.example/b]}]": "rows[0]: "
    "the rule ad_mark has no age. Delete age.",
    "rows: [{id: a, countries: [EEA], rule: agree_abroad, says: x, sources: [https://a.example/b]}]": "rows[0]: unknown group "
    '"EEA". Groups: there are none yet.',
    "rows: [{id: a, countries: [UK], rule: agree_abroad, says: x, sources: [https://a.example/b]}]": 'rows[0].countries: "UK" '
    'is not a country. Did you mean "GB"?',
    "rows: [{id: a, countries: [CN], rule: agree_abroad, says: x, sources: [a book]}]": 'rows[0].sources: "a book" is not a web '
    "address. Link the statute, with https://.",
    "rows: [{id: a, countries: [CN], rule: storage_limits, kinds: [mail], says: x, sources: [https://a.example/b]}]": "rows[0]."
    'kinds: unknown kind of record "mail". Kinds: messages, outbox, raw_events, rejected_rows.',
}


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: text[:60])
def test_a_mistake_in_the_table_is_told(text: str) -> None:
    law, document = read_law("include/law.yaml", text)
    assert law is None
    assert [str(problem) for problem in document.problems] == [f"include/law.yaml:1: {MISTAKES[text]}"]


def test_the_table_says_that_it_is_no_advice_and_names_its_sources() -> None:
    assert "NOT LEGAL ADVICE" in SHIPPED["law.yaml"] and "HAVE COUNSEL CONFIRM" in SHIPPED["law.yaml"]
    docs = (INCLUDE.parent / "docs" / "contact.md").read_text(encoding="utf-8")
    assert "not legal advice" in docs and "counsel" in docs
    for row, _ in LAW.rows:
        assert row.sources and row.says.endswith(".") and f"`{row.id}`" in docs, row.id


def test_a_country_gets_its_rows_and_a_strange_one_all() -> None:
    assert isinstance(LAW, Law)
    ids = {country: {row.id for row in LAW.rows_for(country)} for country in ("CN", "US", "FR", "NO", "GB", "BR", None)}
    assert ids["FR"] == ids["NO"] and {name[:2] for name in ids["FR"]} == {"eu", "co"}
    assert {name[:2] for name in ids["CN"]} == {"cn", "co"} and "coupon_is_marketing" in ids["US"]
    assert ids["BR"] == ids[None] == {row.id for row, _ in LAW.rows}
