"""Options and fixtures for every test: --long, loopback addresses, the real Consul, patience with slow machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import promises
from tests.loopback import LoopbackPool
from tests.real_consul import NotAvailableError, find_real_consul, find_real_serf

# How long an example takes says something about the machine and what else it does, nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the long forms (tests marked slow)")


def pytest_configure(config: pytest.Config) -> None:
    promises.keep_to_the_letter(config.getoption("--long"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="long form: run with --long")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def loopback() -> Iterator[LoopbackPool]:
    """loopback() -> "127.x.y.z" that nobody else uses."""
    pool = LoopbackPool()
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def real_consul() -> Path:
    """Executable of the real Consul 1.8.7; the test is skipped where it cannot be had."""
    try:
        return find_real_consul()
    except NotAvailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def real_serf() -> Path:
    """Executable of the real serf 0.9.4; the test is skipped where it cannot be had."""
    try:
        return find_real_serf()
    except NotAvailableError as error:
        pytest.skip(str(error))
