"""Uploaded codes: what is taken, what is told with its line, and the same file again."""

import json
from zoneinfo import ZoneInfo

import pytest

from retention.errors import RetentionError
from retention.intake.coupon_codes import import_codes
from tests.world import shanghai

NOW = shanghai("2026-12-01 06:00")
SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture
def upload(world, tmp_path):
    def upload(written, pool="summer", **options):
        path = tmp_path / "codes.csv"
        path.write_bytes(written if isinstance(written, bytes) else written.encode())
        with world.engine.begin() as conn:
            return import_codes(conn, path, pool, zone=SHANGHAI, actor="ada", now=NOW, **options)

    return upload


def codes(world):
    return world.rows("select code from pool_codes order by code_id")


def test_one_line_parted_otherwise_is_one_mistake(upload, world):
    done = upload("code,valid_until\nAAAA-1,2026-12-31\nBBBB-2;2026-12-31\n")
    assert codes(world) == [("AAAA-1",)]
    assert done.refused == [(3, "has a ; in it, which is not what parts the columns here. Part them alike in every line.")]


@pytest.mark.parametrize(
    "written",
    ["AAAA-1\nBBBB-2\n", "AAAA-1\r\nBBBB-2\r\n", "\ufeffAAAA-1\nBBBB-2", "code\nAAAA-1\n\nBBBB-2\n", "券码,有效期\nAAAA-1,\nBBBB-2,2026-12-31\n",
     "Coupon Code;valid_until\nAAAA-1;2026/12/31\nBBBB-2;\n", "AAAA-1\t2026年12月31日\nBBBB-2\n", "券码,有效期\nAAAA-1,2026-12-31\nBBBB-2,".encode("gb18030"),
     "AAAA-1\nBBBB-2\n".encode("utf-16"), "valid_until,voucher code\n,AAAA-1\n2026-12-31,BBBB-2\n", '"AAAA-1"\n  BBBB-2  \n'],
)  # fmt: skip
def test_a_file_of_codes(upload, world, written):
    done = upload(written)
    assert (done.taken, done.lines, done.refused) == (2, 2, [])
    assert codes(world) == [("AAAA-1",), ("BBBB-2",)]


def test_days_end_in_shanghai(upload, world):
    upload("code,valid_until\nAAAA,2026-12-31\nBBBB,2026-12-31T12:00+00:00\n")
    assert world.rows("select valid_until from pool_codes order by 1") == [
        (shanghai("2026-12-31 20:00"),), (shanghai("2026-12-31 23:59").replace(second=59),),
    ]  # fmt: skip


def test_every_mistake_has_its_line(upload, world):
    upload("OTHR-1\n", pool="winter")
    upload("HERE-1\n")
    world.customer("c")
    world.order("o", "c", NOW, coupon="used 1")
    done = upload(
        "code,valid_until\nGOOD-1\nBAD CODE\nＡＢＣＤ\nX-\nABC\n" + "A" * 41 + "\ngood1\nGOOD-1,2026-13-01\nFINE-1,2026-11-30\nOTHR-I\nhere-1\nUSED-1\n,2027-01-01\n"
    )  # fmt: skip
    assert dict(done.refused) == {
        3: "has a character that no code may have (a space). Letters a-z, digits and single dashes are fine.",
        4: "has a character that no code may have (U+FF21). Letters a-z, digits and single dashes are fine.",
        5: "begins or ends with a dash, or has two in a row.",
        6: "has 3 characters. A code has 4 to 40.",
        7: "has 41 characters. A code has 4 to 40.",
        8: "is the code of line 2 again.",
        9: "has a last day that is none. Write it as 2026-12-31.",
        10: "was over before it came. Leave it out.",
        11: "is in another pool already.",
        13: "stands on an order already: it was used.",
        14: "has no code.",
    }
    assert (done.taken, done.there, done.lines) == (1, 1, 13)


def test_the_same_file_again_changes_nothing(upload, world):
    upload("AAAA\nBBBB\n")
    again = upload("AAAA\nBBBB\nCCCC\n")
    assert (again.taken, again.there, again.refused) == (1, 2, [])
    assert len(codes(world)) == 3


def test_a_trial_keeps_nothing(upload, world):
    assert upload("AAAA\n", is_trial=True).taken == 1
    assert codes(world) == [] and world.count("audit_log") == 0


def test_the_audit_log_has_counts_and_no_code(upload, world):
    upload("SECRET-1\nSECRET-1\n")
    ((detail,),) = world.rows("select detail from audit_log where action = 'import_coupons'")
    assert detail == {"pool": "summer", "taken": 1, "refused": 1}


@pytest.mark.parametrize("bad", ["Summer 2026", "", "1st", "夏"])
def test_a_name_that_no_pool_can_have(upload, bad):
    with pytest.raises(RetentionError, match="--pool: "):
        upload("AAAA\n", pool=bad)


@pytest.mark.parametrize(
    ("written", "said"),
    [(b"PK\x03\x04xx", "this is no text"), ("code,discount\nAAAA,20\n", "no column is called valid_until"),
     ("valid_until,other\n2027-01-01,x\n", "no column is called code"), ("code,valid_until\n\n", "there is no code in it")],
)
def test_a_file_that_is_none(upload, written, said):
    with pytest.raises(RetentionError, match=said):
        upload(written)


def test_at_the_command_line(retention, world, tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("AAAA\nAA AA\nBBBB\n")
    done = retention("coupons", "import", path, "--pool", "summer")
    assert done.returncode == 0 and "pool summer: 2 of 3 codes taken, 1 refused" in done.stdout
    assert f"{path}:2: has a character" in done.stdout.replace("\n", "")
    assert "AA AA" not in done.stdout
    shown = json.loads(retention("coupons", "pools", "--json").stdout)["pools"]
    assert [(it["pool"], it["left"], it["days"]) for it in shown] == [("summer", 2, None)]
    assert "summer" in retention("coupons", "pools").stdout
    matched = retention("coupons", "match")
    assert matched.returncode == 0 and "0 coupons looked at" in matched.stdout
    assert retention("coupons", "import", tmp_path / "no.csv", "--pool", "summer").returncode == 1
