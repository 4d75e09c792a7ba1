"""Which server a client asks, and when it asks again."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from services.rpc_core.client.attempts import HUNG_S, Attempts
from services.rpc_core.client.methods import METHODS
from services.rpc_core.client.server_list import REUSE_MIN_S, ServerList, rebalance_wait_s
from services.rpc_core.endpoints.table import EndpointTable
from services.rpc_core.members import Server
from shared.server_rpc.errors import ConnectionEndedError, DialError, RemoteCallError, ServerCallError
from shared.server_rpc.hearing import PROBE_AFTER_S, PROBE_TIMEOUT_S

HOLD_S = 7.0


def server(name: str) -> Server:
    return Server(name, name, f"id-{name}", "dc1", "", "10.0.0.1", 8300, 3, "1.8.7", False, 3, False)


def servers(names: str) -> ServerList:
    made = ServerList()
    for name in names:
        made.add(server(name))
    return made


def order(of: ServerList) -> str:
    return "".join(one.name for one in of.all())


def test_every_method_of_a_server_is_passed_on() -> None:
    table = EndpointTable(None)  # type: ignore[arg-type]
    assert sorted(table.methods) == sorted(METHODS)


# -- the list ------------------------------------------------------------------------------------------


def test_servers_are_added_at_the_end_and_known_ones_stay_where_they_are() -> None:
    known = servers("abc")
    assert not known.add(replace(server("b"), addr="10.0.0.9"))
    assert order(known) == "abc"
    assert known.all()[1].addr == "10.0.0.9"
    assert known.add(server("d"))
    assert order(known) == "abcd"


def test_only_a_failure_of_the_first_changes_the_order() -> None:
    known = servers("abc")
    assert not known.failed(server("b"))
    assert known.failed(server("a"))
    assert order(known) == "bca"
    alone = servers("a")
    assert not alone.failed(server("a"))
    assert alone.first() == server("a")


def test_a_server_that_goes_is_forgotten() -> None:
    known = servers("ab")
    assert known.remove("a") == server("a")
    assert known.remove("a") is None
    assert order(known) == "b"
    known.remove("b")
    assert known.first() is None


def test_a_shuffled_order_is_taken_over_with_what_has_changed_meanwhile() -> None:
    known = servers("abcd")
    found = [server(name) for name in "cadb"]
    known.remove("a")
    known.add(server("e"))
    assert known.begin_with(found)
    assert order(known) == "cdbe"


def test_an_order_whose_first_server_has_gone_is_not_taken_over() -> None:
    known = servers("abc")
    found = [server(name) for name in "cab"]
    known.remove("c")
    assert not known.begin_with(found)
    assert not known.begin_with([])
    assert order(known) == "ab"


def test_shuffling_reaches_every_order() -> None:
    known, rng = servers("abc"), random.Random(1)
    seen = {"".join(one.name for one in known.shuffled(rng)) for _ in range(200)}
    assert len(seen) == 6
    assert order(known) == "abc"


@pytest.mark.parametrize(
    ("count", "members", "least_s", "most_s"),
    [(3, 10, REUSE_MIN_S, 1.5 * REUSE_MIN_S), (1, 64_000, 1000.0, 1000.0), (0, 5, REUSE_MIN_S, 1.5 * REUSE_MIN_S)],
)
def test_all_clients_together_rebalance_at_a_bounded_rate(
    count: int, members: int, least_s: float, most_s: float
) -> None:
    rng = random.Random(2)
    for _ in range(50):
        assert least_s <= rebalance_wait_s(count, members, rng) <= most_s


# -- attempts ------------------------------------------------------------------------------------------


class Trying:
    """Attempts of one call at fixed servers; the clock is set by hand."""

    def __init__(self, *, repeatable: bool = True, names: str = "abc") -> None:
        self.now = 100.0
        self.names = list(names)
        self._rng = random.Random(3)
        self._attempts = Attempts(HOLD_S, repeatable=repeatable, now=self.now)

    def again(self, error: ServerCallError, at: str = "a") -> bool:
        pause_s = self._attempts.pause_s(error, at, self.names, self.now, self._rng)
        assert pause_s is None or 0 <= pause_s <= HOLD_S / 16
        return pause_s is not None


@pytest.mark.parametrize("repeatable", [True, False])
def test_without_a_leader_every_call_is_tried_again_for_the_hold_timeout(repeatable: bool) -> None:
    trying = Trying(repeatable=repeatable)
    assert trying.again(RemoteCallError("No cluster leader"))
    trying.now += HOLD_S - 0.1
    assert trying.again(RemoteCallError("rpc error making call: No cluster leader"))
    trying.now += 0.1
    assert not trying.again(RemoteCallError("No cluster leader"))


def test_a_read_whose_connection_ended_is_tried_again_however_long_it_had_waited() -> None:
    trying = Trying()
    trying.now += 300
    assert trying.again(ConnectionEndedError("EOF"))
    trying.now += HOLD_S
    assert not trying.again(ConnectionEndedError("EOF"))


def test_a_read_outlives_one_connection_after_another_that_died_in_silence() -> None:
    """Keepalive finds out after up to forty seconds; each server may take that long once."""
    trying = Trying(repeatable=True)
    assert trying.again(ConnectionEndedError("EOF"), at="a")
    for name in "bc":
        trying.now += 40
        assert trying.again(ConnectionEndedError("keepalive timeout"), at=name)
    trying.now += 40
    assert not trying.again(ConnectionEndedError("keepalive timeout"), at="b")


def test_a_read_outlives_one_server_after_another_that_fell_silent() -> None:
    assert HUNG_S <= PROBE_AFTER_S + PROBE_TIMEOUT_S
    trying = Trying(repeatable=True)
    for name in "abc":
        trying.now += 4
        assert trying.again(ConnectionEndedError("nothing comes from it"), at=name)
    trying.now += 3
    assert trying.again(ConnectionEndedError("EOF"), at="a")
    trying.now += 4
    assert not trying.again(ConnectionEndedError("nothing comes from it"), at="a")


def test_a_write_whose_connection_ended_is_not() -> None:
    assert not Trying(repeatable=False).again(ConnectionEndedError("EOF"))


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_call_that_never_left_goes_to_each_of_the_others_once(repeatable: bool) -> None:
    trying = Trying(repeatable=repeatable)
    assert trying.again(DialError("refused"), "a")
    assert trying.again(DialError("refused"), "b")
    assert not trying.again(DialError("refused"), "c")


def test_what_a_server_refuses_is_final() -> None:
    assert not Trying().again(RemoteCallError("No path to datacenter"))
