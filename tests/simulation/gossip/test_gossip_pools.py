"""Simulated pools: members find each other, notice who dies, leaves or lies, and agree in the end."""

import math

import pytest
from gossip_sim import GossipSim, SimNode

from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import Alive, Dead, Suspect
from services.gossip.serf import Status
from services.gossip.swim.address import Address


def test_a_pool_of_one_never_wakes_up(seed: int) -> None:
    sim = GossipSim(1, seed)
    assert sim.nodes[0].serf.deadline == math.inf
    assert sim.nodes[0].events == [("join", "n0")]


def test_members_that_join_one_node_find_all_others(seed: int) -> None:
    sim = GossipSim(7, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(7), 60)  # a rumour may miss one; exchanges of states do not
    for node in sim.nodes:
        assert sorted(name for kind, name in node.events if kind == "join") == [f"n{i}" for i in range(7)]


def test_an_encrypted_pool_works_alike(seed: int) -> None:
    sim = GossipSim(4, seed, keyring=Keyring([bytes(range(32))]))
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(4), 60)


def test_nobody_is_suspected_for_long_on_a_lossy_network(seed: int) -> None:
    sim = GossipSim(8, seed)
    sim.network.loss, sim.network.duplicate = 0.15, 0.05
    sim.network.delay_s = (0.001, 0.15)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(8), 60)
    sim.run(120)
    failed = [event for node in sim.nodes for event in node.events if event[0] == "failed"]
    assert failed == []
    assert sim.all_agree(8)


def test_a_crashed_member_is_failed_everywhere_within_the_suspicion_time(seed: int) -> None:
    sim = GossipSim(5, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(5), 10)
    victim = sim.nodes[3]
    sim.crash(victim)
    others = [node for node in sim.nodes if node is not victim]
    # Worst case: the victim is probed last in a round, then a suspicion that nobody could confirm.
    sim.run_until(lambda: all(node.status_of(victim) == Status.FAILED for node in others), 5 + 24 + 3)
    for node in others:
        assert node.events.count(("failed", "n3")) == 1


def test_a_member_that_leaves_is_left_and_never_failed(seed: int) -> None:
    sim = GossipSim(5, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(5), 10)
    leaver = sim.nodes[2]
    started = sim.now
    leaver.leave()
    sim.run_until(lambda: "leave" in leaver.done, 20)
    assert leaver.done["leave"].error is None
    assert 3.0 <= sim.now - started <= 3.0 + 2 * 5.0
    sim.crash(leaver)
    sim.run(60)
    for node in sim.nodes:
        if node is not leaver:
            assert node.status_of(leaver) == Status.LEFT
            assert ("failed", "n2") not in node.events


def test_the_last_member_leaves_at_once(seed: int) -> None:
    sim = GossipSim(1, seed)
    lone = sim.nodes[0]
    lone.leave()
    assert lone.done["leave"].error is None
    assert lone.events == [("join", "n0"), ("leave", "n0")]


def test_a_partition_heals(seed: int) -> None:
    sim = GossipSim(6, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(6), 10)
    lost = sim.nodes[5]
    sim.network.isolate("n5", [f"n{i}" for i in range(5)])
    rest = sim.nodes[:5]
    sim.run_until(lambda: all(node.status_of(lost) == Status.FAILED for node in rest), 60)
    sim.run(30)
    sim.network.heal()
    sim.run_until(lambda: sim.all_agree(6), 600)  # the reconnect loop tries every 30 s


def test_a_member_without_udp_is_kept_by_tcp_pings(seed: int) -> None:
    sim = GossipSim(3, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(3), 10)
    for other in ("n0", "n1"):
        sim.network.no_udp |= {("n2", other), (other, "n2")}
    sim.run(60)
    assert sim.all_agree(3)
    assert any("network may be misconfigured" in line for node in sim.nodes[:2] for line in node.logs)


def test_a_restarted_member_refutes_what_is_left_of_its_past(seed: int) -> None:
    sim = GossipSim(3, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(3), 10)
    sim.nodes[2].leave()
    sim.run_until(lambda: "leave" in sim.nodes[2].done, 20)
    sim.crash(sim.nodes[2])
    sim.run(10)
    sim.nodes.pop()
    again = sim.add("n2", 2)
    assert sim.join(again, sim.nodes[0]) is None
    sim.run_until(lambda: sim.all_agree(3), 20)
    assert again.serf.swim.me.incarnation >= 2


