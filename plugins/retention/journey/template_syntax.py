"""Jinja as templates may use it: variables, {% if %} and a few filters. Owns the sandbox and the check of a text.

Templates are words, not programs: whatever could fail or run on while a message is rendered is refused when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.sandbox import SandboxedEnvironment

from retention.journey.notation import did_you_mean, list_options, show
from retention.journey.variables import VARIABLES

FILTERS = ("capitalize", "default", "lower", "title", "trim", "upper")
"""The filters templates may use; none of them can fail on a variable."""

_HOW = "Write a variable as {{ customer.name }}."
_SINGLE_BRACES = re.compile(r"(?<![{\w])\{\s*((?:customer|coupon|shop|links)\.\w+)\s*\}(?!\})")
_HALF_CLOSED = re.compile(r"\{\{[^{}]*\}(?!\})")
_WIDE_BRACES = re.compile("[｛｝]")
_CURLY_QUOTE = re.compile(r"\{[{%][^{}]*?([“”‘’])")
_LONE_EQUALS = re.compile(r"\{%-?\s*(?:el)?if\b[^{}%]*?[^=!<>\s]\s*=(?!=)")


@dataclass
class Wording:
    """What a text of a template says to Jinja: mistakes as (line, what, remedy), variables as (line, name)."""

    mistakes: list[tuple[int, str, str]] = field(default_factory=list)
    variables: list[tuple[int, str]] = field(default_factory=list)


def make_environment(*, is_html: bool) -> SandboxedEnvironment:
    """The environment templates are checked and rendered in: sandboxed, strict, escaping values in HTML."""
    return SandboxedEnvironment(
        undefined=StrictUndefined, autoescape=is_html, trim_blocks=True, lstrip_blocks=True, cache_size=0
    )


_PARSER = make_environment(is_html=False)


def read_wording(text: str, first_line: int = 1) -> Wording:
    """Check a text. Never raises; `first_line` is the line of its file on which it begins."""
    wording = Wording()
    for found in _SINGLE_BRACES.finditer(text):
        line = first_line + text.count("\n", 0, found.start())
        remedy = f"Write {{{{ {found[1]} }}}}."
        what = f"{show(found[0])} has single braces and would be sent as it stands."
        wording.mistakes.append((line, what, remedy))
    for found in _WIDE_BRACES.finditer(text):
        line = first_line + text.count("\n", 0, found.start())
        wording.mistakes.append((line, f"{found[0]} is a full-width brace (Chinese keyboard).", _HOW))
    for found in _HALF_CLOSED.finditer(text):
        line = first_line + text.count("\n", 0, found.start())
        wording.mistakes.append((line, f"{show(found[0])} is closed by one brace only.", _HOW))
    for found in _CURLY_QUOTE.finditer(text):
        line = first_line + text.count("\n", 0, found.start())
        wording.mistakes.append((line, f"a curly quotation mark {found[1]} stands in the braces.", 'Type a straight one: ".'))
    for found in _LONE_EQUALS.finditer(text):
        line = first_line + text.count("\n", 0, found.start())
        wording.mistakes.append((line, "one = compares nothing.", 'Write two: {% if customer.tier == "gold" %}.'))
    if wording.mistakes:
        return wording
    try:
        tree = _PARSER.parse(text)
    except TemplateSyntaxError as error:
        what, remedy = _name_mistake(str(error.message))
        # Jinja notices at the end of the text that an {% if %} is open; the mistake is where it began.
        line = _find_open_if(text) if "never closed" in what and "{% if" in what else error.lineno
        wording.mistakes.append((first_line + line - 1, what, remedy))
        return wording
    # Jinja's parser fails in its own ways on monstrous input: brackets too deep, a number too long.
    except Exception:
        wording.mistakes.append((first_line, "this text can't be read as a template.", _HOW))
        return wording
    for node in tree.body:
        for line, what, remedy in _check(node, wording, first_line - 1):
            wording.mistakes.append((line, what, remedy))
    return wording


def _find_open_if(text: str) -> int:
    """The line of the last {% if %} without its {% endif %}."""
    opened = [1]
    for tag in re.finditer(r"\{%-?\s*(if|endif)\b", text):
        if tag[1] == "if":
            opened.append(text.count("\n", 0, tag.start()) + 1)
        elif len(opened) > 1:
            opened.pop()
    return opened[-1]


def _name_mistake(message: str) -> tuple[str, str]:
    if "end of template" in message or "looking for the following tags: 'elif'" in message:
        if "endif" in message:
            return "an {% if %} is never closed.", "Write {% endif %} after it."
        return "a {{ or {% is never closed.", _HOW
    if "Missing end of comment" in message:
        return "a {# is never closed.", "Write #} after it, or a space between { and #."
    unknown = re.search(r"unknown tag '([^']*)'", message)
    if unknown:
        if unknown[1] in ("endif", "else", "elif"):
            return f"{{% {unknown[1]} %}} has no {{% if %}} before it.", "Delete it, or write the {% if %}."
        remedy = "Only {% if %}, {% elif %}, {% else %} and {% endif %} are used here."
        return f"unknown tag {show(unknown[1])}.", remedy
    return "the braces here are not written correctly.", _HOW


def _check(node: nodes.Node, wording: Wording, offset: int) -> Iterator[tuple[int, str, str]]:
    """Mistakes at and below a node; notes the variables it finds."""
    line = node.lineno + offset
    if isinstance(node, nodes.Getattr | nodes.Name):
        name = _dotted(node)
        if name is None:
            yield line, "this is more than a variable.", _HOW
        elif name in VARIABLES:
            wording.variables.append((line, name))
        else:
            yield line, f"unknown variable {show(name)}.", _meant(name)
    elif isinstance(node, nodes.Output | nodes.If | nodes.Not | nodes.And | nodes.Or):
        for child in node.iter_child_nodes():
            yield from _check(child, wording, offset)
    elif isinstance(node, nodes.Filter):
        yield from _check_filter(node, wording, offset)
    elif isinstance(node, nodes.Compare):
        yield from _check_comparison(node, wording, offset)
    elif isinstance(node, nodes.Getitem):
        yield line, "a variable is written with square brackets.", _HOW
    elif not isinstance(node, nodes.TemplateData | nodes.Const):
        what = type(node).__name__.lower()
        yield line, f"templates can't use {show(what)}.", "Use variables, {% if %} and plain words."


def _check_filter(node: nodes.Filter, wording: Wording, offset: int) -> Iterator[tuple[int, str, str]]:
    line = node.lineno + offset
    if node.name not in FILTERS:
        near = did_you_mean(node.name, FILTERS)
        yield line, f"unknown filter {show(node.name)}.", f"{near} {list_options('Filters', FILTERS)}".strip()
    wants = (1, 2) if node.name == "default" else (0,)
    if node.name in FILTERS and (
        len(node.args) not in wants or node.kwargs or node.dyn_args or node.dyn_kwargs
        or not all(isinstance(arg, nodes.Const) for arg in node.args)
    ):  # fmt: skip
        arguments = '("friend", true)' if wants[0] else ""
        example = f"{{{{ customer.name | {node.name}{arguments} }}}}"
        yield line, f"the filter {show(node.name)} is not used like this.", f"Write {example}."
    target = _dotted(node.node) if node.node else None
    if target and target.startswith("links.") and node.name != "default":
        what = f"{show(target)} is signed letter by letter: the filter {show(node.name)} would break it."
        yield line, what, f"Write {{{{ {target} }}}}."
    if node.node is None:
        yield line, "a filter stands without a variable.", _HOW
    else:
        yield from _check(node.node, wording, offset)


def _check_comparison(node: nodes.Compare, wording: Wording, offset: int) -> Iterator[tuple[int, str, str]]:
    line = node.lineno + offset
    yield from _check(node.expr, wording, offset)
    kind = VARIABLES[name].kind if (name := _dotted(node.expr)) in VARIABLES else None
    for operand in node.ops:
        value = operand.expr.value if isinstance(operand.expr, nodes.Const) else None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = is_number if kind == "number" else isinstance(value, str) and operand.op in ("eq", "ne")
        if kind and not fits:
            example = "{% if coupon.value >= 20 %}" if kind == "number" else '{% if customer.name == "..." %}'
            right = f"a number: {example}" if kind == "number" else f"words, as equal or not: {example}"
            yield line, f"{show(name)} is compared with something of another kind.", f"Compare it with {right}."
        options = VARIABLES[name].options if kind else ()
        if options and isinstance(value, str) and value and value not in options:
            what = f"{show(name)} is never {show(value)}: these words would reach nobody."
            yield line, what, f"{did_you_mean(value, options)} {list_options('Values', options)}".strip()
    if kind is None and name is None:
        yield line, "this comparison does not begin with a variable.", "Write {% if coupon.value >= 20 %}."


def _dotted(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        owner = _dotted(node.node)
        return f"{owner}.{node.attr}" if owner else None
    return None


def _meant(name: str) -> str:
    by_end = {full.split(".")[-1]: full for full in reversed(VARIABLES)}
    near = f'Did you mean "{by_end[name]}"?' if name in by_end else did_you_mean(name, VARIABLES)
    return f"{near} {list_options('Variables', VARIABLES)}".strip()
