"""A first mapping for a file nobody mapped yet, to be read through and edited. Guesses by names and by what cells look like;
says in comments what it is not sure of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from retention.errors import IntakeError
from retention.intake.convert import FALSE_WORDS, TRUE_WORDS
from retention.intake.mapping import FileFormat
from retention.intake.sources import open_file
from retention.intake.targets import DEFAULTS, TARGETS

LOOKED_AT = 5000
"""Rows that the guess is made from."""

CHANGE_ME = "CHANGE_ME"
"""Stands where a column must be named; a load refuses it by name."""

NAMES: dict[str, tuple[str, ...]] = {
    "customer_id": ("customerid", "customerkey", "customerno", "customernumber", "customer", "custid", "userid", "memberid",
                    "clientid", "contactid", "buyerid", "uid", "openid", "unionid", "客户编号", "客户id", "会员号",
                    "会员编号", "会员id", "用户id", "用户编号", "顾客编号"),
    "name": ("name", "fullname", "customername", "contactname", "displayname", "姓名", "客户姓名", "会员姓名", "昵称"),
    "first_name": ("firstname", "givenname", "名"),
    "last_name": ("lastname", "surname", "familyname", "姓"),
    "email": ("email", "emailaddress", "mail", "邮箱", "电子邮箱", "电子邮件"),
    "phone": ("phone", "phonenumber", "mobile", "mobilephone", "cell", "telephone", "tel", "手机", "手机号", "手机号码",
              "电话", "联系电话"),
    "birthday": ("birthday", "birthdate", "dateofbirth", "dob", "born", "生日", "出生日期", "出生年月"),
    "locale": ("locale", "language", "lang", "语言"),
    "timezone": ("timezone", "tz", "时区"),
    "country": ("country", "countrycode", "国家"),
    "order_id": ("orderid", "ordernumber", "orderno", "order", "ordername", "invoiceno", "invoice", "transactionid",
                 "订单号", "订单编号", "订单id"),
    "occurred_at": ("orderdate", "orderedat", "createdat", "created", "date", "datetime", "timestamp", "time", "occurredat",
                    "eventtime", "purchasedate", "paidat", "invoicedate", "registeredat", "signupdate", "updatedat",
                    "下单时间", "订单时间", "付款时间", "创建时间", "日期", "时间", "注册时间"),
    "amount": ("amount", "total", "totalamount", "ordertotal", "totalprice", "linetotal", "sales", "revenue", "value", "dollarvalue",
               "金额", "总额", "实付金额", "订单金额", "总价"),
    "currency": ("currency", "currencycode", "币种", "货币"),
    "line": ("line", "lineno", "linenumber", "lineitem", "orderlineitem", "行号"),
    "product_id": ("productid", "productkey", "sku", "lineitemsku", "stockcode", "itemid", "商品编号", "商品id", "货号"),
    "category": ("category", "productcategory", "producttype", "department", "类目", "品类", "分类", "商品分类"),
    "quantity": ("quantity", "qty", "orderquantity", "lineitemquantity", "units", "count", "数量", "件数"),
    "coupon_code": ("couponcode", "coupon", "discountcode", "优惠券", "优惠码"),
    "price": ("price", "lineitemprice", "productprice", "unitprice", "listprice", "单价", "价格"),
    "kind": ("event", "eventtype", "eventname", "kind", "type", "action", "事件", "事件类型", "行为"),
    "is_granted": ("optin", "consent", "granted", "subscribed", "isgranted", "是否同意", "订阅"),
    "channel": ("channel", "渠道"),
    "gone": ("deleted", "isdeleted", "isgone", "removed", "已删除", "是否删除"),
    "email_consent": ("emailoptin", "emailconsent", "acceptsmarketing", "acceptsemailmarketing", "newsletter", "邮件订阅"),
    "sms_consent": ("smsoptin", "smsconsent", "acceptssmsmarketing", "短信订阅"),
    "whatsapp_consent": ("whatsappoptin", "whatsappconsent", "acceptswhatsapp"),
    "status": ("status", "orderstatus", "financialstatus", "订单状态", "状态"),
}  # fmt: skip
"""What columns are called, without case, blanks and signs."""

STATES = {
    "placed": "placed", "pending": "placed", "open": "placed", "待付款": "placed", "待支付": "placed",
    "paid": "paid", "processing": "paid", "shipped": "paid", "已支付": "paid", "已付款": "paid", "已发货": "paid",
    "待发货": "paid", "delivered": "delivered", "completed": "delivered", "complete": "delivered", "fulfilled": "delivered",
    "已完成": "delivered", "已签收": "delivered", "已收货": "delivered", "cancelled": "cancelled", "canceled": "cancelled",
    "voided": "cancelled", "已取消": "cancelled", "已关闭": "cancelled", "refunded": "refunded", "returned": "refunded",
    "已退款": "refunded", "已退货": "refunded",
}  # fmt: skip
"""What shops call the states of an order."""

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y.%m.%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y年%m月%d日")
_TIMES = ("", " %H:%M:%S", " %H:%M", "T%H:%M:%S", " %H:%M:%S%.f", "T%H:%M:%S%.f%#z", " %H:%M:%S %z", " %I:%M:%S %p")
_PLAIN = {"%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S%.f",
          "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S %z"}  # fmt: skip
"""Formats that need not be said."""


_CODES = {"locale": r"^[A-Za-z]{2,3}([-_][A-Za-z]{2})?$", "country": r"^[A-Za-z]{2}$"}


@dataclass
class _Sheet:
    """The file as far as it was looked at."""

    frame: pl.DataFrame
    found: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def take(self, name: str) -> str | None:
        column = self.found.get(name)
        if column:
            self.used.add(column)
        return column


def guess_mapping(path: Path, given: str | None = None) -> tuple[str, str, list[str]]:
    """The mapping's id, its text, and what to say about it. `given` is the id or the path asked for, if any.

    Raises IntakeError for a file that can't be read."""
    source = open_file(path, FileFormat())
    chunk = next(iter(source.chunks()), None)
    if chunk is None or not len(chunk.frame):
        raise IntakeError(f"{path}: there are no rows to guess from.")
    sheet = _Sheet(chunk.frame.head(LOOKED_AT))
    _recognise(sheet)
    name = re.sub(r"\W+", "_", Path(given or path.name.split(".")[0]).stem).strip("_").lower()[:60] or "new_mapping"
    table = _choose_table(sheet)
    lines = [
        f"# A first guess from {len(sheet.frame):,} rows of {path.name}: read it through, then try it with --dry-run.",
        f"mapping: {name}",
        f"source: {name}                 # the system the rows come from",
        "timezone: Asia/Shanghai         # of moments written without a zone",
        "country: CN                     # of phone numbers written without one",
        *_write_format(source),
        "",
        "rows:",
        *_write_block(sheet, table),
    ]
    if table == "orders":
        lines += _write_status(sheet)
    consents = list(_write_consents(sheet)) if table in ("customers", "orders") else []
    if table == "orders" and "quantity" in sheet.found and {"product_id", "category", "price"} & set(sheet.found):
        lines += _write_block(sheet, "order_items")
    rest = [column for column in sheet.frame.columns if column not in sheet.used]
    if rest and table in ("customers", "products"):
        lines += ["    attributes:", *(f"      {_word(column)}: {_quote(column)}" for column in rest)]
    lines += consents
    if rest and table not in ("customers", "products"):
        lines += ["", f"# Not used: {', '.join(rest)}"]
    notes = [f"{len(sheet.used)} of {sheet.frame.width} columns recognised, as {table}."]
    if CHANGE_ME in "".join(lines):
        notes.append(f"{CHANGE_ME} stands where a column is needed that was not recognised.")
    return name, "\n".join(lines) + "\n", notes


