"""The one error of this package."""

from __future__ import annotations


class HilError(ValueError):
    """A text cannot be parsed, or what it says cannot be computed; in the words of Consul's HIL."""
