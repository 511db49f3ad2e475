"""Tables for people: plain text for terminals, Markdown for files."""

from __future__ import annotations

from collections.abc import Sequence

Cells = list[tuple[str, list[str]]]
"""Lines of a table: a name, and what stands beside it."""


def as_text(title: str, heads: Sequence[str], lines: Cells) -> str:
    """A table in plain text."""
    first = max(len(title), *(len(name) for name, _ in lines))
    widths = [max(len(head), *(len(cells[n]) for _, cells in lines)) for n, head in enumerate(heads)]
    rows = [(title, list(heads)), *lines]
    padded = [
        f"{name:{first}}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for name, cells in rows
    ]
    return "\n".join(line.rstrip() for line in padded)


def as_markdown(title: str, heads: Sequence[str], lines: Cells) -> str:
    """The same for Markdown."""
    rows = [("", list(heads)), ("---", ["---:"] * len(heads)), *lines]
    return "\n".join([f"**{title}**", "", *("| " + " | ".join([name, *cells]) + " |" for name, cells in rows)])
