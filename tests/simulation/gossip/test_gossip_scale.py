"""Large simulated pools against what the papers and memberlist's formulas promise; --long goes up to 5,000 nodes."""

import os
import subprocess
import sys
from pathlib import Path

import gossip_theory as theory
import pytest
from gossip_formed import formed_pool
from gossip_measure import (
    accusations,
    load,
    spread_of_death,
    spread_of_event,
    spread_of_join,
    spread_of_leave,
)
from gossip_sim import GossipSim

from services.gossip.serf import Status
from services.gossip.swim.formulas import push_pull_interval_s, retransmit_limit


def pool(nodes: int, seed: int, **settings: object) -> GossipSim:
    """A formed pool without the cost of the codec and of log lines."""
    return formed_pool(nodes, seed, **{"codec": False, "keeps_logs": False, **settings})


def sizes(*usual: int, long: tuple[int, ...] = (1000, 5000)) -> list[object]:
    marks = (pytest.mark.slow, pytest.mark.timeout(1800))
    return [*usual, *(pytest.param(size, marks=marks) for size in long)]


# ---- the simulator itself ----------------------------------------------------------------------------------------


def test_a_formed_pool_is_what_joining_makes(seed: int) -> None:
    formed, joined = formed_pool(12, seed), GossipSim(12, seed)
    joined.join_all()
    joined.run_until(lambda: joined.all_agree(12), 20)
    joined.run(20)
    formed.run(20)
    for one, other in zip(formed.nodes, joined.nodes, strict=True):
        assert {node.name: node.record() for node in one.serf.swim.nodes} == {
            node.name: node.record() for node in other.serf.swim.nodes
        }
        for member in other.serf.members:
            twin = one.serf.members.get(member.name)
            assert twin is not None
            assert (twin.record(), twin.left_at) == (member.record(), member.left_at)
        assert one.serf.swim.queued == other.serf.swim.queued == 0
        assert one.events == []


def eventful(nodes: int, seed: int, *, codec: bool) -> GossipSim:
    sim = formed_pool(nodes, seed, codec=codec)
    sim.network.loss, sim.network.duplicate = 0.1, 0.05
    sim.run(2)
    spread_of_event(sim)
    spread_of_join(sim)
    sim.nodes[2].stall(3)
    spread_of_death(sim)
    spread_of_leave(sim)
    return sim


def test_messages_that_skip_the_codec_do_the_same(seed: int) -> None:
    bare, encoded = eventful(15, seed, codec=False), eventful(15, seed, codec=True)
    assert bare.seen_at == encoded.seen_at
    assert bare.counters == encoded.counters
    assert [node.logs for node in bare.nodes] == [node.logs for node in encoded.nodes]


def test_the_same_seed_replays_the_same_run(seed: int) -> None:
    """In other processes too, whose sets and dicts hash strings differently."""
    program = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        f"from test_gossip_scale import eventful\n"
        f"print([eventful(12, {seed} + other, codec=False).trace for other in (0, 1)])"
    )
    traces = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    ]  # fmt: skip
    here = [eventful(12, seed + other, codec=False).trace for other in (0, 1)]
    assert traces == [f"{here}\n"] * 2
    assert here[0] != here[1]


# ---- news --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", sizes(3, 30, 300))
def test_news_spread_in_logarithmic_time(seed: int, nodes: int) -> None:
    sim = pool(nodes, seed)
    sim.run(1)
    # Up to three intervals more, for the first send and for bad luck with the last node. That somebody hears nothing
    # of a rumour at all happens in a pool of 30 to one rumour in a hundred: e**-8 for each, if everybody sends it
    # eight times to somebody.
    bound_s = theory.spread_s(nodes) + 3 * theory.GOSSIP_INTERVAL_S
    assert spread_of_event(sim, 8).share_s(0.95) <= bound_s
    assert spread_of_join(sim, 8).share_s(0.95) <= bound_s
    # Two rumours, one after the other: the intent to leave, sent to its limit, and then the leaving.
    assert spread_of_leave(sim, 8).share_s(0.95) <= 2 * bound_s


