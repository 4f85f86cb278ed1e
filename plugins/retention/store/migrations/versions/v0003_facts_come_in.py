"""Facts come in: loads and what they rejected, corrections with their history, quality of data, merged customers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

# ISO 4217; without a pattern, which would cost a third of the time of a big load.
CURRENCY = "length(currency) = 3 and currency collate \"C\" between 'AAA' and 'ZZZ'"

INSTANT = postgresql.TIMESTAMP(timezone=True)

REASONS = (
    "'holdout', 'stopped', 'retired', 'merged', 'exited', 'goal_met', 'expired', 'not_needed', 'suppressed', "
    "'no_consent', 'no_address', 'duplicate_address', 'frequency_cap', 'no_coupon'"
)

CUSTOMER = (
    "customer_id, name, email, phone, birth_calendar, birth_year, birth_month, birth_day, birth_leap_month, "
    "locale, timezone, country, attributes, occurred_at, recorded_at, derived"
)
ORDER = "order_id, customer_id, occurred_at, recorded_at, amount, currency"
ITEM = "order_id, line, product_id, category, quantity, amount, currency, coupon_code, recorded_at"


def _keeper(table: str, history: str, columns: str) -> str:
    """What was replaced stays readable "as known then". A correction that claims an earlier moment of recording than the
    row it replaces has no period of its own and leaves no history."""
    old = ", ".join(f"old.{column.strip()}" for column in columns.split(","))
    return f"""
    create or replace function keep_{history}() returns trigger language plpgsql as $$
    begin
        if new.recorded_at > old.recorded_at then
            insert into {history} ({columns}, replaced_at) values ({old}, new.recorded_at);
        end if;
        return new;
    end $$;
    drop trigger if exists keep_history on {table};
    create trigger keep_history before update on {table} for each row execute function keep_{history}();
    """


# A customer is shown as last known, from the moment on at which the first state that was known began: who corrects a
# birthday today says that it was wrong before, too. A derived country or time zone is shown like a given one. Of orders and lines the state that was known is shown.
AS_OF = f"""
create or replace view as_of.customers as
    select {CUSTOMER} from public.customers c
    where recorded_at <= as_of.known()
      and (occurred_at <= as_of.moment()
           or exists (select from public.customer_history h
                      where h.customer_id = c.customer_id and h.occurred_at <= as_of.moment()))
    union all
    select {CUSTOMER} from public.customer_history c
    where recorded_at <= as_of.known() and replaced_at > as_of.known()
      and (occurred_at <= as_of.moment()
           or exists (select from public.customer_history h
                      where h.customer_id = c.customer_id and h.occurred_at <= as_of.moment()
                        and h.replaced_at <= c.recorded_at));

create view as_of.orders as
    select o.order_id, o.customer_id, o.occurred_at, o.recorded_at,
           coalesce((select s.status from as_of.order_status s where s.order_id = o.order_id
                     order by s.occurred_at desc,
                              array_position(array['placed', 'paid', 'delivered', 'cancelled', 'refunded'], s.status) desc
                     limit 1), 'placed') as status,
           o.amount, o.currency
    from (
        select {ORDER} from public.orders
        where occurred_at <= as_of.moment() and recorded_at <= as_of.known()
        union all
        select {ORDER} from public.order_history
        where occurred_at <= as_of.moment() and recorded_at <= as_of.known() and replaced_at > as_of.known()
    ) as o;

create view as_of.order_items as
    select i.order_id, o.customer_id, i.line, i.category, i.quantity, i.amount, i.currency, i.coupon_code, o.occurred_at,
           i.product_id
    from (
        select {ITEM} from public.order_items where recorded_at <= as_of.known()
        union all
        select {ITEM} from public.order_item_history
        where recorded_at <= as_of.known() and replaced_at > as_of.known()
    ) as i
    join as_of.orders o using (order_id);

create view as_of.products as
    select product_id, name, category, price, currency, attributes from public.products
    where occurred_at <= as_of.moment() and recorded_at <= as_of.known();

do $$
begin
    if exists (select from pg_roles where rolname = 'retention_reader') then
        grant select on all tables in schema as_of to retention_reader;
    end if;
