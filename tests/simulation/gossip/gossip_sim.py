"""Whole gossip pools of the real cores in one process and in virtual time. One seed decides everything that happens.

Everything is an entry of one heap: a packet that arrives, a core whose deadline has come, an action of a test. What
it costs to run is what the cores cost, so pools of thousands of nodes are possible; see gossip_formed for such."""

import heapq
import random
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from gossip_network import Network, Traffic

from services.gossip.codec.errors import PacketError
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import ALIVE, DEAD, SUSPECT, USER, Message, decode_message
from services.gossip.codec.packet import decode_packet, encode_packet
from services.gossip.codec.stream import PushPull, StreamDecoder, encode_stream
from services.gossip.serf import Member, Serf, SerfSettings, Status
from services.gossip.serf.effects import CommandDone, Effect, MemberEvent, NameVoted, QueryAck, QueryAnswer, UserEvent
from services.gossip.swim import MergeError, SwimSettings
from services.gossip.swim.address import Address
from services.gossip.swim.effects import Log, Metric, SendPacket, StartPushPull, TcpPing

_REPEATED = frozenset((SUSPECT, ALIVE, DEAD, USER))
FAILED_PROBES = "failed probes"
_FAILED_PROBE = "has failed, no acks received"
_RECORD_BYTES = 60  # of a node in a push/pull, without its Meta


class SimNode:
    """One pool member with everything that it reported."""

    def __init__(self, sim: "GossipSim", name: str, index: int, settings: SerfSettings) -> None:
        self.sim = sim
        self.name = name
        self.index = index
        self.address = settings.swim.advertise
        self.serf = Serf(settings, random.Random(sim.rng.getrandbits(32)), sim.merge_check, keyring=sim.keyring)
        self.events: list[tuple[str, str]] = []
        self.user_events: list[UserEvent] = []
        self.answers: list[QueryAck | QueryAnswer] = []
        self.votes: list[bool] = []
        self.done: dict[object, CommandDone] = {}
        self.logs: list[str] = []
        self.traffic = Traffic()
        self.running = True
        self.busy_until = self.deaf_until = 0.0
        self._armed_for = float("inf")

    def perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            _PERFORM.get(type(effect), _ignore)(self, effect)
        self.arm()

    def arm(self, *, afresh: bool = False) -> None:
        deadline = self.serf.deadline
        if deadline < self._armed_for or afresh:
            self._armed_for = deadline
            self.sim.push(deadline, self, None, None)

    def wake(self, now: float) -> None:
        """The time came for which this node was armed; its deadline may have moved on since."""
        if now < self._armed_for:
            return  # armed for an earlier time meanwhile, and that was served
        self._armed_for = float("inf")
        if self.serf.deadline <= now:
            self.perform(self.serf.tick(now))
        else:
            self.arm()

    def status_of(self, other: "SimNode | str") -> Status:
        member = self.serf.members.get(other if isinstance(other, str) else other.name)
        return Status.NONE if member is None else member.status

    def leave(self) -> None:
        self.perform(self.serf.leave(self.sim.now, "leave"))

    def stall(self, seconds: float) -> None:
        """Neither timers nor packets are looked at for so long; then all that has come is, in its order."""
        self.busy_until = self.deaf_until = self.sim.now + seconds

    def deafen(self, seconds: float) -> None:
        """Packets and streams are looked at only after so long, while timers run: the receiver is overloaded."""
        self.deaf_until = self.sim.now + seconds

    def _send(self, effect: SendPacket) -> None:
        self.traffic.add(effect.parts, effect.crc)
        self.sim.send(self, effect)

    def _member(self, effect: MemberEvent) -> None:
        self.events.append((effect.kind, effect.member.name))
        self.sim.saw(self, effect.kind, effect.member.name)

    def _user_event(self, effect: UserEvent) -> None:
        self.user_events.append(effect)
        self.sim.saw(self, "event", effect.name)

    def _push_pull(self, effect: StartPushPull) -> None:
        self.sim.push_pull(self, effect.to, join=effect.join)

    def _tcp_ping(self, effect: TcpPing) -> None:
        self.sim.tcp_ping(self, effect)

    def _answer(self, effect: QueryAck | QueryAnswer) -> None:
        self.answers.append(effect)

    def _done(self, effect: CommandDone) -> None:
        self.done[effect.token] = effect

    def _voted(self, effect: NameVoted) -> None:
        self.votes.append(effect.kept)

    def _log(self, effect: Log) -> None:
        if effect.text.endswith(_FAILED_PROBE):
            self.sim.counters[FAILED_PROBES] += 1
        if self.sim.keeps_logs:
            self.logs.append(effect.text)

    def _metric(self, effect: Metric) -> None:
        if effect.kind != "gauge":
            self.sim.counters[effect.name] += 1


