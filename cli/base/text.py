"""Columns as Consul prints them: the wide table (columnize) and elastic tab stops (Go's text/tabwriter)."""

from __future__ import annotations

from cli.base.ui import to_bytes

GLUE = "  "
TAB_PADDING = 6
"""Spaces after the widest cell of a tabulated column; Consul's commands all use this one."""


def columnize(rows: list[list[str]]) -> str:
    """Aligns rows with two spaces between columns; cells are trimmed, the last of a row is not padded.

    Widths count bytes of UTF-8, but the filling counts characters: with other than ASCII text in it a
    table comes out as uneven as Consul's own."""
    trimmed = [[cell.strip() for cell in row] for row in rows]
    widths: list[int] = []
    for row in trimmed:
        widths.extend([0] * (len(row) - len(widths)))
        for column, cell in enumerate(row):
            widths[column] = max(widths[column], len(to_bytes(cell)))
    return "\n".join(
        GLUE.join([cell.ljust(widths[column]) for column, cell in enumerate(row[:-1])] + row[-1:]) for row in trimmed
    )


def tabulate(text: bytes) -> bytes:
    """Aligns cells that end in a tab with the cells of the lines directly above and below.

    The last cell of a line belongs to no column. Cells are measured in characters. As in text/tabwriter a
    vertical tab ends a cell too, and a form feed is a line end at which all columns end."""
    pages = [[line.split(b"\t") for line in page.split(b"\n")] for page in text.replace(b"\v", b"\t").split(b"\f")]
    last_line = pages[-1][-1]
    if len(last_line) > 1 and not last_line[-1]:
        last_line.pop()  # nothing behind the last tab: the cell before it is the last one, and not padded
    return b"\n".join(map(_align, pages))


def _align(lines: list[list[bytes]]) -> bytes:
    widths: list[list[int]] = [[0] * (len(line) - 1) for line in lines]
    _set_widths(lines, widths, 0, len(lines), 0)
    aligned = []
    for line, row in zip(lines, widths, strict=True):
        padded = [cell + b" " * (width - _length(cell)) for cell, width in zip(line[:-1], row, strict=True)]
        aligned.append(b"".join([*padded, line[-1]]))
    return b"\n".join(aligned)


def _set_widths(lines: list[list[bytes]], widths: list[list[int]], first: int, end: int, column: int) -> None:
    """A column is a run of lines which all have a tab-terminated cell there; columns nest to the right."""
    at = first
    while at < end:
        if len(lines[at]) - 1 <= column:
            at += 1
            continue
        run_end = at
        while run_end < end and len(lines[run_end]) - 1 > column:
            run_end += 1
        width = max(_length(lines[row][column]) for row in range(at, run_end)) + TAB_PADDING
        for row in range(at, run_end):
            widths[row][column] = width
        _set_widths(lines, widths, at, run_end, column + 1)
        at = run_end


def _length(cell: bytes) -> int:
    return len(cell.decode("utf-8", "replace"))
