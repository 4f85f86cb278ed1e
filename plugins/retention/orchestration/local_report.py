"""What the launcher shows: one line a step, with its seconds; a spinner meanwhile where somebody watches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


class Report:
    """Writes to the terminal, or plain lines to whatever stands in its place. A terminal that is gone is no error."""

    def __init__(self, console: Console | None = None):
        self._console = console or Console(highlight=False, soft_wrap=True)

    def say(self, *lines: str) -> None:
        for line in lines or ("",):
            self._print(escape(line))

    def warn(self, line: str) -> None:
        self._print(f"[yellow]![/] {escape(line)}")

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """A step that takes time. Yields a function that tells how far it is, for the end of its line."""
        began, told = time.monotonic(), [""]
        spinner = self._console.status(escape(title))

        def line() -> str:
            return f"{title}{': ' if told[0] else ''}{told[0]}"

        def tell(detail: str) -> None:
            told[0] = detail
            spinner.update(escape(line()))

        with contextlib.suppress(OSError):
            spinner.start()
        try:
            yield tell
        finally:
            with contextlib.suppress(OSError):
                spinner.stop()
        self._print(f"[green]✓[/] {escape(line())} [dim]({time.monotonic() - began:.1f} s)[/]")

    def _print(self, markup: str) -> None:
        with contextlib.suppress(OSError):
            self._console.print(markup)
