"""What tables are made of: the metadata, instants, ids, closed words. Knows no table."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    MetaData,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def instant(name: str, nullable: bool = False) -> Column:
    """A moment, with its zone."""
    return Column(name, TIMESTAMP(timezone=True), nullable=nullable)


def identity(name: str) -> Column:
    """A number of our own, the primary key."""
    return Column(name, BigInteger, Identity(always=True), primary_key=True)


def one_of(column: str, words: tuple[str, ...]) -> CheckConstraint:
    """Closed words for a column."""
    listed = ", ".join(f"'{w}'" for w in words)
    return CheckConstraint(f"{column} in ({listed})", name=f"{column}_known")


def currency_check() -> CheckConstraint:
    """ISO 4217; without a pattern, which would cost a third of the time of a big load."""
    return CheckConstraint(
        "length(currency) = 3 and currency collate \"C\" between 'AAA' and 'ZZZ'", name="currency_iso4217"
    )
