"""Where a call is answered: here, by the leader, or after a while, by the rules of Consul's ForwardRPC."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from services.rpc_core.errors import ElsewhereError, NoLeaderError, NoPathToDatacenterError, RpcError
from services.rpc_core.forwarding import WRITES, Forwarder
from services.rpc_core.router import Router
from shared.server_rpc.errors import ConnectionEndedError, DialError, RemoteCallError, ServerCallError
from shared.server_rpc.pool import ServerPool
from shared.state.leadership import FOLLOWER, LEADER, Leadership
from shared.wire import rpc

OWN, OTHER = "127.0.0.1:8300", "127.0.0.2:8300"
HOLD_S = 7.0


class Page:
    """A leadership page that tests write on."""

    def __init__(self, role: str = FOLLOWER, leader: str = "", lease_s: float = 60.0, contact_ns: int = 0) -> None:
        self.set(role, leader, lease_s, contact_ns)

    def set(self, role: str, leader: str = "", lease_s: float = 60.0, contact_ns: int = 0) -> None:
        lease_end = time.monotonic_ns() + int(lease_s * 1e9)
        self.now = Leadership(role, 2, "id", leader, lease_end, contact_ns, 5, 5, True)

    def read(self) -> Leadership:
        return self.now


class Pool(ServerPool):
    """Other servers that answer as told: `answers` are used up one by one."""

    def __init__(self, *answers: Any) -> None:
        super().__init__("127.0.0.1")
        self.answers = list(answers)
        self.calls: list[tuple[str, str, bytes]] = []

    async def call(
        self, address: str, method: str, body: bytes, *, timeout_s: float = 0.0, repeatable: bool = False
    ) -> Any:
        await trio.lowlevel.checkpoint()
        assert repeatable == (method not in WRITES)
        self.calls.append((address, method, body))
        answer = self.answers.pop(0)
        if isinstance(answer, ServerCallError):
            raise answer
        return answer


def router(page: Page) -> Router:
    return Router("dc1", HOLD_S, page, random.Random(1), OWN)


async def ask(made: Router, pool: Pool, method: str = "KVS.Get", **options: int) -> Any:
    """A call as the endpoint table makes it; "here" is the answer of this server."""

    async def here() -> str:
        await made.answer_here(method, "dc1")
        return "here"

    return await Forwarder(made, pool, 300.0).answer_wire(method, here, {"Key": "a", **options})


async def test_the_leader_answers_and_another_datacenter_is_unknown() -> None:
    made = router(Page(LEADER, OWN))
    assert await ask(made, Pool()) == "here"
    for datacenter in ("dc2", ""):
        with pytest.raises(NoPathToDatacenterError, match="No path to datacenter"):
            await made.answer_here("KVS.Get", datacenter)


async def test_a_follower_asks_the_leader_with_the_same_request() -> None:
    pool = Pool({"Entries": None})
    assert await ask(router(Page(FOLLOWER, OTHER)), pool) == {"Entries": None}
    assert pool.calls == [(OTHER, "KVS.Get", rpc.pack({"Key": "a"}))]


async def test_errors_of_the_leader_are_final() -> None:
    for method in ("KVS.Get", "KVS.Apply"):
        pool = Pool(RemoteCallError("Permission denied"))
        with pytest.raises(RpcError, match=r"^rpc error making call: Permission denied$"):
            await ask(router(Page(FOLLOWER, OTHER)), pool, method)
        assert len(pool.calls) == 1


async def test_who_is_no_leader_any_more_is_asked_again(autojump_clock: object) -> None:
    for method in ("KVS.Get", "KVS.Apply"):
        pool = Pool(*(RemoteCallError(f"{hop}No cluster leader") for hop in ("", "rpc error making call: ")), 1)
        assert await ask(router(Page(FOLLOWER, OTHER)), pool, method) == 1


@pytest.mark.parametrize(
    "failure",
    [
        DialError("dial tcp: refused"),
        RemoteCallError("rpc error getting client: failed to get conn: dial tcp: refused"),
    ],
)
async def test_what_was_never_sent_is_sent_again(failure: ServerCallError, autojump_clock: object) -> None:
    for method in ("KVS.Get", "KVS.Apply"):
        pool = Pool(failure, failure, "done")
        assert await ask(router(Page(FOLLOWER, OTHER)), pool, method) == "done"


async def test_only_reads_are_repeated_when_a_connection_ends(autojump_clock: object) -> None:
    failure = ConnectionEndedError("EOF")
    assert await ask(router(Page(FOLLOWER, OTHER)), Pool(failure, "read"), "KVS.Get") == "read"
    for method in WRITES:
        pool = Pool(failure)
        with pytest.raises(RpcError, match="rpc error"):
            await ask(router(Page(FOLLOWER, OTHER)), pool, method)
        assert len(pool.calls) == 1


async def test_a_repeated_query_waits_for_the_rest_of_its_time(autojump_clock: object) -> None:
    for given_s, total_s in ((0, 300), (60, 60)):
        pool = Pool(ConnectionEndedError("EOF"), ConnectionEndedError("EOF"), "done")
        options = {"MinQueryIndex": 5, "MaxQueryTime": given_s * 10**9}
        started = trio.current_time()
        assert await ask(router(Page(FOLLOWER, OTHER)), pool, "KVS.Get", **options) == "done"
        passed_s = trio.current_time() - started
        waits = [next(iter(rpc.RequestDecoder().feed(rpc.encode_request_header(1, "m") + body))).body["MaxQueryTime"]
                 for _, _, body in pool.calls]  # fmt: skip
        assert waits[0] == given_s * 10**9
        assert waits[2] == pytest.approx((total_s - passed_s) * 1e9)


async def test_repeating_ends_with_the_hold_timeout(autojump_clock: object) -> None:
    pool = Pool(*(RemoteCallError("No cluster leader") for _ in range(1000)))
    started = trio.current_time()
    with pytest.raises(RpcError, match=r"^rpc error making call: No cluster leader$"):
        await ask(router(Page(FOLLOWER, OTHER)), pool)
    assert HOLD_S <= trio.current_time() - started <= HOLD_S * (1 + 1 / 16)


@pytest.mark.parametrize(
    "page",
    [Page(), Page(LEADER, OWN, lease_s=-1.0), Page(FOLLOWER, OWN)],
    ids=["nobody leads", "the lease is over", "the page is old"],
)
async def test_without_a_leader_calls_wait_as_long_as_the_hold_timeout(page: Page, autojump_clock: object) -> None:
    started = trio.current_time()
    with pytest.raises(NoLeaderError, match=r"^No cluster leader$"):
        await ask(router(page), Pool())
    assert HOLD_S <= trio.current_time() - started <= HOLD_S * (1 + 1 / 16)


async def _elected(made: Router, page: Page, *, role: str, leader: str, pool: Pool) -> Any:
    """What a call gets that came before the election."""
    answers: list[Any] = []

    async def call() -> None:
        answers.append(await ask(made, pool))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        page.set(role, leader)
        made.leadership_changed()
        started = trio.current_time()
    assert trio.current_time() == started
    return answers[0]


async def test_a_call_goes_on_when_a_leader_is_elected(autojump_clock: object) -> None:
    page = Page()
    assert await _elected(router(page), page, role=LEADER, leader=OWN, pool=Pool()) == "here"
    page = Page()
    assert await _elected(router(page), page, role=FOLLOWER, leader=OTHER, pool=Pool("there")) == "there"


async def _after(event: Callable[[], None]) -> None:
    await trio.testing.wait_all_tasks_blocked()
    event()


async def test_a_leaving_server_fails_waiting_calls_at_once(autojump_clock: object) -> None:
    made = router(Page())
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_after, made.start_leaving)
        with pytest.raises(NoLeaderError):
            await ask(made, Pool())
    assert trio.current_time() == started
    with pytest.raises(NoLeaderError) as caught:
        await made.answer_here("KVS.Get", "dc1")
    assert not isinstance(caught.value, ElsewhereError)


async def test_who_must_lead_itself_waits_for_its_own_office(autojump_clock: object) -> None:
    page = Page()
    made = router(page)
    with pytest.raises(NoLeaderError):
        await made.wait_to_lead()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.wait_to_lead)
        await _after(partial(page.set, LEADER, OWN))
    page.set(FOLLOWER, OTHER)
    with pytest.raises(ElsewhereError) as caught:
        await made.wait_to_lead()
    assert caught.value.address == OTHER


async def test_stale_reads_need_only_have_heard_of_a_leader_once() -> None:
    with pytest.raises(ElsewhereError):
        await router(Page()).answer_here("KVS.Get", "dc1", stale=True)
    await router(Page(contact_ns=1)).answer_here("KVS.Get", "dc1", stale=True)
    made = router(Page(contact_ns=time.monotonic_ns() - 5_000_000))
    assert 5_000_000 <= made.last_contact_ns() < 5_000_000_000
