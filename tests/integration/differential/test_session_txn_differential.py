"""Sessions and transactions: the same scripts to the real Consul and to our agent, equal answers at every step."""

from __future__ import annotations

import http.client

import pytest

from tests.integration.differential import scenarios_session, scenarios_txn
from tests.integration.differential.pairs import Pair, assert_none, compared, run_of, shown

pytestmark = pytest.mark.real_consul

SCRIPTS = {**scenarios_session.SCRIPTS, **scenarios_txn.SCRIPTS}


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_answers(agents: Pair, name: str) -> None:
    real, other = agents
    known, tried = run_of(real), run_of(other)
    found = []
    for step in SCRIPTS[name]:
        try:
            expected = known.take(step)
        except (OSError, http.client.HTTPException, LookupError, TypeError) as error:
            raise AssertionError(f"Consul itself failed at {step}: {error!r}") from error
        found += shown(step, compared(expected, lambda step=step: tried.take(step)))  # type: ignore[misc]
    assert_none(found)
