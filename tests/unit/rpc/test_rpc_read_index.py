"""How far a follower's state has to be: as far as anybody could have read at the leader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from services.rpc_core.endpoints.read_index import METHOD, METHODS
from services.rpc_core.errors import RpcError
from shared.state.leadership import FOREVER_NS, LEADER, Leadership


class LeadersCore:
    """A leader whose page says `on_page`, whose store contains `in_store`, and whose round confirms `confirmed`."""

    def __init__(self, *, on_page: int, in_store: int, confirmed: int = 0, lease_end_ns: int = FOREVER_NS) -> None:
        page = Leadership(LEADER, 3, "id", "127.0.0.1:8300", lease_end_ns, 0, in_store, on_page, True)
        self.router = SimpleNamespace(
            answer_here=self._answer_here, leadership=lambda: page, elsewhere=lambda: RpcError("elsewhere")
        )
        self._in_store, self._confirmed = in_store, confirmed

    async def _answer_here(self, method: str, datacenter: str) -> None:
        assert (method, datacenter) == (METHOD, "dc1")

    async def confirm_leadership(self) -> int:
        return self._confirmed

    @contextmanager
    def snapshot(self) -> Iterator[Any]:
        yield SimpleNamespace(applied=lambda: (self._in_store, 3))


async def asked(core: Any, *, consistent: bool) -> int:
    index = await METHODS[METHOD](core, {"Datacenter": "dc1", "RequireConsistent": consistent})
    assert isinstance(index, int)
    return index


@pytest.mark.parametrize("consistent", [False, True])
async def test_what_is_in_the_store_counts_before_the_page_says_so(consistent: bool) -> None:
    """raft_node may be stopped for long between the two, and others read the store meanwhile."""
    assert await asked(LeadersCore(on_page=9, in_store=10), consistent=consistent) == 10


@pytest.mark.parametrize("consistent", [False, True])
async def test_entries_that_are_no_commands_are_on_the_page_only(consistent: bool) -> None:
    assert await asked(LeadersCore(on_page=12, in_store=10), consistent=consistent) == 12


async def test_what_was_confirmed_counts_though_page_and_store_were_begun_anew() -> None:
    assert await asked(LeadersCore(on_page=0, in_store=4, confirmed=9), consistent=True) == 9


async def test_a_leader_whose_lease_is_over_says_nothing_about_default_reads() -> None:
    with pytest.raises(RpcError, match="elsewhere"):
        await asked(LeadersCore(on_page=9, in_store=9, lease_end_ns=1), consistent=False)
