"""Internal.KeyringOperation: which pools are asked, in which order, and what becomes of their failures."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

from services.rpc_core.endpoints.keyring import METHODS
from services.rpc_core.errors import RpcError
from services.rpc_core.members import Member, MemberStatus
from shared.ipc import ConnectionLostError, RemoteError
from shared.server_rpc.errors import DialError
from shared.structs.keyring import KeyringResponse, KeyringResponses

SUMS = {"Messages": {}, "Keys": {"k": 1}, "PrimaryKeys": {"k": 1}, "NumNodes": 1, "NumErr": 0, "Error": ""}


def server(name: str, datacenter: str, address: str, status: int = MemberStatus.ALIVE) -> Member:
    tags = {"role": "consul", "dc": datacenter, "build": "1.8.7:", "port": "8300", "vsn": "2"}
    return Member(f"{name}.{datacenter}", address, 8302, tags, status, 1, 5, 2)


class Fake:
    """What the endpoint uses of Core. `failures`: pool or address -> what asking it raises."""

    def __init__(self, *wan: Member, federated: bool = True) -> None:
        self.asked: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.forwarded: list[bool] = []
        self.config = SimpleNamespace(datacenter="dc1", serf_wan_bind_addr="127.0.0.1:8302" if federated else None)
        self.pools = SimpleNamespace(wan=lambda: list(wan))
        self.gossip = self.servers = self
        self.rng = random.Random(1)

    async def call(self, where: str, *arguments: Any, timeout_s: float) -> Any:
        if where == "Gossip.Keyring":
            where = arguments[0]["pool"]
        else:
            self.forwarded.append(msgpack.unpackb(arguments[1])["Forwarded"])
        self.asked.append(where)
        if where in self.failures:
            raise self.failures[where]
        if where in ("wan", "lan"):
            return SUMS
        return KeyringResponses(responses=[KeyringResponse(datacenter=f"of {where}")]).to_wire()


async def operate(core: Fake, **arguments: Any) -> list[KeyringResponse]:
    reply = await METHODS["Internal.KeyringOperation"](core, {"Operation": "list", **arguments})  # type: ignore[arg-type]
    return KeyringResponses.from_wire(reply).responses or []


async def test_the_wan_pool_comes_first_then_ours_then_the_others() -> None:
    core = Fake(
        server("a", "dc1", "10.0.0.1"),
        server("c", "dc3", "10.0.0.3"),
        server("b", "dc2", "10.0.0.2"),
        server("gone", "dc4", "10.0.0.4", MemberStatus.LEFT),
        server("failed", "dc2", "10.0.0.5", MemberStatus.FAILED),
    )
    found = await operate(core)
    assert [(one.wan, one.datacenter) for one in found] == [
        (True, "dc1"),
        (False, "dc1"),
        (False, "of 10.0.0.2:8300"),
        (False, "of 10.0.0.3:8300"),
    ]
    assert core.asked[:2] == ["wan", "lan"]
    assert core.forwarded == [True, True], "or they would ask us in turn"


@pytest.mark.parametrize("arguments", [{"LocalOnly": True}, {"Forwarded": True}])
async def test_local_and_forwarded_operations_stay_in_the_lan_pool(arguments: dict[str, Any]) -> None:
    core = Fake(server("b", "dc2", "10.0.0.2"))
    assert [one.wan for one in await operate(core, **arguments)] == [False]
    assert core.asked == ["lan"]


async def test_a_server_without_a_wan_pool_asks_its_lan_pool_only() -> None:
    assert [one.wan for one in await operate(Fake(federated=False))] == [False]


async def test_only_lists_can_be_local() -> None:
    with pytest.raises(RpcError, match="argument error: LocalOnly can only be used for List operations"):
        await operate(Fake(), Operation="install", LocalOnly=True)
    with pytest.raises(RpcError, match='invalid keyring operation "nope"'):
        await operate(Fake(), Operation="nope")


async def test_what_a_pool_refuses_is_its_answer_and_what_cannot_be_asked_fails_the_call() -> None:
    core = Fake(server("b", "dc2", "10.0.0.2"))
    core.failures["wan"] = RemoteError("rpc", "query exceeds limit of 1024 bytes")
    refused, fine, _ = await operate(core)
    assert (refused.error, refused.keys, refused.num_nodes) == ("query exceeds limit of 1024 bytes", {}, 0)
    assert (fine.error, fine.keys) == ("", {"k": 1})
    core.failures = {"10.0.0.2:8300": DialError("dial tcp 10.0.0.2:8300: connect: connection refused")}
    with pytest.raises(RpcError, match="rpc error getting client: failed to get conn: dial tcp"):
        await operate(core)
    core.failures = {"lan": ConnectionLostError("gossip", "Gossip.Keyring")}
    with pytest.raises(RpcError, match="gossip"):
        await operate(core)
