"""One running pool: the Serf core with its sockets, files, timers and log."""

import ipaddress
import math
import os
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from services.gossip.codec.errors import PacketError
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import Ack, Ping, User
from services.gossip.codec.packet import decode_packet, encode_packet
from services.gossip.codec.stream import PushPull, StreamMessage
from services.gossip.keyring_file import save_keyring
from services.gossip.log_gate import LogGate
from services.gossip.packets import PacketSocket
from services.gossip.pool_settings import PoolName, pool_settings
from services.gossip.rejoin import rejoin
from services.gossip.resolve import ResolveError, resolve
from services.gossip.serf.core import Serf
from services.gossip.serf.effects import (
    CommandDone,
    Effect,
    MemberEvent,
    SnapshotAppend,
    SnapshotReplace,
    UserEvent,
)
from services.gossip.serf.errors import SerfError
from services.gossip.serf.member import Member
from services.gossip.serf.replies import QueryReplies
from services.gossip.serf.snapshot import Recovered, SnapshotLog
from services.gossip.snapshot_file import SnapshotFile
from services.gossip.state_exchange import StateExchange
from services.gossip.streams import ExchangeError, Streams
from services.gossip.swim import MergeError
from services.gossip.swim.address import Address, format_ip
from services.gossip.swim.effects import Log, Metric, SendPacket, StartPushPull, TcpPing
from shared import metrics
from shared.config.error_list import error_list
from shared.config.runtime import RuntimeConfig
from shared.log import DEBUG, get_logger
from shared.service import StartError

# A process that was stopped reads what has arrived before it acts on what is overdue: the refutation of a suspicion
# that ran out meanwhile may be among it.
_LATE_S = 0.5
_CATCH_UP_S = 0.1

OnMembers = Callable[[PoolName, str, list[Member]], None]
OnUserEvent = Callable[[PoolName, UserEvent], None]


class JoinError(Exception):
    """No address could be joined; the text lists why, one line each, as Consul shows it."""


