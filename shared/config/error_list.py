"""Several errors in one message."""

from __future__ import annotations


def error_list(reasons: list[str]) -> str:
    """Several errors as one, in the layout of HashiCorp's go-multierror."""
    if len(reasons) == 1:
        return f"1 error occurred:\n\t* {reasons[0]}\n\n"
    points = "\n\t".join(f"* {reason}" for reason in reasons)
    return f"{len(reasons)} errors occurred:\n\t{points}\n\n"
