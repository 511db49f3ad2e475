"""Delimited text as people really have it: tabs or commas, byte-order marks, CRLF, quotes, damaged rows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mediakit.errors import MediaError
from mediakit.io import read_text


class Finding(NamedTuple):
    """Something wrong in a file of labels, and what was done about it.

    Attributes:
        file: The file.
        line: Line in it, from 1.
        problem: What is wrong.
        done: What the reader made of it.
    """

    file: str
    line: int
    problem: str
    done: str


class Row(NamedTuple):
    """One row of a table: its line in the file, and the values of the columns that were asked for."""

    line: int
    values: tuple[str, ...]


def read_rows(path: Path, columns: Sequence[str]) -> tuple[list[Row], list[Finding]]:
    """Rows of a table with one header line, separated by tabs, semicolons or commas, whichever the first line holds.

    Columns may come in any order, and others are passed over. Without a header line, the columns are taken as they are
    asked for. Where commas separate and the last column asked for is the last in the file, what follows it belongs to
    it, so that a list of labels needs no quotes. Empty lines are no rows.

    Args:
        path: The file.
        columns: Names of the columns.

    Returns:
        Rows in the order of the file, and a finding for each that was left out because its columns do not fit.

    Raises:
        MediaError: The file is unreadable or empty, or lacks a column.
    """
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = next(line for line in lines if line.strip())
    separator = next((mark for mark in "\t;," if mark in first), "\t")
    style: dict[str, Any] = {"delimiter": separator, "skipinitialspace": separator != "\t", "strict": True}
    rows: list[Row] = []
    findings: list[Finding] = []
    header: list[str] | None = None
    places: list[int] = []
    for number, line in enumerate(lines, 1):
        try:  # line by line, so that a quote that is never closed costs its own row only
            values = [value.strip() for value in next(csv.reader([line], **style), [])]
        except csv.Error as error:
            findings.append(Finding(str(path), number, f"quotes that do not close ({error})", "row left out"))
            continue
        if not any(values):
            continue
        if header is None:
            names = [value.lower() for value in values]
            header = names if set(names) & set(columns) else list(columns)
            if missing := [name for name in columns if name not in header]:
                raise MediaError(
                    path, f"line {number} names no column {missing[0]!r}", f"The table needs {', '.join(columns)}."
                )
            places = [header.index(name) for name in columns]
            if header is names:
                continue
            findings.append(Finding(str(path), number, "no header line", f"columns taken as {', '.join(columns)}"))
        if separator == "," and len(values) > len(header) == places[-1] + 1:
            values = [*values[: places[-1]], ",".join(values[places[-1] :])]
        if len(values) != len(header):
            problem = f"{len(values)} columns where {len(header)} belong"
            findings.append(Finding(str(path), number, problem, "row left out"))
            continue
        rows.append(Row(number, tuple(values[place] for place in places)))
    return rows, findings