def test_forged_rumours_about_a_living_member_do_not_last(seed: int) -> None:
    sim = GossipSim(4, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(4), 10)
    liar = Address(b"\x0a\x09\x09\x09", 8301)
    target = sim.nodes[1]
    for forged in (Suspect(50, "n1", "nobody"), Dead(60, "n1", "nobody"), Dead(70, "n1", "n1")):
        for node in sim.nodes:
            node.perform(node.serf.receive([forged], liar, sim.now))
        sim.run_until(lambda: sim.all_agree(4), 60)
    assert target.serf.swim.me.incarnation > 60


def test_two_nodes_with_one_name_the_first_one_stays(seed: int) -> None:
    sim = GossipSim(3, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(3), 10)
    thief = Alive(9, "n1", b"\x0a\x07\x07\x07", 8301, b"", bytes((1, 5, 2, 2, 5, 4)))
    sim.nodes[0].perform(sim.nodes[0].serf.receive([thief], Address(b"\x0a\x07\x07\x07", 8301), sim.now))
    sim.run(5)
    assert sim.all_agree(3)
    member = sim.nodes[0].serf.members.get("n1")
    assert member is not None
    assert member.addr == sim.nodes[1].address.ip
    assert any("Conflicting address for n1" in line for line in sim.nodes[0].logs)


def test_where_names_are_voted_on_the_newcomer_has_to_go(seed: int) -> None:
    sim = GossipSim(5, seed, serf={"resolves_conflicts": True})
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(5), 10)
    thief = sim.add("n1", 5)
    sim.join(thief, sim.nodes[0])
    sim.run_until(lambda: bool(thief.votes), 30)
    assert thief.votes == [False]
    sim.crash(thief)
    sim.run(30)
    assert all(sim.nodes[1].votes)  # it may have heard of the other one, and have asked, too
    assert sim.all_agree(5)


def test_a_user_event_reaches_every_member_once(seed: int) -> None:
    sim = GossipSim(9, seed)
    sim.network.loss, sim.network.duplicate = 0.1, 0.2
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(9), 30)
    sim.nodes[4].perform(sim.nodes[4].serf.user_event("deploy", b"v7", False, sim.now))
    sim.run_until(lambda: all(node.user_events for node in sim.nodes), 120)
    sim.run(60)
    for node in sim.nodes:
        assert [(event.name, event.payload) for event in node.user_events] == [("deploy", b"v7")]


def test_where_events_are_coalesced_the_last_of_a_name_is_enough(seed: int) -> None:
    sim = GossipSim(9, seed, serf={"coalesce_s": 5.0, "quiescent_s": 2.0})
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(9), 30)
    for version in range(20):
        sim.nodes[4].perform(sim.nodes[4].serf.user_event("deploy", b"%d" % version, True, sim.now))
    sim.nodes[4].perform(sim.nodes[4].serf.user_event("page", b"", False, sim.now))
    sim.run(60)
    for node in sim.nodes:
        assert [(event.name, event.payload) for event in node.user_events] == [("page", b""), ("deploy", b"19")]


def test_a_joiner_does_not_hear_of_events_from_before(seed: int) -> None:
    sim = GossipSim(2, seed)
    sim.join_all()
    sim.nodes[0].perform(sim.nodes[0].serf.user_event("old", b"", False, sim.now))
    sim.run(5)
    late = sim.add("n2", 2)
    sim.join(late, sim.nodes[0])
    sim.nodes[0].perform(sim.nodes[0].serf.user_event("new", b"", False, sim.now))
    sim.run(90)
    assert [event.name for event in late.user_events] == ["new"]


def test_a_query_is_acked_by_all_and_relayed(seed: int) -> None:
    sim = GossipSim(5, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(5), 10)
    asker = sim.nodes[0]
    query_id, effects = asker.serf.query("_serf_ping", None, sim.now, ack=True, relay_factor=2)
    asker.perform(effects)
    sim.run(3)
    assert sorted(answer.node for answer in asker.answers) == [f"n{i}" for i in range(5)]
    assert {answer.query_id for answer in asker.answers} == {query_id}