class Pool:
    """Opens its listeners at once (StartError if it cannot); `run` then keeps it going until cancelled.

    keyring: the keys with which it starts, None for one that is not encrypted.
    on_members(pool, kind, members), on_user_event(pool, event): what others have to be told."""

    def __init__(
        self,
        config: RuntimeConfig,
        pool: PoolName,
        keyring: Keyring | None,
        on_members: OnMembers,
        on_user_event: OnUserEvent,
    ) -> None:
        settings = self.settings = pool_settings(config, pool, encrypted=keyring is not None)
        self._keyring = keyring
        self._sealing = keyring if settings.verify_outgoing else None
        self._on_members = on_members
        self._on_user_event = on_user_event
        self._logs = {
            area: LogGate(get_logger(f"{settings.logger_prefix}.{area}.{pool}")) for area in ("serf", "memberlist")
        }
        self._nursery: trio.Nursery | None = None
        self._sleep = trio.CancelScope()
        self._exchanging = False
        self.has_left = False
        self.is_leaving = False
        self._snapshot_file: SnapshotFile | None = None
        recovered, snapshot = self._open_snapshot()
        self._previous = recovered.alive if recovered is not None else {}
        self.serf = Serf(
            settings.serf,
            random.Random(int.from_bytes(os.urandom(16), "big")),
            settings.merge_check,
            keyring=keyring,
            save_keyring=self._save_keyring,
            recovered=recovered,
            snapshot=snapshot,
        )
        try:
            self._streams = Streams(
                settings.host,
                settings.port,
                settings.serf.swim.tcp_timeout_s,
                keyring,
                settings.verify_incoming,
                settings.verify_outgoing,
                lambda level, text: self._log("memberlist", level, text),
                self._on_stream,
                self._after_stream,
            )
            self._packets = PacketSocket(settings.host, settings.port)
            self._exchange = StateExchange(self.serf, self._streams, self._perform)
        except StartError as error:
            raise StartError(f"Failed to start {settings.title} Serf: {error}") from None

    @property
    def name(self) -> PoolName:
        return self.settings.pool

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part in the pool until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._warn_if_public()
                try:
                    self._perform(self.serf.start(trio.current_time()))
                except SerfError as error:
                    raise StartError(f"Failed to start {self.settings.title} Serf: {error}") from None
                nursery.start_soon(self._packets.serve, self._on_packet)
                nursery.start_soon(self._streams.serve)
                nursery.start_soon(self._keep_time)
                if self._previous:
                    nursery.start_soon(self._rejoin)
                task_status.started()
        finally:
            self._nursery = None
            self._streams.close()
            self._packets.close()
            if self._snapshot_file is not None:
                self._snapshot_file.close()

    def warn_unless_left(self) -> None:
        """For the end of the process."""
        if not self.has_left:
            self._log("serf", "warn", "serf: Shutdown without a Leave")
        for gate in self._logs.values():
            gate.report(math.inf)

    # ---- commands ------------------------------------------------------------------------------------------------

    async def join(self, addresses: Sequence[str], *, ignore_old: bool = True, announce: bool = True) -> int:
        """Exchange states with all these addresses; how many that worked for. Raises JoinError if with none."""
        try:
            self.serf.check_can_join()
        except SerfError as error:
            raise JoinError(str(error)) from None
        joined, problems = 0, []
        for text in addresses:
            try:
                targets = await resolve(text, self.settings.port)
            except ResolveError as error:
                problems.append(f"Failed to resolve {text}: {error}")
                self._log("memberlist", "warn", f"memberlist: {problems[-1]}")
                continue
            for target in targets:
                try:
                    self._tell_of_exchange(target.name, target.address)
                    await self._exchange.push_pull(target.address, join=True, ignore_old=ignore_old)
                    joined += 1
                except (ExchangeError, MergeError) as error:
                    problems.append(f"Failed to join {format_ip(target.address.ip)}: {error}")
                    self._log("memberlist", "debug", f"memberlist: {problems[-1]}")
        if joined and announce:
            self._perform(self.serf.joined(trio.current_time()))
        if not joined and problems:
            raise JoinError(error_list(problems))
        return joined

    async def leave(self) -> None:
        """Leave gracefully; returns when the others had the chance to hear of it."""
        self.is_leaving = True
        await self._command(lambda now, done: self.serf.leave(now, done))
        self.has_left = True

    async def force_leave(self, node: str, prune: bool) -> str | None:
        """Declare a member gone; an error text if the pool could not be told in time."""
        return (await self._command(lambda now, done: self.serf.force_leave(node, prune, now, done))).error

    async def set_tags(self, tags: dict[str, str]) -> str | None:
        """Announce other tags; an error text if the pool could not be told in time. Raises SerfError if too long."""
        return (await self._command(lambda now, done: self.serf.set_tags(tags, now, done))).error

    async def key_operation(self, operation: str, key: bytes, relay_factor: int) -> CommandDone:
        """Run a key operation on all members. Raises SerfError."""
        return await self._command(lambda now, done: self.serf.key_operation(operation, key, relay_factor, now, done))

    def user_event(self, name: str, payload: bytes, coalesce: bool) -> None:
        """Raises SerfError if the event is too large."""
        self._perform(self.serf.user_event(name, payload, coalesce, trio.current_time()))

    async def query(
        self, name: str, payload: bytes, filters: tuple[bytes, ...], ack: bool, relay_factor: int, timeout_s: float
    ) -> CommandDone:
        """Ask all members that the filters let through and wait for the end of the query: see QueryReplies.

        timeout_s: 0 for what the size of the pool suggests. Raises SerfError if it is too large."""
        return await self._command(
            lambda now, done: self.serf.query(
                name,
                payload,
                now,
                filters=filters or None,
                ack=ack,
                relay_factor=relay_factor,
                timeout_s=timeout_s,
                collector=QueryReplies(done),
            )[1]
        )

    async def _command(self, start: Callable[[float, "_Done"], list[Effect]]) -> CommandDone:
        done = _Done()
        self._perform(start(trio.current_time(), done))
        await done.event.wait()
        assert done.outcome is not None
        return done.outcome

    # ---- what comes in -------------------------------------------------------------------------------------------

    def _on_packet(self, data: bytes, source: Address, now: float) -> None:
        try:
            packet = decode_packet(data, self._keyring, verify_incoming=self.settings.verify_incoming)
        except PacketError as error:
            metrics.incr("consul.memberlist.udp.malformed")
            self._log("memberlist", "error", f"memberlist: {error} from={source}")
            return
        for problem in packet.problems:
            metrics.incr("consul.memberlist.udp.malformed")
            self._log("memberlist", "warn", f"memberlist: {problem} from={source}")
        self._perform(self.serf.receive(packet.messages, source, now))

    def _on_stream(self, message: StreamMessage) -> StreamMessage | None:
        """The reply to what an initiator sent."""
        if isinstance(message, PushPull):
            return self.serf.push_pull(message.join)
        if isinstance(message, Ping):
            if message.node and message.node != self.settings.serf.name:
                self._log("memberlist", "warn", f"memberlist: Got ping for unexpected node {message.node}")
                return None
            return Ack(message.seq_no)
        return None

    async def _after_stream(self, message: StreamMessage) -> None:
        """States are merged after the answer is out, so that the peer gets ours as it was."""
        if isinstance(message, PushPull):
            try:
                await self._exchange.merge(message)
            except MergeError as error:
                self._log("memberlist", "error", f"memberlist: Failed push/pull merge: {error}")
        elif isinstance(message, User):
            self._perform(self.serf.receive_user(message.payload, trio.current_time()))

    async def _keep_time(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._deadline) as self._sleep:
                await trio.sleep_forever()
            if trio.current_time() > self.serf.deadline + _LATE_S:
                await trio.sleep(_CATCH_UP_S)
            now = trio.current_time()
            for gate in self._logs.values():
                if now >= gate.deadline:
                    gate.report(now)
            if now >= self.serf.deadline:
                self._perform(self.serf.tick(now))

    @property
    def _deadline(self) -> float:
        return min(self.serf.deadline, *(gate.deadline for gate in self._logs.values()))

    def _set_alarm(self) -> None:
        """Nobody is woken only to learn that there is less, or more, to wait for."""
        deadline = self._deadline
        if self._sleep.deadline != deadline:
            self._sleep.deadline = deadline

    # ---- what goes out -------------------------------------------------------------------------------------------

    def _perform(self, effects: list[Effect]) -> None:
        members: list[Member] = []
        kind = ""
        for effect in effects:
            if isinstance(effect, MemberEvent):
                if effect.kind != kind and members:
                    self._on_members(self.name, kind, members)
                    members = []
                kind = effect.kind
                members.append(effect.member)
            else:
                self._perform_one(effect)
        if members:
            self._on_members(self.name, kind, members)
        self._set_alarm()

    def _perform_one(self, effect: Effect) -> None:
        if isinstance(effect, SendPacket):
            # They fit one frame as they are, so that compressing them would cost time and save nothing worth it.
            data = encode_packet(effect.parts, crc=effect.crc, keyring=self._sealing, compress=False)
            problem = self._packets.send(effect.to, data)
            if problem is not None:
                self._log("memberlist", "error", f"memberlist: Failed to send packet: {problem}")
        elif isinstance(effect, Log):
            self._log(effect.area, effect.level, effect.text)
        elif isinstance(effect, Metric):
            getattr(metrics, effect.kind)(effect.name, effect.value)
        elif isinstance(effect, UserEvent):
            self._on_user_event(self.name, effect)
        elif isinstance(effect, CommandDone):
            effect.token.finish(effect)
        elif isinstance(effect, SnapshotAppend):
            if self._snapshot_file is not None:
                self._snapshot_file.append(effect.text, trio.current_time(), sync=effect.sync)
        elif isinstance(effect, SnapshotReplace):
            if self._snapshot_file is not None:
                self._snapshot_file.replace(effect.text, trio.current_time())
        elif self._nursery is not None:
            if isinstance(effect, TcpPing):
                self._nursery.start_soon(self._tcp_ping, effect)
            elif isinstance(effect, StartPushPull) and not self._exchanging:
                self._exchanging = True
                self._nursery.start_soon(self._periodic_push_pull, effect)

    async def _tcp_ping(self, effect: TcpPing) -> None:
        try:
            left_s = effect.deadline - trio.current_time()
            answered = await self._streams.ping(effect.to, effect.ping, max(left_s, 0.0))
        except ExchangeError as error:
            self._log("memberlist", "error", f"memberlist: Failed fallback ping: {error}")
            return
        self._perform(self.serf.tcp_ping_done(effect.ping.seq_no, answered, trio.current_time()))

    async def _periodic_push_pull(self, effect: StartPushPull) -> None:
        try:
            self._tell_of_exchange(effect.node, effect.to)
            await self._exchange.push_pull(effect.to, join=effect.join)
        except (ExchangeError, MergeError) as error:
            self._log("memberlist", "error", f"memberlist: Push/Pull with {effect.node} failed: {error}")
        finally:
            self._exchanging = False

    async def _rejoin(self) -> None:
        """After a restart: find one of the members known before."""
        previous = [(name, address) for name, address in self._previous.items() if name != self.settings.serf.name]
        random.shuffle(previous)

        async def attempt(name: str, address: str) -> bool:
            with suppress(JoinError):
                return await self.join([f"{name}/{address}"], ignore_old=False, announce=False) > 0
            return False

        await rejoin(
            previous,
            attempt,
            lambda: not self.is_leaving and not self.serf.swim.any_other_alive(),
            lambda level, text: self._log("serf", level, text),
        )

    def _save_keyring(self) -> str | None:
        """An error text, or None."""
        if self._keyring is None:
            return None
        return save_keyring(self.settings.keyring_file, self.settings.keyring_run, self._keyring)

    def _open_snapshot(self) -> tuple[Recovered | None, SnapshotLog | None]:
        if not self.settings.snapshot_file:
            return None, None
        rejoin = self.settings.rejoin_after_leave
        try:
            self._snapshot_file = SnapshotFile(
                self.settings.snapshot_file, self.settings.snapshot_run, self._logs["serf"].logger
            )
            run = self.settings.agent_run
            recovered, size = self._snapshot_file.recover(rejoin_after_leave=rejoin, run=run)
        except StartError as error:
            raise StartError(f"Failed to start {self.settings.title} Serf: {error}") from None
        return recovered, SnapshotLog(recovered, size, rejoin_after_leave=rejoin, run=run)

    def _warn_if_public(self) -> None:
        if self._keyring is None and ipaddress.ip_address(self.settings.serf.swim.advertise.ip).is_global:
            self._log("memberlist", "warn", "memberlist: Binding to public address without encryption!")

    def _tell_of_exchange(self, node: str, to: Address) -> None:
        self._log("memberlist", "debug", f"memberlist: Initiating push/pull sync with: {node} {to}")

    def _log(self, area: str, level: str, text: str) -> None:
        gate = self._logs[area]
        if level == "debug" and not gate.logger.enabled(DEBUG):
            return
        gate.write(level, text, trio.current_time())
        if gate.deadline < self._sleep.deadline:
            self._set_alarm()


class _Done:
    """Where a command waits for its CommandDone."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.outcome: CommandDone | None = None

    def finish(self, outcome: CommandDone) -> None:
        self.outcome = outcome
        self.event.set()