@pytest.mark.parametrize("nodes", sizes(30, 200))
def test_news_spread_though_every_third_packet_is_lost(seed: int, nodes: int) -> None:
    """A rumour is sent so often, and then no more; who never heard it has to wait for an exchange of states."""
    sim = pool(nodes, seed)
    sim.network.loss = 0.3
    sim.run(1)
    bound_s = theory.spread_s(nodes, 0.3) + 3 * theory.GOSSIP_INTERVAL_S
    assert spread_of_event(sim, 8).share_s(0.9) <= bound_s
    assert spread_of_join(sim, 8).share_s(0.9) <= bound_s
    assert spread_of_leave(sim, 8).share_s(0.9) <= 2 * bound_s


@pytest.mark.parametrize("nodes", sizes(8, 200))
def test_every_member_sends_a_rumour_up_to_the_retransmit_limit(seed: int, nodes: int) -> None:
    sim = pool(nodes, seed)
    spread_of_event(sim)
    sim.run(10)
    assert sim.counters["consul.serf.msgs.sent"] == nodes * retransmit_limit(4, nodes)
    assert all(len(node.user_events) == 1 for node in sim.nodes)


def test_what_gossip_missed_comes_with_the_exchange_of_states(seed: int) -> None:
    sim = pool(20, seed)
    sim.network.loss = 1.0
    origin = sim.nodes[7]
    origin.perform(origin.serf.user_event("unheard", b"", False, sim.now))
    sim.run(0.8)  # all its packets are lost
    sim.network.loss = 0.0
    assert len(sim.seen_at["event", "unheard"]) == 1
    # One after the other asks somebody who knows; it spreads like a rumour, but once per interval.
    sim.run_until(lambda: len(sim.seen_at["event", "unheard"]) == 20, 8 * push_pull_interval_s(30.0, 20))


# ---- the dead ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [0.0, 0.3])
@pytest.mark.parametrize("nodes", sizes(3, 30, 200))
def test_the_dead_are_found_in_time(seed: int, nodes: int, loss: float) -> None:
    sim = pool(nodes, seed)
    sim.network.loss = loss
    sim.run(1)
    shortest_s, longest_s = theory.suspicion_s(nodes)
    spread = spread_of_death(sim)
    assert len(spread.times_s) == nodes - 1
    # Not before somebody's probe failed and the suspect had its time; in the usual case enough others confirm soon.
    assert spread.first_s >= shortest_s
    patience_s = longest_s if nodes < 30 else 1.5 * shortest_s
    assert spread.first_s <= theory.first_suspicion_s(nodes) + 4 + patience_s
    assert spread.last_s <= spread.first_s + theory.spread_s(nodes, loss) + 2


@pytest.mark.parametrize("loss", [0.1, 0.3])
def test_loss_alone_makes_nobody_suspect_while_streams_work(seed: int, loss: float) -> None:
    sim = pool(100, seed)
    sim.network.loss = loss
    found = accusations(sim, 15)
    assert (found.failed_probes, found.victims) == (0, 0)
    assert found.probes == pytest.approx(1500, rel=0.03)


@pytest.mark.parametrize("loss", [0.1, 0.2, pytest.param(0.3, marks=pytest.mark.slow)])
def test_without_streams_probes_fail_as_often_as_swim_has_it_and_refutation_saves_the_accused(
    seed: int, loss: float
) -> None:
    sim = pool(50, seed)
    sim.network.loss, sim.network.no_streams = loss, True
    found = accusations(sim, 20)
    expected = theory.failed_probes(loss) * found.probes
    assert abs(found.failed_probes - expected) <= 4 * expected**0.5 + 0.1 * expected
    # Of all the times that somebody took somebody for suspect, hardly one ends in a death.
    assert found.deaths <= 0.01 * found.failed_probes * found.nodes


def test_lifeguard_protects_the_healthy_from_the_slow(seed: int) -> None:
    found = {}
    for name, swim in (("lifeguard", {}), ("plain", {"suspicion_max_mult": 1, "awareness_max": 1})):
        sim = pool(30, seed, swim=swim)
        deaf = sim.nodes[:2]
        sim.deafen_cyclically(deaf, 10.0, 0.25)
        found[name] = accusations(sim, 32, deaf)
    assert found["plain"].deaths > 0
    assert found["lifeguard"].deaths * 5 <= found["plain"].deaths
    assert found["lifeguard"].failed_probes < found["plain"].failed_probes


