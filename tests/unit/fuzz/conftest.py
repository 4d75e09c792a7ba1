"""--long multiplies the number of examples of every test in here."""

from __future__ import annotations

import pytest

from tests.unit.fuzz import fuzzing


def pytest_configure(config: pytest.Config) -> None:
    fuzzing.use_long_form(config.getoption("--long"))
