"""Tables for people: plain text with its columns in line."""

import collections.abc


def lines(rows: collections.abc.Sequence[tuple[str, ...]]) -> list[str]:
    """Rows with their columns in line; the first is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