def _recognise(sheet: _Sheet) -> None:
    """Give each field the column that is called like it, or looks like it."""
    bare = {column: re.sub(r"[^\w\u4e00-\u9fff]|_", "", column).lower() for column in sheet.frame.columns}
    for name, words in NAMES.items():
        for word in words:
            column = next((c for c, plain in bare.items() if plain == word and c not in sheet.found.values()), None)
            if column:
                sheet.found[name] = column
                break
    looks = {"email": r"^[^@\s]+@[^@\s]+\.[^@\s]+$", "phone": r"^\+?[\d\s().-]{9,20}$"}
    for name, pattern in looks.items():
        for column in sheet.frame.columns if name not in sheet.found else ():
            values = sheet.frame[column].drop_nulls()
            is_named = name == "email" or bare[column][-5:] in ("phone", "obile")
            if len(values) and is_named and values.str.contains(pattern).mean() > 0.8:
                sheet.found.setdefault(name, column)
    name = sheet.found.get("name")
    if (
        name
        and "order_id" not in sheet.found
        and sheet.frame[name].drop_nulls().str.contains(r"^#?[A-Z]*-?\d+$").mean() > 0.8
    ):
        # Shops call an order's number its name.
        sheet.found["order_id"] = sheet.found.pop("name")
        people = [c for c, plain in bare.items() if plain in ("billingname", "shippingname")]
        sheet.found |= {"name": people[0]} if people else {}
    if "customer_id" not in sheet.found and "order_id" not in sheet.found and "id" in bare.values():
        sheet.found["customer_id"] = next(c for c, plain in bare.items() if plain == "id")


