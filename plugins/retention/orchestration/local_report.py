"""What the launcher shows: one line a step, with its seconds; a spinner meanwhile where somebody watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


class Report:
    """Writes to the terminal, or plain lines to whatever stands in its place."""

    def __init__(self, console: Console | None = None):
        self._console = console or Console(highlight=False, soft_wrap=True)

    def say(self, *lines: str) -> None:
        for line in lines or ("",):
            self._console.print(escape(line))

    def warn(self, line: str) -> None:
        self._console.print(f"[yellow]![/] {escape(line)}")

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """A step that takes time. Yields a function that tells how far it is, for the end of its line."""
        began, told = time.monotonic(), [""]

        def line() -> str:
            return f"{title}{': ' if told[0] else ''}{told[0]}"

        with self._console.status(escape(title)) as status:

            def tell(detail: str) -> None:
                told[0] = detail
                status.update(escape(line()))

            yield tell
        self._console.print(f"[green]✓[/] {escape(line())} [dim]({time.monotonic() - began:.1f} s)[/]")
