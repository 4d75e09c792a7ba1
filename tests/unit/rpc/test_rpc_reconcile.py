"""What the leader writes about gossip members, compared with what the real leader logs."""

from __future__ import annotations

from typing import Any

import pytest

from services.rpc_core.leader.reconcile import CatalogEntry, Command, Refusal, reconcile
from services.rpc_core.members import Member, MemberStatus, acl_mode
from shared.structs.catalog import CRITICAL, PASSING, DeregisterRequest, Node, NodeService, RegisterRequest
from shared.structs.commands import encode

SERVER_TAGS = {
    "acls": "0", "build": "1.8.7:", "dc": "dc1", "ft_fs": "1", "id": "81577acc-86bd-269a-fea5-1b18e570fa79",
    "port": "8300", "raft_vsn": "3", "role": "consul", "segment": "", "vsn": "2", "wan_join_port": "8302",
}  # fmt: skip
SERVICE_META = {
    "non_voter": "false", "raft_version": "3", "serf_protocol_current": "2",
    "serf_protocol_max": "5", "serf_protocol_min": "1", "version": "1.8.7",
}  # fmt: skip
ABSENT = CatalogEntry(None, {}, None)


def server(status: int = MemberStatus.ALIVE, **tags: str) -> Member:
    return Member("n1", "127.0.0.1", 8301, {**SERVER_TAGS, **tags}, status, 1, 5, 2)


def client(status: int = MemberStatus.ALIVE) -> Member:
    return Member("c1", "10.0.0.7", 8301, {"role": "node", "dc": "dc1", "id": "an-id"}, status, 1, 5, 2)


def known(
    node: str = "n1", address: str = "127.0.0.1", serf: str | None = PASSING, node_id: str = "", **meta: Any
) -> CatalogEntry:
    made = Node(node=node, id=node_id, address=address, tagged_addresses={"lan": address}, meta={"a": "b"})
    service = NodeService(id="consul", service="consul", meta={**SERVICE_META, **meta})
    return CatalogEntry(made, {"consul": service}, serf)


def done(member: Member, entry: CatalogEntry, own_name: str = "n0") -> Command:
    command = reconcile(member, entry, "dc1", own_name)
    assert isinstance(command, Command)
    return command


def test_a_new_server_is_registered_with_its_check_and_its_service() -> None:
    command = done(server(), ABSENT)
    assert (command.message, command.fields) == ("member joined, marking health alive", {"member": "n1"})
    request = command.request
    assert isinstance(request, RegisterRequest)
    assert (request.datacenter, request.node, request.id) == ("dc1", "n1", SERVER_TAGS["id"])
    assert request.check is not None
    assert request.service is not None
    assert (request.check.check_id, request.check.name) == ("serfHealth", "Serf Health Status")
    assert (request.check.status, request.check.output) == (PASSING, "Agent alive and reachable")
    assert (request.service.id, request.service.port, request.service.meta) == ("consul", 8300, SERVICE_META)
    assert request.service.weights is not None
    assert (request.service.weights.passing, request.service.tags) == (1, None)
    assert encode(request)[0] == 0


def test_a_client_gets_no_service() -> None:
    request = done(client(), ABSENT).request
    assert isinstance(request, RegisterRequest)
    assert request.service is None


def test_what_is_right_is_left_alone() -> None:
    assert reconcile(server(), known(), "dc1", "n0") is None


def test_what_a_node_says_of_itself_meanwhile_is_not_overwritten() -> None:
    """Its own registration may get into the log between the leader's look at the catalog and the leader's write."""
    for entry in (ABSENT, known(serf=CRITICAL, node_id=SERVER_TAGS["id"])):
        request = done(server(), entry).request
        assert isinstance(request, RegisterRequest)
        assert request.skip_node_update
        assert request.address == "127.0.0.1"  # for a node that is not there


@pytest.mark.parametrize(
    "entry", [known(serf=CRITICAL), known(serf=None), known(address="10.0.0.9"), known(version="1.8.6")]
)
def test_what_is_not_right_is_written_again_and_keeps_what_the_node_said(entry: CatalogEntry) -> None:
    request = done(server(), entry).request
    assert isinstance(request, RegisterRequest)
    assert request.node_meta == {"a": "b"}
    assert request.tagged_addresses == (entry.node and entry.node.tagged_addresses)


def test_a_failed_member_turns_critical_once() -> None:
    command = done(server(MemberStatus.FAILED), known())
    assert isinstance(command.request, RegisterRequest)
    assert command.request.check is not None
    assert (command.request.check.status, command.request.skip_node_update) == (CRITICAL, True)
    assert command.request.check.output == "Agent not live or unreachable"
    assert reconcile(server(MemberStatus.FAILED), known(serf=CRITICAL), "dc1", "n0") is None
    unknown = reconcile(server(MemberStatus.FAILED), ABSENT, "dc1", "n0")
    assert isinstance(unknown, Refusal)
    assert unknown.level == "info"


@pytest.mark.parametrize(("status", "reason"), [(MemberStatus.LEFT, "left"), (MemberStatus.REAP, "reaped")])
def test_who_has_left_or_was_forgotten_is_deregistered(status: int, reason: str) -> None:
    command = done(server(status), known())
    assert isinstance(command.request, DeregisterRequest)
    assert command.fields == {"member": "n1", "reason": reason}
    assert reconcile(server(status), ABSENT, "dc1", "n0") is None


def test_nobody_deregisters_himself() -> None:
    refusal = reconcile(server(MemberStatus.LEFT), known(), "dc1", "n1")
    assert isinstance(refusal, Refusal)
    assert (refusal.level, refusal.message) == ("warn", "deregistering self should be done by follower")


def test_a_leaving_member_is_waited_for() -> None:
    assert reconcile(server(MemberStatus.LEAVING), known(), "dc1", "n0") is None


def test_the_acl_mode_of_all_servers() -> None:
    mode = acl_mode([server(), client()], "127.0.0.1:8300")
    assert (mode.found, mode.of_all, mode.of_leader) == (True, "0", "0")
    assert acl_mode([server(acls="1")], "elsewhere:1").of_leader == "3"
    assert not acl_mode([client()], "").found