def _choose_table(sheet: _Sheet) -> str:
    has = set(sheet.found)
    if "order_id" in has and ({"occurred_at", "amount", "customer_id", "email"} & has):
        return "orders"
    if "kind" in has and {"customer_id", "occurred_at"} <= has:
        return "events"
    if "is_granted" in has and "customer_id" in has and not {"name", "first_name", "birthday"} & has:
        return "consents"
    if "product_id" in has and not {"customer_id", "order_id", "email"} & has:
        return "products"
    if "customer_id" in has and "amount" in has and "occurred_at" in has:
        return "orders"
    return "customers"


def _write_format(source) -> Iterator[str]:
    said = []
    if getattr(source, "encoding", "utf-8") not in ("utf-8", "ascii"):
        said.append(f"encoding: {source.encoding}")
    if getattr(source, "delimiter", ",") != ",":
        said.append(f"delimiter: {'tab' if source.delimiter == chr(9) else _quote(source.delimiter)}")
    if said:
        yield f"file: {{{', '.join(said)}}}"


def _write_block(sheet: _Sheet, table: str) -> Iterator[str]:
    yield f"  - into: {table}"
    target = TARGETS[table]
    total = sheet.found.get("amount")
    if table == "orders" and total and sheet.frame[total].null_count():
        yield f"    unless_empty: {_quote(total)}       # further rows of an order do not repeat it"
    for name, about in target.fields.items():
        if table == "order_items" and name == "line":
            continue
        column = sheet.take(name)
        if name == "currency" and column and sheet.frame[column].null_count():
            common = sheet.frame[column].drop_nulls().mode()
            yield f"    currency: {{column: {_quote(column)}, default: {common[0] if len(common) else CHANGE_ME}}}"
        elif name == "currency" and column is None and ({"amount", "price"} & set(sheet.found) or about.is_required):
            yield "    currency: {value: CNY}              # none in the file: is this right?"
        elif name == "name" and column is None and "first_name" in sheet.found:
            both = [sheet.take(part) for part in ("first_name", "last_name")]
            yield f"    name: {{columns: [{', '.join(_quote(c) for c in both if c)}]}}"
        elif name == "customer_id" and column is None and table == "orders" and "email" in sheet.found:
            yield f"    customer_id: {{column: {_quote(sheet.take('email'))}, hash: true}}   # no id in the file: made of the address"
        elif name == "order_id" and column is None:
            yield '    order_id: {column: "#line", prefix: "line-"}     # no number in the file: the line it stands in'
        elif name == "amount" and "price" in sheet.found and table == "order_items":
            yield f"    amount: {{column: {_quote(sheet.take('price'))}, times: {_quote(sheet.found['quantity'])}}}"
        elif column is not None:
            yield from _write_field(sheet, name, about.kind, column)
        elif about.is_required and (table, name) not in DEFAULTS:
            yield f"    {name}: {CHANGE_ME}"
    if table in ("customers", "orders") and (column := sheet.take("gone")):
        yield f"    gone: {{column: {_quote(column)}, default: false}}"


def _write_status(sheet: _Sheet) -> Iterator[str]:
    """How the order stands, as the source says it now; what its words mean as far as they are known."""
    column = sheet.take("status")
    values = sheet.frame[column].drop_nulls().unique().sort().head(20) if column else []
    if len(values):
        words = {word: STATES.get(word.lower(), CHANGE_ME) for word in values}
        listed = ", ".join(f"{_quote(word)}: {state}" for word, state in words.items() if word.lower() != state)
        yield "  - into: order_status"
        yield f"    unless_empty: {_quote(column)}"
        yield (
            f"    order_id: {_quote(sheet.found['order_id'])}"
            if "order_id" in sheet.found
            else f"    order_id: {CHANGE_ME}"
        )
        yield (
            f"    status: {{column: {_quote(column)}, map: {{{listed}}}, otherwise: keep}}"
            if listed
            else (f"    status: {_quote(column)}")
        )