end $$;
"""


def upgrade() -> None:
    op.execute("drop view as_of.order_items; drop view as_of.orders;")
    for table in ("customers", "customer_history"):
        derived = sa.Column("derived", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False)
        op.add_column(table, derived)
        op.add_column(table, sa.Column("source", sa.Text(), nullable=True))
    _change_orders()
    _make_tables()
    # A merge gives these to another customer.
    op.create_index("ix_coupons_customer_id", "coupons", ["customer_id"])
    op.create_index("ix_entry_refusals_customer_id", "entry_refusals", ["customer_id"])
    op.drop_constraint("ck_messages_reason_known", "messages")
    op.create_check_constraint("reason_known", "messages", f"reason in ({REASONS})")
    op.execute("drop trigger keep_history on customers; drop function keep_customer_history()")
    op.execute(_keeper("customers", "customer_history", f"{CUSTOMER}, source"))
    op.execute(_keeper("orders", "order_history", f"{ORDER}, source"))
    op.execute(_keeper("order_items", "order_item_history", ITEM))
    op.execute(AS_OF)


def _change_orders() -> None:
    op.drop_constraint("fk_order_status_order_id", "order_status")
    op.drop_constraint("fk_order_items_order_id", "order_items")
    op.add_column("orders", sa.Column("amount", sa.Numeric(18, 4), nullable=True))
    op.add_column("orders", sa.Column("currency", sa.Text(), nullable=True))
    op.add_column("orders", sa.Column("source", sa.Text(), nullable=True))
    op.create_check_constraint("currency_iso4217", "orders", CURRENCY)
    op.drop_constraint("ck_order_items_currency_iso4217", "order_items")
    op.create_check_constraint("currency_iso4217", "order_items", CURRENCY)
    op.create_check_constraint("amount_whole", "orders", "(amount is null) = (currency is null)")
    op.add_column("order_items", sa.Column("product_id", sa.Text(), nullable=True))
    op.add_column("order_items", sa.Column("recorded_at", INSTANT, nullable=True))
    op.execute("update order_items i set recorded_at = o.recorded_at from orders o where o.order_id = i.order_id")
    op.alter_column("order_items", "recorded_at", nullable=False)
    op.alter_column("order_items", "amount", type_=sa.Numeric(18, 4))
    op.alter_column("order_items", "quantity", type_=sa.Numeric(14, 3))
    op.alter_column("order_items", "category", nullable=True)
    comments = {
        "orders": "Fact: an order, at the moment it was placed; amount is its total where the source gives one, else its "
        "items add up. What became of it is in order_status. A trigger moves what is replaced to order_history.",
        "order_status": "Fact: the history of an order's status; append-only. An order without one counts as placed.",
        "order_items": "Fact: what was bought. amount is the line's total in its currency, after discounts. A trigger "
        "moves what is replaced to order_item_history.",
    }
    for table, comment in comments.items():
        op.create_table_comment(table, comment)
    op.create_table(
        "order_history",
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(18, 4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.Column("replaced_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("order_id", "replaced_at", name=op.f("pk_order_history")),
        comment="Fact: earlier states of an order, valid from recorded_at until replaced_at (exclusive).",
    )
    op.create_index("ix_order_history_customer_id", "order_history", ["customer_id"])
    op.create_table(
        "order_item_history",
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Numeric(14, 3), nullable=False),
        sa.Column("amount", sa.Numeric(18, 4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("coupon_code", sa.Text(), nullable=True),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.Column("replaced_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("order_id", "line", "replaced_at", name=op.f("pk_order_item_history")),
        comment="Fact: earlier states of an order's line, valid from recorded_at until replaced_at (exclusive).",
    )


def _make_tables() -> None:
    empty = sa.text("'{}'::jsonb")
    op.create_table(
        "products",
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("price", sa.Numeric(18, 4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default=empty, nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.CheckConstraint(CURRENCY, name=op.f("ck_products_currency_iso4217")),
        sa.PrimaryKeyConstraint("product_id", name=op.f("pk_products")),
        comment="Fact: what is for sale, as last learned; no history is kept. recorded_at is when it was first learned.",
    )
    op.create_table(
        "imports",
        sa.Column("import_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("mapping", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("is_history", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.Column("rows_read", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_rejected", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cells_left_out", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("summary", postgresql.JSONB(), server_default=empty, nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state in ('running', 'done', 'failed', 'interrupted')", name=op.f("ck_imports_state_known")
        ),
        sa.PrimaryKeyConstraint("import_id", name=op.f("pk_imports")),
        comment="Every load of a file or from a database: what came in, what did not. Its facts and its end are one "
        "transaction.",
    )
    op.create_index("ix_imports_started_at", "imports", ["started_at"])
    op.create_table(
        "rejected_rows",
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("column", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.CheckConstraint("level in ('row', 'cell')", name=op.f("ck_rejected_rows_level_known")),
        sa.ForeignKeyConstraint(["import_id"], ["imports.import_id"], name=op.f("fk_rejected_rows_import_id")),
        comment="What a load did not take: a whole row, or one cell of a row that came in without it. Kept as it was read.",
    )
    op.create_index("ix_rejected_rows_import_id_line", "rejected_rows", ["import_id", "line"])
    op.create_table(
        "sync_marks",
        sa.Column("mapping", sa.Text(), nullable=False),
        sa.Column("watermark", sa.Text(), nullable=False),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["imports.import_id"], name=op.f("fk_sync_marks_import_id")),
        sa.PrimaryKeyConstraint("mapping", name=op.f("pk_sync_marks")),
        comment="How far each synchronised query was read; moved in the transaction that loads the rows.",
    )
    op.create_table(
        "quality_checks",
        sa.Column("check_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("check", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("found", sa.Numeric(18, 4), nullable=True),
        sa.Column("limit", sa.Numeric(18, 4), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("checked_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "verdict in ('good', 'warn', 'stop', 'too_few')", name=op.f("ck_quality_checks_verdict_known")
        ),
        sa.ForeignKeyConstraint(["import_id"], ["imports.import_id"], name=op.f("fk_quality_checks_import_id")),
        sa.PrimaryKeyConstraint("check_id", name=op.f("pk_quality_checks")),
        sa.UniqueConstraint("import_id", "check", name=op.f("uq_quality_checks_import_id_check")),
        comment="What was found when the facts were looked over after a load, beside the limit that applied.",
    )
    op.create_table(
        "data_holds",
        sa.Column("hold_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("check", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_at", INSTANT, nullable=False),
        sa.Column("lifted_at", INSTANT, nullable=True),
        sa.Column("lifted_by", sa.Text(), nullable=True),
        sa.Column("lift_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["import_id"], ["imports.import_id"], name=op.f("fk_data_holds_import_id")),
        sa.PrimaryKeyConstraint("hold_id", name=op.f("pk_data_holds")),
        comment="While a row stands (lifted_at is null) nobody enters, nothing is planned and nothing is handed over: the "
        "data is not fit. Lifted by the next good load of the source, or by a person.",
    )
    op.create_index(
        "uq_data_holds_standing", "data_holds", ["check", "source"], unique=True,
        postgresql_where=sa.text("lifted_at is null"),
    )  # fmt: skip
    op.create_table(
        "customer_merges",
        sa.Column("merge_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kept_id", sa.Text(), nullable=False),
        sa.Column("merged_id", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=False),
        sa.Column("merged_at", INSTANT, nullable=False),
        sa.Column("undone_at", INSTANT, nullable=True),
        sa.CheckConstraint("kept_id <> merged_id", name=op.f("ck_customer_merges_two_customers")),
        sa.PrimaryKeyConstraint("merge_id", name=op.f("pk_customer_merges")),
        comment="One person under two ids: what belonged to merged_id goes on under kept_id until undone_at.",
    )
    op.create_index(
        "uq_customer_merges_standing", "customer_merges", ["merged_id"], unique=True,
        postgresql_where=sa.text("undone_at is null"),
    )  # fmt: skip
    op.create_table(
        "customer_merge_rows",
        sa.Column("merge_id", sa.BigInteger(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("row_key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merge_id"], ["customer_merges.merge_id"], name=op.f("fk_customer_merge_rows_merge_id")
        ),
        sa.PrimaryKeyConstraint("merge_id", "table_name", "row_key", name=op.f("pk_customer_merge_rows")),
        comment="Which rows a merge gave to the kept customer (or added), so that it can be undone.",
    )
