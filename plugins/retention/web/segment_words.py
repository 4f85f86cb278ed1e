"""The words of the page Segments, in Chinese and English. What stands in braces is filled in."""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES: Mapping[str, str] = {"zh-CN": "中文", "en": "English"}
"""The languages of the page, each by its own name."""

WORDS: Mapping[str, Mapping[str, str]] = {
    "zh-CN": {
        "title": "客户分层",
        "home": "全部旅程",
        "as_of": "评分时点：{moment}（{zone}），共 {people} 位客户",
        "stale": "这已是 {date} 当天能用的最新评分，距当时 {days} 天。请查看 DAG scoring 是否正常运行。",
        "none": "这个日期还没有评分。",
        "none_help": "评分由 DAG scoring 每天计算；也可以选择一个更晚的日期。",
        "earlier": "上一个月",
        "later": "下一个月",
        "newest": "最新",
        "scheme_six": "六层",
        "scheme_shares": "按比例四层",
        "spread": "分布",
        "tier": "分层",
        "people": "人数",
        "share": "占比",
        "change": "较 {since}",
        "total": "合计",
        "trend": "近一年的变化",
        "trend_help": "每月同一天各层的人数",
        "moves": "{since} 以来的流动",
        "moves_help": "左侧是当时所在的层，右侧是现在所在的层；带子越宽，人数越多。",
        "from_to": "当时 ＼ 现在",
        "stayed": "未变",
        "outside_before": "当时还不是客户",
        "outside_after": "不再评分",
        "no_moves": "这段时间没有人换层。",
        "too_young": "评分始于这一个月之内，还没有可以比较的时点。",
        "largest": "人数最多的流动",
        "then": "当时",
        "now": "现在",
        "care": "各层需要什么",
        "core_need": "核心需求",
        "suggested": "建议关怀",
        "file": "每位客户的分层、依据和建议：",
        "edit": "名称和建议写在 include/segments.yaml，界线写在 include/scores.yaml。",
    },
    "en": {
        "title": "Segments",
        "home": "All journeys",
        "as_of": "Scores as of {moment} ({zone}), {people} customers",
        "stale": "These are the newest scores there were on {date}, {days} days old by then. Look whether the DAG scoring runs.",
        "none": "There are no scores as of this date.",
        "none_help": "The DAG scoring works them out every day; or choose a later date.",
        "earlier": "a month earlier",
        "later": "a month later",
        "newest": "newest",
        "scheme_six": "six tiers",
        "scheme_shares": "four by shares",
        "spread": "Distribution",
        "tier": "tier",
        "people": "people",
        "share": "share",
        "change": "since {since}",
        "total": "all",
        "trend": "The last year",
        "trend_help": "people in each tier, on the same day of each month",
        "moves": "Who moved since {since}",
        "moves_help": "On the left the tier they were in then, on the right the one they are in now; the wider, the more people.",
        "from_to": "then ＼ now",
        "stayed": "stayed",
        "outside_before": "not there yet",
        "outside_after": "no longer scored",
        "no_moves": "Nobody changed tier in this time.",
        "too_young": "Scores began within this month: there is nothing to compare with yet.",
        "largest": "The largest moves",
        "then": "then",
        "now": "now",
        "care": "What each tier needs",
        "core_need": "core need",
        "suggested": "suggested care",
        "file": "Everybody's tier, its basis and what to do: ",
        "edit": "Names and texts stand in include/segments.yaml, cut points in include/scores.yaml.",
    },
}


def choose_language(asked: str | None, accepted: str) -> str:
    """The language asked for, else the one the browser likes best, else English."""
    if asked in LANGUAGES:
        return asked
    first = accepted.split(",")[0].strip().lower()
    return "zh-CN" if first.startswith("zh") else "en"


def say_short(number: int, language: str) -> str:
    """A number for an axis: 2,500, then 250k and 2.5M, or 25万."""
    units = ((10**8, "亿"), (10**4, "万")) if language == "zh-CN" else ((10**6, "M"), (10**4, "k"))
    for least, unit in units:
        if number >= least:
            return f"{number / (10**3 if unit == 'k' else least):g}{unit}"
    return f"{number:,}"