def _ignore(node: SimNode, effect: Effect) -> None:
    pass


_PERFORM: dict[type, Callable[[SimNode, Effect], None]] = {
    SendPacket: SimNode._send,
    MemberEvent: SimNode._member,
    UserEvent: SimNode._user_event,
    StartPushPull: SimNode._push_pull,
    TcpPing: SimNode._tcp_ping,
    QueryAck: SimNode._answer,
    QueryAnswer: SimNode._answer,
    NameVoted: SimNode._voted,
    CommandDone: SimNode._done,
    Log: SimNode._log,
    Metric: SimNode._metric,
}  # type: ignore[dict-item]

Entry = tuple[float, int, SimNode | None, object, object]


class GossipSim:
    """Runs the nodes of one pool. `now` is virtual seconds.

    codec: packets and streams pass through their encoded form, encryption included; without it single messages do,
    each only once. keeps_logs: nodes keep their log lines. swim, serf: settings that all nodes share.

    counters: how often each metric was counted or sampled, over all nodes.
    trace: a checksum over all packets that arrived and when, for comparing runs.
    seen_at: (kind of event, subject) -> when each node (index) first reported it."""

    def __init__(
        self,
        count: int,
        seed: int,
        *,
        keyring: Keyring | None = None,
        merge_check: Callable[[Sequence[Member]], str | None] = lambda members: None,
        swim: dict[str, float] | None = None,
        serf: dict[str, object] | None = None,
        codec: bool = True,
        keeps_logs: bool = True,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.keyring = keyring
        self.merge_check = merge_check
        self.codec = codec
        self.keeps_logs = keeps_logs
        self.network = Network(random.Random(self.rng.getrandbits(32)))
        self.counters: Counter[str] = Counter()
        self.seen_at: defaultdict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        self.trace = 0
        self._swim = swim or {}
        self._serf = serf or {}
        self._queue: list[Entry] = []
        self._sequence = 0
        self._decoded: dict[bytes, Message] = {}
        self.nodes: list[SimNode] = []
        self.by_address: dict[Address, SimNode] = {}
        for index in range(count):
            self.add(f"n{index}", index)

    def add(self, name: str, index: int, **swim: object) -> SimNode:
        address = Address(bytes((10, 0, index // 250, index % 250 + 1)), 8301)
        settings = SerfSettings(
            SwimSettings(name, address, encrypted=self.keyring is not None, **self._swim, **swim),  # type: ignore[arg-type]
            {"role": "node", "dc": "dc1", "id": name},
            **self._serf,  # type: ignore[arg-type]
        )
        node = SimNode(self, name, index, settings)
        self.nodes.append(node)
        self.by_address[address] = node
        node.perform(node.serf.start(self.now))
        return node

    # ---- what happens --------------------------------------------------------------------------------------------

    def push(self, when: float, node: SimNode | None, what: object, source: object) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (when, self._sequence, node, what, source))

    def at(self, when: float, action: Callable[[], None]) -> None:
        self.push(when, None, action, None)

    def step(self) -> bool:
        """Run the next thing that happens; False if nothing ever will."""
        if not self._queue or self._queue[0][0] == float("inf"):
            return False
        self._run_next()
        return True

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        queue = self._queue
        while queue and queue[0][0] <= end:
            self._run_next()
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit_s: float, every_s: float = 0.0) -> None:
        """every_s: how often to look, for conditions that cost much; 0 is after everything that happens."""
        end = self.now + limit_s
        while not condition():
            if every_s:
                assert self.now < end, f"not within {limit_s} s"
                self.run(every_s)
                continue
            if not self._queue or self._queue[0][0] > end:
                raise AssertionError(f"not within {limit_s} s: {self.views() if len(self.nodes) < 20 else ''}")
            self._run_next()

    def _run_next(self) -> None:
        when, sequence, node, what, source = heapq.heappop(self._queue)
        now = self.now = max(when, self.now)
        if node is None:
            what()  # type: ignore[operator]
        elif not node.running:
            pass
        elif now < (node.busy_until if what is None else node.deaf_until):
            # In the order of their arrival: entries of one time are run in the order of their numbers.
            later = node.busy_until if what is None else node.deaf_until
            heapq.heappush(self._queue, (later, sequence, node, what, source))
        elif what is None:
            node.wake(now)
        else:
            size = len(what)  # type: ignore[arg-type]
            self.trace = zlib.crc32(struct.pack("<dHH", now, node.index, size), self.trace)
            messages = self._read(what)
            node.perform(node.serf.receive(messages, source, now))  # type: ignore[arg-type]

    def _read(self, packet: object) -> list[Message]:
        if isinstance(packet, bytes):
            try:
                return decode_packet(packet, self.keyring).messages
            except PacketError as error:
                raise AssertionError(f"somebody sent an unreadable packet: {error}") from error
        messages = []
        for part in packet:  # type: ignore[attr-defined]
            message = self._decoded.get(part)
            if message is None:
                message = decode_message(part)
                if part[0] in _REPEATED:
                    self._decoded[part] = message
            messages.append(message)
        return messages

    def saw(self, node: SimNode, kind: str, subject: str) -> None:
        self.seen_at[kind, subject].setdefault(node.index, self.now)

    # ---- the network ---------------------------------------------------------------------------------------------

    def send(self, source: SimNode, packet: SendPacket) -> None:
        target = self.by_address.get(packet.to)
        if target is None or not self.network.carries_packets(source.name, target.name):
            return
        data: object = packet.parts
        if self.codec:
            data = encode_packet(packet.parts, crc=packet.crc, keyring=self.keyring)
        for delay_s in self.network.delays():
            self.push(self.now + delay_s, target, data, source.address)

    def push_pull(self, source: SimNode, to: Address, *, join: bool, ignore_old: bool = False) -> str | None:
        """Exchange states at once; the error text of whoever refused, None if both merged."""
        target = self.by_address.get(to)
        if target is None or not target.running or not self.network.carries_streams(source.name, target.name):
            return "connection refused"
        if self.now < target.deaf_until or self.now < source.deaf_until:
            return "i/o timeout"
        sent = self._over_the_wire(source, source.serf.push_pull(join))
        answer = self._over_the_wire(target, target.serf.push_pull(join))
        problem = None
        try:
            target.perform(target.serf.merge(sent, self.now))
        except MergeError as error:
            problem = str(error)
        try:
            source.perform(source.serf.merge(answer, self.now, ignore_old=ignore_old))
        except MergeError as error:
            problem = str(error)
        return problem

    def _over_the_wire(self, sender: SimNode, state: PushPull) -> PushPull:
        if not self.codec:
            meta = len(state.nodes[0].meta) if state.nodes else 0
            sender.traffic.add_stream(len(state.user_state) + len(state.nodes) * (_RECORD_BYTES + meta))
            return state
        data = encode_stream(state, self.keyring)
        sender.traffic.add_stream(len(data))
        message = StreamDecoder(self.keyring).feed(data)
        assert isinstance(message, PushPull)
        return message

    def tcp_ping(self, source: SimNode, effect: TcpPing) -> None:
        target = self.by_address.get(effect.to)
        if target is None or not target.running or target.name != effect.node:
            return
        if not self.network.carries_streams(source.name, target.name):
            return
        answered_at = max(self.now, target.deaf_until) + 0.002
        if answered_at < effect.deadline:
            self.at(answered_at, lambda: self._tcp_pong(source, effect.ping.seq_no))

    def _tcp_pong(self, source: SimNode, seq_no: int) -> None:
        if source.running and self.now >= source.deaf_until:
            source.perform(source.serf.tcp_ping_done(seq_no, True, self.now))

    # ---- what tests do -------------------------------------------------------------------------------------------

    def join(self, source: SimNode, target: SimNode) -> str | None:
        problem = self.push_pull(source, target.address, join=True, ignore_old=True)
        if problem is None:
            source.perform(source.serf.joined(self.now))
        return problem

    def join_all(self) -> None:
        """All nodes join the first one."""
        for node in self.nodes[1:]:
            assert self.join(node, self.nodes[0]) is None

    def crash(self, node: SimNode) -> None:
        node.running = False

    def revive(self, node: SimNode) -> None:
        """A node that was taken for crashed had only been frozen: it goes on as if nothing had happened."""
        node.running = True
        node.arm(afresh=True)

    def deafen_cyclically(self, nodes: Iterable[SimNode], deaf_s: float, awake_s: float) -> None:
        """From now on these nodes, all at once, are deaf and awake by turns: the slow members of Lifeguard 5."""
        slow = list(nodes)

        def deafen() -> None:
            for node in slow:
                node.deafen(deaf_s)
            self.at(self.now + deaf_s + awake_s, deafen)

        deafen()

    def all_agree(self, alive: int | None = None) -> bool:
        """Do all running nodes see exactly the running nodes as alive?"""
        running = {node.name for node in self.nodes if node.running}
        assert alive is None or len(running) == alive
        return all(
            {member.name for member in node.serf.members if member.status == Status.ALIVE} == running
            for node in self.nodes
            if node.running
        )

    def views(self) -> dict[str, dict[str, str]]:
        return {
            node.name: {member.name: member.status.name for member in node.serf.members}
            for node in self.nodes
            if node.running
        }