def test_keys_are_rotated_by_queries(seed: int) -> None:
    first, second = bytes(range(32)), bytes(range(16))
    sim = GossipSim(3, seed, keyring=Keyring([first]))
    for node in sim.nodes:  # every node needs a ring of its own
        node.serf.asking._keyring = Keyring([first])
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(3), 10)
    asker = sim.nodes[1]
    for token, operation, key in (
        ("install", "install-key", second),
        ("use", "use-key", second),
        ("remove", "remove-key", first),
        ("list", "list-keys", b""),
    ):
        asker.perform(asker.serf.key_operation(operation, key, 0, sim.now, token))
        sim.run_until(lambda token=token: token in asker.done, 10)
        assert asker.done[token].error is None, asker.done[token]
    assert asker.done["list"].result["NumResp"] == 3
    assert list(asker.done["list"].result["Keys"].values()) == [3]
    asker.perform(asker.serf.key_operation("remove-key", second, 0, sim.now, "bad"))
    sim.run_until(lambda: "bad" in asker.done, 10)
    assert asker.done["bad"].error == "3/3 nodes reported failure"
    assert set(asker.done["bad"].result["Messages"].values()) == {"Removing the primary key is not allowed"}


def test_changed_tags_reach_everybody(seed: int) -> None:
    sim = GossipSim(4, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(4), 10)
    changed = sim.nodes[2]
    changed.perform(changed.serf.set_tags({"role": "node", "acls": "1"}, sim.now, "tags"))
    sim.run_until(lambda: "tags" in changed.done, 5)
    assert changed.done["tags"].error is None

    def seen() -> bool:
        members = [node.serf.members.get("n2") for node in sim.nodes]
        return all(member is not None and member.tags.get("acls") == "1" for member in members)

    sim.run_until(seen, 10)
    for node in sim.nodes:
        assert node.events.count(("update", "n2")) == 1


def prune(sim: GossipSim, node: SimNode, name: str) -> None:
    """Has ``node`` forget the member ``name`` and tell the others so.

    Who hears of a leaving by an exchange of states counts it a tick later than it was told, as in Serf, and then
    ignores a prune of that very tick. Whoever prunes once more, where the member is still known, is heard.
    """
    token = f"{node.name} prunes"
    node.perform(node.serf.force_leave(name, True, sim.now, token))
    sim.run_until(lambda: token in node.done, 10)
    sim.run(2)


def test_force_leave_turns_failed_into_left_and_prune_forgets(seed: int) -> None:
    sim = GossipSim(4, seed)
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(4), 10)
    sim.crash(sim.nodes[3])
    rest = sim.nodes[:3]
    sim.run_until(lambda: all(node.status_of("n3") == Status.FAILED for node in rest), 60)
    rest[0].perform(rest[0].serf.force_leave("n3", False, sim.now, "force"))
    sim.run_until(lambda: all(node.status_of("n3") == Status.LEFT for node in rest), 10)
    sim.run_until(lambda: "force" in rest[0].done, 10)
    assert rest[0].done["force"].error is None
    prune(sim, rest[1], "n3")
    for node in rest:
        if node.status_of("n3") != Status.NONE:
            prune(sim, node, "n3")
    assert all(node.status_of("n3") == Status.NONE for node in rest)
    assert ("reap", "n3") in rest[2].events


def test_failed_members_are_forgotten_after_the_reconnect_timeout(seed: int) -> None:
    sim = GossipSim(2, seed)
    sim.join_all()
    sim.crash(sim.nodes[1])
    survivor = sim.nodes[0]
    sim.run_until(lambda: survivor.status_of("n1") == Status.FAILED, 60)
    sim.run(71 * 3600)
    assert survivor.status_of("n1") == Status.FAILED
    sim.run(2 * 3600)
    assert survivor.status_of("n1") == Status.NONE
    assert survivor.serf.deadline == math.inf  # alone again, and idle again


def test_coordinates_come_to_reflect_the_delays(seed: int) -> None:
    sim = GossipSim(3, seed)
    sim.network.delay_s = (0.010, 0.011)
    sim.join_all()
    sim.run(300)
    a, b = sim.nodes[0].serf.coordinates.own, sim.nodes[1].serf.coordinates.own
    assert a.distance_to(b) == pytest.approx(0.021, rel=0.5)


@pytest.mark.parametrize("size", [20])
def test_a_larger_pool_survives_churn(seed: int, size: int) -> None:
    sim = GossipSim(size, seed)
    sim.network.loss = 0.02
    sim.join_all()
    sim.run_until(lambda: sim.all_agree(size), 60)
    for index in (3, 7, 11):
        sim.crash(sim.nodes[index])
        sim.run(2)
    for index in (4, 8):
        sim.nodes[index].leave()
        sim.run(8)
        sim.crash(sim.nodes[index])
    sim.run_until(lambda: sim.all_agree(size - 5), 120)
    watcher = sim.nodes[0]
    assert {watcher.status_of(f"n{i}") for i in (3, 7, 11)} == {Status.FAILED}
    assert {watcher.status_of(f"n{i}") for i in (4, 8)} == {Status.LEFT}
