"""Whole gossip pools in one process and in virtual time. One seed decides everything that happens."""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.gossip.codec.errors import PacketError
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import Ack
from services.gossip.codec.packet import decode_packet, encode_packet
from services.gossip.codec.stream import PushPull, StreamDecoder, encode_stream
from services.gossip.serf import Member, Serf, SerfSettings, Status
from services.gossip.serf.effects import CommandDone, Effect, MemberEvent, QueryAck, QueryAnswer, UserEvent
from services.gossip.swim import MergeError, SwimSettings
from services.gossip.swim.address import Address
from services.gossip.swim.effects import Log, SendPacket, StartPushPull, TcpPing


@dataclass
class Network:
    """Loss and duplication are probabilities, delays seconds. Streams are reliable while a link is up."""

    rng: random.Random
    loss: float = 0.0
    duplicate: float = 0.0
    delay_s: tuple[float, float] = (0.0005, 0.003)
    cut: set[tuple[str, str]] = field(default_factory=set)
    no_udp: set[tuple[str, str]] = field(default_factory=set)

    def isolate(self, name: str, others: Sequence[str]) -> None:
        self.cut |= {pair for other in others for pair in ((name, other), (other, name))}

    def heal(self) -> None:
        self.cut.clear()
        self.no_udp.clear()

    def reaches(self, source: str, target: str) -> bool:
        return (source, target) not in self.cut


class SimNode:
    """One pool member with everything that it reported."""

    def __init__(self, sim: "GossipSim", name: str, index: int, settings: SerfSettings) -> None:
        self.sim = sim
        self.name = name
        self.address = settings.swim.advertise
        self.serf = Serf(
            settings, random.Random(sim.rng.getrandbits(32)), sim.merge_check, keyring=sim.keyring
        )
        self.events: list[tuple[str, str]] = []
        self.user_events: list[UserEvent] = []
        self.answers: list[QueryAck | QueryAnswer] = []
        self.done: dict[object, CommandDone] = {}
        self.logs: list[str] = []
        self.packets_sent = 0
        self.running = True

    def perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendPacket):
                self.packets_sent += 1
                data = encode_packet(effect.parts, crc=effect.crc, keyring=self.sim.keyring)
                self.sim.send(self, effect.to, data)
            elif isinstance(effect, MemberEvent):
                self.events.append((effect.kind, effect.member.name))
            elif isinstance(effect, UserEvent):
                self.user_events.append(effect)
            elif isinstance(effect, StartPushPull):
                self.sim.push_pull(self, effect.to, join=effect.join)
            elif isinstance(effect, TcpPing):
                self.sim.tcp_ping(self, effect)
            elif isinstance(effect, QueryAck | QueryAnswer):
                self.answers.append(effect)
            elif isinstance(effect, CommandDone):
                self.done[effect.token] = effect
            elif isinstance(effect, Log):
                self.logs.append(effect.text)

    def status_of(self, other: "SimNode | str") -> Status:
        member = self.serf.members.get(other if isinstance(other, str) else other.name)
        return Status.NONE if member is None else member.status

    def leave(self) -> None:
        self.perform(self.serf.leave(self.sim.now, "leave"))


class GossipSim:
    """Runs the nodes of one pool. `now` is virtual seconds."""

    def __init__(
        self,
        count: int,
        seed: int,
        *,
        keyring: Keyring | None = None,
        merge_check: Callable[[Sequence[Member]], str | None] = lambda members: None,
        swim: dict[str, float] | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.keyring = keyring
        self.merge_check = merge_check
        self.network = Network(random.Random(self.rng.getrandbits(32)))
        self._swim = swim or {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self.nodes: list[SimNode] = []
        self.by_address: dict[Address, SimNode] = {}
        for index in range(count):
            self.add(f"n{index}", index)

    def add(self, name: str, index: int, **swim: object) -> SimNode:
        address = Address(bytes((10, 0, index // 250, index % 250 + 1)), 8301)
        settings = SerfSettings(
            SwimSettings(name, address, encrypted=self.keyring is not None, **self._swim, **swim),  # type: ignore[arg-type]
            {"role": "node", "dc": "dc1", "id": name},
        )
        node = SimNode(self, name, index, settings)
        self.nodes.append(node)
        self.by_address[address] = node
        node.perform(node.serf.start(self.now))
        return node

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (when, self._sequence, action))

    def send(self, source: SimNode, to: Address, data: bytes) -> None:
        net = self.network
        target = self.by_address.get(to)
        if target is None or not net.reaches(source.name, target.name):
            return
        if (source.name, target.name) in net.no_udp:
            return
        for _ in range(1 + (net.rng.random() < net.duplicate)):
            if net.rng.random() >= net.loss:
                self.at(self.now + net.rng.uniform(*net.delay_s), lambda: self._deliver(source, target, data))

    def _deliver(self, source: SimNode, target: SimNode, data: bytes) -> None:
        if not target.running:
            return
        try:
            packet = decode_packet(data, self.keyring)
        except PacketError as error:
            raise AssertionError(f"{source.name} sent an unreadable packet: {error}") from error
        target.perform(target.serf.receive(packet.messages, source.address, self.now))

    def push_pull(self, source: SimNode, to: Address, *, join: bool, ignore_old: bool = False) -> str | None:
        """Exchange states at once; the error text of whoever refused, None if both merged."""
        target = self.by_address.get(to)
        if target is None or not target.running or not self.network.reaches(source.name, target.name):
            return "connection refused"
        sent = self._over_the_wire(source.serf.push_pull(join))
        answer = self._over_the_wire(
            PushPull(join, target.serf.push_pull(join).nodes, target.serf.push_pull(join).user_state)
        )
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

    def _over_the_wire(self, state: PushPull) -> PushPull:
        message = StreamDecoder(self.keyring).feed(encode_stream(state, self.keyring))
        assert isinstance(message, PushPull)
        return message

    def tcp_ping(self, source: SimNode, effect: TcpPing) -> None:
        target = self.by_address.get(effect.to)
        answered = (
            target is not None
            and target.running
            and target.name == effect.node
            and self.network.reaches(source.name, target.name)
            and self.network.reaches(target.name, source.name)
        )
        ack = Ack(effect.ping.seq_no)
        if answered and self.now + 0.002 < effect.deadline:
            self.at(
                self.now + 0.002,
                lambda: source.perform(source.serf.tcp_ping_done(ack.seq_no, True, self.now)),
            )

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

    def step(self) -> bool:
        """Run the next thing that happens; False if nothing ever will."""
        deadlines = [(node.serf.deadline, index) for index, node in enumerate(self.nodes) if node.running]
        timer = min(deadlines, default=(float("inf"), -1))
        packet = self._queue[0][0] if self._queue else float("inf")
        if min(timer[0], packet) == float("inf"):
            return False
        if packet <= timer[0]:
            self.now = max(self.now, packet)
            heapq.heappop(self._queue)[2]()
        else:
            self.now = max(self.now, timer[0])
            node = self.nodes[timer[1]]
            node.perform(node.serf.tick(self.now))
        return True

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._next() <= end and self.step():
            pass
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit_s: float) -> None:
        end = self.now + limit_s
        while not condition():
            assert self._next() <= end, f"not within {limit_s} s: {self.views()}"
            self.step()

    def _next(self) -> float:
        timers = [node.serf.deadline for node in self.nodes if node.running]
        return min([*timers, self._queue[0][0] if self._queue else float("inf")], default=float("inf"))

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
