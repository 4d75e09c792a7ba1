"""Promises of time, such as "serves again within two seconds", where a test of function meets them.

Kept to the letter with --long, which has the machine for itself; otherwise other work may slow the machine down, and
only what hangs fails."""

from __future__ import annotations

HANGS_S = 20.0
_to_the_letter = False


def keep_to_the_letter(long: bool) -> None:
    """Called before the tests are collected."""
    global _to_the_letter
    _to_the_letter = long


def within_s(promised_s: float) -> float:
    """Seconds after which the promise is broken for this run."""
    return promised_s if _to_the_letter else max(promised_s, HANGS_S)
