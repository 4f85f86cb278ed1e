"""The registry of personal data names every table and every column that could hold any."""

from sqlalchemy import LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from retention.journey.policy import Policy
from retention.store.personal import ALTER, DELETE, KEEP, PLACES
from retention.store.tables import metadata


def test_every_table_is_named_once():
    assert sorted(place.table for place in PLACES) == sorted(metadata.tables)


def test_every_column_of_text_is_named():
    for place in PLACES:
        columns = {
            column.name
            for column in metadata.tables[place.table].columns
            if isinstance(column.type, (Text, JSONB, LargeBinary))
            or (isinstance(column.type, ARRAY) and isinstance(column.type.item_type, Text))
        }
        named = [*place.renamed, *place.blanked, *place.reworded, *place.plain]
        assert len(named) == len(set(named)), place.table
        if place.erasing == DELETE:
            assert not named, f"{place.table}: its rows go, with all columns"
        else:
            assert columns == set(named), f"{place.table}: {columns ^ set(named)}"


def test_what_holds_nothing_is_kept_and_what_holds_something_is_not():
    for place in PLACES:
        changed = place.renamed or place.blanked or place.reworded
        assert bool(changed) == (place.erasing == ALTER)
        assert (place.erasing == KEEP) == (place.tie == "nobody")


def test_periods_are_those_of_the_policy():
    known = {*Policy().retention, "contact_slots"}
    assert {place.period for place in PLACES if place.period} <= known
