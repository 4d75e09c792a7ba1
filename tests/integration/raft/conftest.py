"""Processes of raft_node that end with their tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.raft.raft_process import (
    Make,
    RaftProcess,
)
from tests.loopback import LoopbackPool


@pytest.fixture
def make(tmp_path: Path, loopback: LoopbackPool) -> Iterator[Make]:
    """make("name", ...) -> RaftProcess that is ended with the test."""
    made: list[RaftProcess] = []

    def make_one(name: str = "n1", **changes: Any) -> RaftProcess:
        process = RaftProcess(tmp_path / name, loopback(), **changes)
        made.append(process)
        return process

    yield make_one
    for process in made:
        process.end()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, loopback: LoopbackPool) -> Iterator[RaftProcess]:
    """A server that leads alone. One for all tests that should leave it as well as they have found it."""
    made = RaftProcess(tmp_path_factory.mktemp("door") / "n1", loopback(), dev=True)
    made.start()
    yield made
    made.end()