def _write_consents(sheet: _Sheet) -> Iterator[str]:
    for channel in ("email", "sms", "whatsapp"):
        if column := sheet.take(f"{channel}_consent"):
            by = sheet.found.get("customer_id")
            who = _quote(by) if by else f"{{column: {_quote(sheet.found.get('email', CHANGE_ME))}, hash: true}}"
            yield "  - into: consents"
            yield f"    unless_empty: {_quote(column)}"
            yield f"    customer_id: {who}"
            yield f"    channel: {{value: {channel}}}"
            yield from _write_field(sheet, "is_granted", "boolean", column)


def _write_field(sheet: _Sheet, name: str, kind: str, column: str) -> Iterator[str]:
    values = sheet.frame[column].drop_nulls()
    if kind in ("moment", "birthday") and len(values):
        kinds = [day + time for day in _DATES for time in _TIMES] if kind == "moment" else [*_DATES[:-1], "%m-%d"]
        formats, unread, doubt = _find_formats(values, kinds)
        said = [f"{unread:,} of {len(values):,} cells are written otherwise"] if unread else []
        said += [f"or {doubt}: these rows do not tell"] if doubt else []
        note = f"     # {'; '.join(said)}" if said else ""
        if not formats:
            yield f"    {name}: {{column: {_quote(column)}, format: {CHANGE_ME}}}     # no date was recognised in it"
        elif set(formats) <= _PLAIN | ({"%m-%d", "%Y/%m/%d"} if kind == "birthday" else set()):
            yield f"    {name}: {_quote(column)}{note}"
        else:
            listed = ", ".join(f'"{form}"' for form in formats)
            yield f"    {name}: {{column: {_quote(column)}, format: {listed if len(formats) == 1 else f'[{listed}]'}}}{note}"
    elif kind == "boolean" and len(values) and not values.str.to_lowercase().is_in([*TRUE_WORDS, *FALSE_WORDS]).all():
        words = ", ".join(f"{_quote(word)}: {CHANGE_ME}" for word in values.unique().sort().head(6))
        yield f"    {name}: {{column: {_quote(column)}, map: {{{words}}}}}"
    elif kind in ("locale", "country") and not values.str.contains(_CODES[kind]).all():
        words = ", ".join(f"{_quote(word)}: {CHANGE_ME}" for word in values.unique().sort().head(20))
        yield f"    {name}: {{column: {_quote(column)}, map: {{{words}}}, otherwise: keep}}"
    elif kind in ("choice", "event_kind"):
        known = TARGETS["order_status"].fields["status"].choices if name == "status" else ()
        words = [word for word in values.unique().sort().head(20) if word.lower() not in known]
        listed = ", ".join(f"{_quote(word)}: {CHANGE_ME}" for word in words)
        yield (
            f"    {name}: {{column: {_quote(column)}, map: {{{listed}}}}}" if words else f"    {name}: {_quote(column)}"
        )
    else:
        yield f"    {name}: {_quote(column)}"


def _find_formats(values: pl.Series, kinds: list[str]) -> tuple[list[str], int, str | None]:
    """The formats the values are written in, the commonest first; how many no format reads; and a second way to read the
    first one, where day and month can't be told apart."""
    found: list[str] = []
    doubt = None
    rest = values
    while len(rest) and len(found) < 3:
        best = max(kinds, key=lambda form: _count_read(rest, form))
        if not _count_read(rest, best):
            break
        swapped = best.replace("%m/%d", "%d/%m")
        if swapped != best and not found and _count_read(rest, swapped) == _count_read(rest, best):
            doubt = swapped
        rest = rest.filter(~_is_read(rest, best))
        found.append(best)
    return found, len(rest), doubt


def _count_read(values: pl.Series, form: str) -> int:
    return int(_is_read(values, form).sum())


def _is_read(values: pl.Series, form: str) -> pl.Series:
    if form == "%m-%d":
        return values.str.contains(r"^(0?[1-9]|1[0-2])-(0?[1-9]|[12]\d|3[01])$")
    kind = pl.Datetime("us", "UTC") if "z" in form else pl.Datetime("us")
    # A format without a time would read a moment's day and forget the rest.
    is_whole = values.str.contains(":", literal=True) == (":" in form or "%H" in form)
    return values.str.strptime(kind, form, strict=False).is_not_null() & is_whole


def _quote(text: str) -> str:
    if re.fullmatch(r"[A-Za-z\u4e00-\u9fff][\w \u4e00-\u9fff]*", text) and text.lower() not in (
        "yes", "no", "on", "off", "true", "false", "null"
    ):  # fmt: skip
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _word(column: str) -> str:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column)
    return re.sub(r"\W+", "_", apart).strip("_").lower()[:60] or "attribute"
