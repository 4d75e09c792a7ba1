"""One seeded run of a cluster to which everything that can go wrong does, in some mixture that the seed decides."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable

from services.raft_node.core import RaftCore
from services.raft_node.core import events as ev
from services.raft_node.core.configuration import ADD_NON_VOTER, ADD_VOTER, DEMOTE_VOTER, REMOVE_SERVER
from services.raft_node.core.messages import AppendEntries
from tests.simulation.raft_cluster import HEARTBEAT_S, SimCluster, SimServer
from tests.simulation.raft_reads import confirmed_read, vouched_read

TURNS = 90
_SPARES = 2
_PAUSES_S = (0.0, 0.002, 0.01, 0.03, 0.1)
_OF_NO_REQUEST = -1
"""An answer to this number says nothing to a leader but its term."""


def run_seed(size: int, seed: int) -> SimCluster:
    """Raises AssertionError if a promise of Raft is broken, or if the cluster does not recover when all is well
    again."""
    rng, disks = random.Random(seed * 8 + size), random.Random(f"{seed} {size}")
    cluster = SimCluster(
        size,
        rng.getrandbits(32),
        spares=_SPARES,
        drop=rng.choice([0.0, 0.0, 0.02, 0.1]),
        duplicate=rng.choice([0.0, 0.0, 0.02, 0.1]),
        late=rng.choice([0.0, 0.0, 0.02]),
        delay_s_max=rng.choice([0.001, 0.01, 0.04]),
        interrupted=rng.choice([0.0, 0.3]),
        slow_disks=rng.choice([0.0, 0.3, 1.0]),
        hanging=disks.choice([0.0, 0.0, 0.1, 0.4]),
        trailing_logs=rng.choice([3, 20]),
        segment_bytes=rng.choice([1 << 12, 1 << 13]),
        max_append_entries=rng.choice([1, 8]),
        max_in_flight_bytes=rng.choice([10, 1 << 20]),
        keeps_lines=False,
    )
    nemesis = Nemesis(cluster, rng, disks)
    for _ in range(TURNS):
        nemesis.turn()
        cluster.run_for(rng.choice(_PAUSES_S))
    nemesis.rest()
    cluster.settle()
    return cluster


def _snapshot_of(leader: SimServer, target: SimServer) -> ev.SendSnapshot:
    core = leader.core
    return ev.SendSnapshot(_OF_NO_REQUEST, target.server, core.term, core.log.snapshot_index)


class Nemesis:
    """Each run uses only some of the faults, so that the others can be rare or absent while those meet."""

    def __init__(self, cluster: SimCluster, rng: random.Random, more: random.Random) -> None:
        self.cluster = cluster
        self.rng = rng
        self._more = more
        self._restores = more.choice([0.0, 0.03])
        faults: list[tuple[float, Callable[[], None]]] = [
            (0.06, self._kill),
            (0.06, self._crash_in_a_write),
            (0.06, self._cut_off),
            (0.06, self._cut_directions),
            (0.06, self._leave_a_tail),
            (0.06, self._break_disk),
            (0.06, self._change_configuration),
            (0.05, self._transfer),
            (0.06, self._take_snapshot),
            (0.05, self._freeze),
            (0.04, self._jump),
            (0.03, self._false_alarm),
            (0.06, self._send_a_part_again),
            (0.03, self._overtake),
            (0.04, self._fill_state_store),
        ]
        chosen = [fault for fault in faults if rng.random() < 0.6]
        self._actions = [
            (0.34, self._write),
            (0.08, self._read),
            (0.10, self._boot),
            (0.06, self._mend_network),
            (0.04, self._mend_disks),
            (0.05, self._thaw),
            *chosen,
        ]
        self._weights = [weight for weight, _ in self._actions]
        # A follower's clock that leaps, or that runs much faster than the leader's, breaks what leases stand on.
        cluster.oracle.leases_hold = all(fault != self._jump for _, fault in chosen)
        if rng.random() < 0.5:
            for node in cluster.nodes.values():
                node.clock_rate = rng.uniform(0.95, 1.05)

    def turn(self) -> None:
        [(_, action)] = self.rng.choices(self._actions, self._weights)
        action()
        if self._restores and self._more.random() < self._restores:
            self._restore()
        leaders = self.cluster.leaders()
        for node in leaders:
            self.cluster.oracle.may_read_locally(node)
            if len(leaders) > 1:
                node.read()  # one of them does not know yet that it is none
        for node in self.cluster.nodes.values():
            confirmed_read(node)  # where the page shows a leader
            vouched_read(node)

    def rest(self) -> None:
        """From now on clocks are as they should be."""
        for node in self.cluster.nodes.values():
            node.clock_offset_s += (node.clock_rate - 1) * self.cluster.now
            node.clock_rate = 1.0

    def _any(self) -> SimServer:
        return self.rng.choice(list(self.cluster.nodes.values()))

    def _live(self) -> SimServer | None:
        live = self.cluster.live()
        return self.rng.choice(live) if live else None

    def _leader(self) -> SimServer | None:
        leaders = self.cluster.leaders()
        return self.rng.choice(leaders) if leaders else None

    def _victim(self) -> SimServer | None:
        """Often the leader, whom it hurts most."""
        return self._leader() if self.rng.random() < 0.4 else self._live()

    # ---- what clients and operators do -----------------------------------------------------------------------------

    def _write(self) -> None:
        if leader := self._leader():
            self.cluster.write(leader, self.rng.randint(1, 12))

    def _read(self) -> None:
        if leader := self._leader():
            leader.read()

    def _take_snapshot(self) -> None:
        if node := self._live():
            node.take_snapshot()

    def _restore(self) -> None:
        """A user restores a state while the cluster is not well; often the leader is just losing its office."""
        if leaders := self.cluster.leaders():
            leader = self._more.choice(leaders)
            if self._more.random() < 0.5:
                self.cluster.isolate(leader)
            leader.restore(self._more.choice([1, 1, 30]))

    def _transfer(self) -> None:
        if leader := self._leader():
            leader.event(ev.TransferLeadership("t"))

    def _change_configuration(self) -> None:
        """Often several at once, of which all but one must be refused."""
        leader = self._leader()
        for _ in range(self.rng.choice([1, 1, 3])):
            if leader is not None and leader.replica is not None:
                target = self._any().server
                command = self.rng.choice([ADD_VOTER, ADD_VOTER, ADD_NON_VOTER, DEMOTE_VOTER, REMOVE_SERVER])
                leader.change_configuration(command, target.id, target.address)

    # ---- faults ----------------------------------------------------------------------------------------------------

    def _kill(self) -> None:
        if node := self._victim():
            node.kill(power=self.rng.random() < 0.5)

    def _crash_in_a_write(self) -> None:
        if node := self._victim():
            node.disk.crash_after = self.rng.randint(1, 12)

    def _boot(self) -> None:
        for node in self.cluster.nodes.values():
            if node.replica is None:
                if self.rng.random() < 0.1:
                    node.disk.crash_after = self.rng.randint(1, 4)
                node.boot()
                return

    def _send_a_part_again(self) -> None:
        """A leader may send its snapshot or any part of its log at any time, with the index up to which it has
        committed; ours never begins further back than it has to, others may. Often to a server that has just come back
        with entries of its own."""
        self._boot()
        if leader := self._leader():
            for target in self.cluster.live():
                if target is leader:
                    continue
                if self.rng.random() < 0.3:
                    leader.send_snapshot(_snapshot_of(leader, target))
                elif request := self._part_of_the_log(leader.core):
                    self.cluster.call(leader, target.server.id, _OF_NO_REQUEST, request, None)

    def _part_of_the_log(self, core: RaftCore) -> AppendEntries | None:
        log = core.log
        first = self.rng.randint(log.first_index, log.last_index + 1)
        last = min(log.last_index, first - 1 + self.rng.randint(0, 3))
        entries = tuple(log.read(first, last, 1 << 20)) if first <= last else ()
        before = log.term_at(first - 1)
        if before is None:
            return None
        return AppendEntries(core.term, core.state.settings.address, first - 1, before, entries, core.commit_index)

    def _overtake(self) -> None:
        """A leader that is cut off takes writes; the others elect another one, and do not keep what it would need."""
        if old := self._leader():
            self.cluster.isolate(old)
            self.cluster.write(old, self.rng.randint(1, 12))
            self.cluster.run_for(4 * HEARTBEAT_S)
            for new in self.cluster.leaders():
                if new is not old:
                    self.cluster.write(new, self.rng.randint(1, 12))
                    self.cluster.run_for(HEARTBEAT_S / 2)
                    new.take_snapshot()
            self.cluster.run_for(HEARTBEAT_S / 2)
            self.cluster.cut.clear()

    def _cut_off(self) -> None:
        nodes = list(self.cluster.nodes.values())
        self.cluster.isolate(*self.rng.sample(nodes, self.rng.randint(1, len(nodes) // 2)))

    def _cut_directions(self) -> None:
        """Asymmetric: some servers are heard but do not hear, or the other way round."""
        names = list(self.cluster.nodes)
        for _ in range(self.rng.randint(1, 2 * len(names))):
            first, second = self.rng.sample(names, 2)
            self.cluster.cut[first, second] = None

    def _leave_a_tail(self) -> None:
        """A leader that reaches at most one other takes writes, and is gone: entries stay that no quorum has."""
        if leader := self._leader():
            others = [node for node in self.cluster.live() if node is not leader]
            self.cluster.isolate(leader, *self.rng.sample(others, min(len(others), self.rng.randint(0, 1))))
            self.cluster.write(leader, self.rng.randint(1, 4))
            self.cluster.run_for(self.rng.choice([0.005, 0.02]))
            if self.rng.random() < 0.7:
                leader.kill(power=False)
            self.cluster.cut.clear()

    def _mend_network(self) -> None:
        self.cluster.cut.clear()

    def _break_disk(self) -> None:
        """Log writes fail from now on: a full disk or a bad one."""
        operation = self.rng.choice(["write", "sync", "allocate"])

        def fault(name: str, path: str) -> None:
            if name == operation and path.endswith((".wal", ".wal.tmp")):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

        if node := self._live():
            node.disk.fault = fault

    def _fill_state_store(self) -> None:
        """What is committed cannot be applied from now on, also by a server that comes to lead then."""
        if node := self._victim():
            node.machine.no_room = True

    def _mend_disks(self) -> None:
        for node in self.cluster.nodes.values():
            node.disk.fault = None
            node.make_room()

    def _freeze(self) -> None:
        if node := self._victim():
            node.freeze()
            self.cluster.after(self.rng.uniform(0, 4 * HEARTBEAT_S), node.thaw)

    def _thaw(self) -> None:
        for node in self.cluster.nodes.values():
            node.thaw()

    def _jump(self) -> None:
        if node := self._live():
            node.jump(self.rng.choice([0.01, 0.1, 1.0, 100.0]))

    def _false_alarm(self) -> None:
        """The leader's connections end although it lives."""
        if leader := self._leader():
            self.cluster.connections_end(leader)
