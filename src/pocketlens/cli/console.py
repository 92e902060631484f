"""What every verb shares: where text goes, how progress looks, how a JSON result leaves."""

import json
import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Console:
    """Text for people and JSON for programs.

    With `as_json` the one JSON object is all that stdout carries, and people's text goes to stderr.

    Args:
        as_json: whether `--json` was given.
    """

    def __init__(self, as_json: bool) -> None:
        from rich.console import Console as Rich

        self.as_json = as_json
        self.rich = Rich(stderr=as_json, highlight=False, soft_wrap=True)
        self.progress = Bars()

    def say(self, *parts: Any) -> None:
        """Show text or a rich renderable."""
        self.rich.print(*parts)

    def finish(self, result: dict[str, Any]) -> None:
        """Print the one JSON object, where it was asked for."""
        if self.as_json:
            json.dump(plain(result), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
            sys.stdout.write("\n")


class Bars:
    """Progress bars on stderr, with a time left; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._note = lambda text: None

    def note(self, text: str) -> None:
        """Show `text` behind the bar that moves."""
        self._note(text)

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Yield `items` under a bar of their own."""
        if not sys.stderr.isatty():
            yield from items
            return
        from rich.console import Console as Rich
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        columns = (
            TextColumn("{task.description:>18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )

        class Noted(Progress):
            """A bar with a line under it."""

            note = ""

            def get_renderables(self) -> Iterable[Any]:
                yield self.make_tasks_table(self.tasks)
                if self.note:
                    yield Text(f"{'':>18} {self.note}", style="dim")

        def show(text: str) -> None:
            bars.note = text

        with Noted(*columns, console=Rich(stderr=True), transient=True) as bars:
            task = bars.add_task(description, total=total)
            self._note = show
            for item in items:
                yield item
                bars.advance(task)


def plain(value: Any) -> Any:
    """JSON-able data: keys become strings, tuples lists, and what JSON cannot say (NaN, infinity) null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)