def test_a_stalled_member_neither_accuses_nor_dies_within_the_suspicion_time(seed: int) -> None:
    sim = pool(30, seed)
    for _ in range(2):
        sim.nodes[5].stall(theory.suspicion_s(30)[0] - 2)
        sim.run(20)
    assert not [kind for kind, _ in sim.seen_at if kind == "failed"]


@pytest.mark.parametrize("nodes", sizes(20, long=(500,)))
def test_a_flapping_member_disturbs_nobody_else(seed: int, nodes: int) -> None:
    sim = pool(nodes, seed)
    flapping = sim.nodes[3]
    for _ in range(3):
        sim.crash(flapping)
        others = [node for node in sim.nodes if node.running]
        sim.run_until(lambda: all(node.status_of(flapping) == Status.FAILED for node in others), 120)  # noqa: B023
        sim.revive(flapping)
        sim.run(5)
    sim.run_until(lambda: sim.all_agree(nodes), 120, every_s=1.0)
    assert {subject for kind, subject in sim.seen_at if kind == "failed"} == {flapping.name}
    assert flapping.serf.swim.me.incarnation > 1


@pytest.mark.parametrize("nodes", sizes(60, long=(1000, 5000)))
def test_a_minute_of_churn_on_a_lossy_network_kills_nobody_else(seed: int, nodes: int) -> None:
    """Somebody crashes, leaves, joins or stalls every few seconds; everybody else stays, and all agree in the end."""
    sim = pool(nodes, seed)
    sim.network.loss, sim.network.duplicate, sim.network.delay_s = 0.05, 0.02, (0.001, 0.1)
    crashed, left = sim.nodes[1:4], sim.nodes[4:7]
    for one, other in zip(crashed, left, strict=True):
        sim.run(5)
        sim.crash(one)
        sim.run(5)
        other.leave()
        new = sim.add(f"new-{len(sim.nodes)}", len(sim.nodes))
        assert sim.join(new, sim.nodes[0]) is None
        sim.nodes[10].stall(3)
        sim.run(10)
        sim.crash(other)  # it has left, and ends
    sim.run_until(lambda: sim.all_agree(nodes - 3), 120, every_s=1.0)
    watcher = sim.nodes[20]
    assert {watcher.status_of(node) for node in crashed} == {Status.FAILED}
    assert {watcher.status_of(node) for node in left} == {Status.LEFT}
    # News of a leaving may overtake the intent to leave: then it looks like a failure until the intent has come, too.
    failed = {name for kind, name in sim.seen_at if kind == "failed"} - {node.name for node in left}
    assert failed == {node.name for node in crashed}


# ---- partitions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("nodes", sizes(20, long=(300,)))
def test_a_partition_is_seen_by_both_sides_and_heals(seed: int, nodes: int, share: float) -> None:
    sim = pool(nodes, seed)
    cut = int(nodes * share)
    side, rest = sim.nodes[:cut], sim.nodes[cut:]
    sim.network.split(node.name for node in side)

    def parted() -> bool:
        return all(
            sum(member.status == Status.ALIVE for member in node.serf.members) == len(own)
            for own in (side, rest)
            for node in own
        )

    sim.run_until(parted, 240, every_s=1.0)
    sim.run(40)  # SWIM itself has forgotten the dead by then
    sim.network.heal()
    # Every 30 s each side tries about as many reconnects as it lost members.
    sim.run_until(lambda: sim.all_agree(nodes), 180, every_s=1.0)


# ---- costs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", sizes(10, 300))
def test_an_idle_member_sends_the_same_number_of_packets_in_a_pool_of_any_size(seed: int, nodes: int) -> None:
    sim = pool(nodes, seed)
    sim.run(1)
    idle = load(sim, 5)
    assert idle.packets == pytest.approx(2.0, rel=0.03)  # one probe, one answer
    assert 150 <= idle.packet_bytes <= 300


@pytest.mark.parametrize("nodes", [20, 40, pytest.param(500, marks=pytest.mark.slow)])
def test_states_are_exchanged_less_often_in_a_larger_pool(seed: int, nodes: int) -> None:
    sim = pool(nodes, seed)
    span_s = 4 * push_pull_interval_s(30.0, nodes)
    sim.run(span_s)
    # Every exchange is two states; the first one of each node comes a random part of 30 s late.
    exchanges = sum(node.traffic.streams for node in sim.nodes) / 2 / nodes
    assert 3 <= exchanges <= 4
