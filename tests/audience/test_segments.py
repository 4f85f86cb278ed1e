"""Segments: who is in which tier and why, as a file for Excel; how many, who moved."""

import csv
import random
import stat
from datetime import timedelta
from zipfile import ZipFile

import polars as pl
import pytest
from sqlalchemy import text

from retention.audience.scores import read_tiers, refresh_scores
from retention.audience.segments import count_spread, list_segments, month_before
from retention.audience.spreadsheet import write_table
from retention.errors import ConfigError, RetentionError
from retention.journey.scores import Scores
from retention.journey.segments import find_problems, load_segments
from retention.store.tables import SCHEMES
from tests.world import INCLUDE, SHANGHAI, shanghai

NOW = shanghai("2026-12-01 02:00")
WORDS = load_segments(INCLUDE)
CONFIG = Scores.model_validate({"schemes": list(SCHEMES), "cuts": {"frequency": {"mid": 2, "high": 4}}})


def score(world, *moments):
    for at in moments:
        refresh_scores(world.engine, at, now=at, config=CONFIG)


def listed(world, at=NOW, locale="en", **how):
    with world.engine.connect() as conn:
        heads, *rows = list_segments(conn, at, WORDS, locale=locale, zone=SHANGHAI, **how)
    return heads, {row[0]: row[1:] for row in rows}


def fill(world):
    world.customer("fresh")
    world.order("1", "fresh", NOW - timedelta(days=3))
    world.customer("old")
    for n in range(4):
        world.order(f"o{n}", "old", NOW - timedelta(days=200 + n))
    world.customer("never")
    world.add("events", customer_id="old", kind="cart", occurred_at=NOW - timedelta(days=9), recorded_at=NOW - timedelta(days=9))  # fmt: skip


def test_everybody_has_tier_basis_need_and_care(world):
    fill(world)
    score(world, NOW)
    heads, rows = listed(world)
    assert heads == ("customer", "tier", "basis", "core need", "suggested care")
    assert set(rows) == {"fresh", "old", "never"}
    new = WORDS.six.new
    assert rows["fresh"] == (
        "New",
        "since 2026-12-01; recency mid, frequency low, monetary low, activity low; last order 2026-11-28; "
        "orders in 365 days: 1, CNY 100.00; points of activity in 90 days: 0",
        new.core_need["en"], new.care["en"],
    )  # fmt: skip
    assert "orders in 365 days: 4, CNY 400.00; points of activity in 90 days: 3" in rows["old"][1]
    assert "never ordered; points" in rows["never"][1]
    heads, rows = listed(world, locale="zh-CN")
    assert heads == ("客户", "分层", "依据", "核心需求", "建议关怀")
    assert rows["old"][1].endswith("最近下单 2026-05-15；近 365 天 4 单，共 400.00 CNY；近 90 天活跃 3 分")
    assert listed(world, scheme="shares")[1]["old"][1].startswith("since 2026-12-01; last order")


def test_the_past_is_as_it_was_decided(world):
    fill(world)
    score(world, NOW)
    then = listed(world)[1]
    world.order("2", "never", NOW + timedelta(days=1))
    score(world, NOW + timedelta(days=40))
    again = listed(world, NOW + timedelta(days=39))[1]
    assert {who: row[0] for who, row in again.items()} == {who: row[0] for who, row in then.items()}
    assert again["old"][1] == "since 2026-12-01; recency low, frequency high, monetary mid, activity low (then)"
    assert "last order" in listed(world, NOW + timedelta(days=41))[1]["old"][1]
    assert listed(world, NOW + timedelta(days=39), scheme="shares")[1]["old"][1] == "since 2026-12-01"
    with pytest.raises(RetentionError, match="there are none as of 2026-11-30"):
        listed(world, NOW - timedelta(days=1))
    with pytest.raises(RetentionError, match="six, shares"):
        listed(world, scheme="nine")


def spread(world, at, moments=(), since=None):
    with world.engine.connect() as conn:
        return count_spread(conn, at, WORDS, moments=moments, moved_since=since or at - timedelta(days=30))


@pytest.mark.parametrize("seed", range(3))
def test_counts_and_moves_are_those_of_everybodys_tier(world, seed):
    """Summed up from changes, held against who was in which tier at each moment."""
    rng = random.Random(seed)
    for n in range(25):
        world.customer(f"c{n}", consent=(), since=NOW - timedelta(days=rng.choice((400, 400, 60))))
    for n in range(80):
        world.order(f"o{n}", f"c{rng.randrange(25)}", NOW - timedelta(days=rng.randrange(300), hours=1))
    runs = [NOW - timedelta(days=days) for days in (120, 90, 45, 20, 0)]
    score(world, *runs)
    with world.engine.begin() as conn:  # somebody who is scored no longer
        [(who, tier)] = conn.execute(text("select customer_id, six from customer_sums order by 1 limit 1")).all()
        at = NOW + timedelta(seconds=1)
        conn.execute(text("insert into tiers values (:c, 'six', :at, null, :t, null)"), {"c": who, "at": at, "t": tier})
        conn.execute(text("insert into score_runs (as_of, known_at, computed_at, is_rebuild, config, customers, touched, moved) select :at, :at, :at, false, config, 0, 0, 0 from score_runs limit 1"), {"at": at})  # fmt: skip
    now = NOW + timedelta(seconds=1)
    found = spread(world, now, [runs[1], runs[2] + timedelta(days=1), now + timedelta(days=5)], since=runs[2])
    assert found.moments == (runs[1], runs[2] + timedelta(days=1), now)
    with world.engine.connect() as conn:
        known = {at: {who: it.tier for who, it in read_tiers(conn, at).items()} for at in (*found.moments, runs[2])}
    for place, at in enumerate(found.moments):
        counted = {tier: column[place] for tier, column in found.counts.items() if column[place]}
        expected = {}
        for tier in known[at].values():
            expected[tier] = expected.get(tier, 0) + 1
        assert counted == expected
    moved = {}
    for who in known[runs[2]].keys() | known[now].keys():
        pair = known[runs[2]].get(who), known[now].get(who)
        if pair[0] != pair[1]:
            moved[pair] = moved.get(pair, 0) + 1
    assert found.moves == moved and moved
    assert found.people == len(known[now])


