"""An FSM on an empty store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.fsm.fsm_driver import Driver, driver


@pytest.fixture
def fsm(tmp_path: Path) -> Iterator[Driver]:
    with driver(tmp_path / "state") as made:
        yield made