def test_a_month_before():
    assert month_before(shanghai("2026-03-31 10:00"), SHANGHAI) == shanghai("2026-02-28 10:00")
    assert month_before(shanghai("2026-01-15 10:00"), SHANGHAI, 12) == shanghai("2025-01-15 10:00")


# --- files -----------------------------------------------------------------------------------------------------------

HOSTILE = ("=1+1", "+8613", "-2", "@sum", "\tx", 'say "x", <b>&', "多行\n文本", "nul\x00\x0b", "", "00012")


def test_nothing_in_a_csv_is_a_formula_and_chinese_is_read(tmp_path):
    path = tmp_path / "表.csv"
    assert write_table(path, iter([("客户", "b"), *((it, "王芳") for it in HOSTILE)])) == len(HOSTILE)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        heads, *rows = csv.reader(file)
    assert heads == ["客户", "b"] and {row[1] for row in rows} == {"王芳"}
    cells = [row[0] for row in rows]
    assert cells[:5] == ["'=1+1", "'+8613", "'-2", "'@sum", "'\tx"] and cells[5:7] == list(HOSTILE[5:7])
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


def test_an_xlsx_is_text_alone_and_goes_on_in_the_next_sheet(tmp_path, monkeypatch):
    from retention.audience import spreadsheet

    monkeypatch.setattr(spreadsheet, "SHEET_ROWS", 7)
    path = tmp_path / "out.xlsx"
    assert write_table(path, iter([("客户", "b"), *((it, "王芳") for it in HOSTILE)]), name="客户分层") == 10
    book = pl.read_excel(path, sheet_id=0, infer_schema_length=0)
    assert list(book) == ["客户分层", "客户分层 2"]
    assert [len(it) for it in book.values()] == [6, 4]
    cells = [cell or "" for sheet in book.values() for cell in sheet["客户"]]
    assert cells[:4] == list(HOSTILE[:4]) and cells[5:7] == list(HOSTILE[5:7]) and cells[9] == "00012"
    with ZipFile(path) as parts:
        for name in parts.namelist():
            assert "<f>" not in parts.read(name).decode()


def test_a_file_is_whole_or_as_it_was_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "out.csv"
    write_table(path, iter([("a",), ("1",)]))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def breaks():
        yield ("a",)
        raise ValueError

    for name in ("out.csv", "out.xlsx"):
        with pytest.raises(ValueError):
            write_table(tmp_path / name, breaks())
    assert [it.name for it in tmp_path.iterdir()] == ["out.csv"] and "1" in path.read_text("utf-8-sig")
    with pytest.raises(RetentionError, match=r"none of \.csv, \.xlsx"):
        write_table(tmp_path / "out.pdf", iter([]))
    with pytest.raises(RetentionError, match="can't be written"):
        write_table(tmp_path / "no" / "out.csv", iter([]))


def test_the_same_rows_make_the_same_file(tmp_path):
    for name in ("a.xlsx", "b.xlsx"):
        write_table(tmp_path / name, iter([("a",), ("1",)]))
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()


# --- the words, the command ------------------------------------------------------------------------------------------


def test_every_tier_has_its_words_in_both_languages():
    from retention.audience.scores import shares, six

    assert set(WORDS.of("six")) == set(six.NAMES)
    assert set(WORDS.of("shares")) == set(shares.NAMES)
    for scheme in SCHEMES:
        for it in WORDS.of(scheme).values():
            assert all(set(words) == {"zh-CN", "en"} for words in (it.name, it.core_need, it.care))


def test_mistakes_in_the_words_name_their_line(tmp_path):
    (tmp_path / "segments.yaml").write_text((INCLUDE / "segments.yaml").read_text().replace("diamond:", "diamant:", 1))
    said = [str(it) for it in find_problems(tmp_path)]
    assert any("include/segments.yaml:" in it and "diamant" in it for it in said), said
    with pytest.raises(ConfigError, match="can't be read"):
        load_segments(tmp_path / "none")


def test_the_command(world, retention, tmp_path):
    fill(world)
    said = retention("segments", "--date", "2026-12-01")
    assert said.returncode == 1 and "there are none as of" in said.stderr
    at = shanghai("2026-11-20 02:00")
    score(world, at)
    out = tmp_path / "who.csv"
    said = retention("segments", "--date", "2026-11-21", "--out", out, "--locale", "en")
    assert said.returncode == 0, said.stderr
    assert "3 customers are in" in said.stdout and "Scores as of 2026-11-20 02:00" in said.stdout
    assert len(out.read_text("utf-8-sig").splitlines()) == 4
    assert '"tiers": {' in retention("segments", "--date", "2026-11-21", "--json").stdout
    assert "none of zh-CN, en" in retention("segments", "--locale", "fr").stderr
    assert "no day and no moment" in retention("segments", "--date", "soon").stderr
