"""Who is in the pool: member states, made from what SWIM sees and what members say they intend."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from services.gossip.codec import limits
from services.gossip.codec.errors import PacketError
from services.gossip.codec.serf_messages import JoinIntent, LeaveIntent, decode_tags
from services.gossip.serf.effects import Effect, MemberEvent
from services.gossip.serf.lamport import LamportClock
from services.gossip.serf.member import Member, Status
from services.gossip.serf.settings import SerfSettings
from services.gossip.swim.address import format_ip
from services.gossip.swim.effects import Log, Metric
from services.gossip.swim.nodes import Node
from services.gossip.swim.timers import Timer, Timers

_INTENTS_MAX = 65536


@dataclass(frozen=True, slots=True)
class _Intent:
    """What an unknown node said it would do; it may turn up soon."""

    kind: Literal["join", "leave"]
    ltime: int
    at: float


class Members:
    """The members by name, and those of them that failed or left.

    on_refute: called when others believe that this node leaves, though it does not.
    on_event: called with every MemberEvent before it is emitted.
    on_erase: called with the name of a member that is forgotten."""

    def __init__(
        self,
        settings: SerfSettings,
        clock: LamportClock,
        timers: Timers,
        emit: Callable[[Effect], None],
        on_refute: Callable[[float], None],
        on_event: Callable[[MemberEvent], None],
        on_erase: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._timers = timers
        self._emit = emit
        self._on_refute = on_refute
        self._on_event = on_event
        self._on_erase = on_erase
        self._by_name: dict[str, Member] = {}
        # Names in the order in which they failed or left.
        self._failed: dict[str, None] = {}
        self._left: dict[str, None] = {}
        self._intents: dict[str, _Intent] = {}
        self._reap_timer: Timer | None = None
        self.leaving = False

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Member | None:
        return self._by_name.get(name)

    @property
    def failed(self) -> list[Member]:
        return [self._by_name[name] for name in self._failed]

    def any_failed(self) -> bool:
        return bool(self._failed)

    @property
    def left_names(self) -> tuple[str, ...]:
        return tuple(self._left)

    def counts(self) -> tuple[int, int, int]:
        """All, failed, left."""
        return len(self._by_name), len(self._failed), len(self._left)

    def any_other_alive(self) -> bool:
        return any(
            member.status == Status.ALIVE and member.name != self._settings.name for member in self._by_name.values()
        )

    def restore(self, gone: Iterable[Member], now: float) -> None:
        """Members that had failed or left before a restart. Nobody is told: it is no news."""
        for member in gone:
            if member.name not in self._by_name:
                self._by_name[member.name] = replace(member, left_at=now)
                (self._failed if member.status == Status.FAILED else self._left)[member.name] = None

    def joined(self, node: Node, now: float) -> None:
        """SWIM found the node alive."""
        known = self._by_name.get(node.name)
        member = Member(node.name, node.addr, node.port, self.tags_of(node.meta), node.vsn)
        if known is None:
            self._make_room()
            intent = self._intents.get(node.name)
            if intent is not None:
                status = Status.LEAVING if intent.kind == "leave" else Status.ALIVE
                member = replace(member, status=status, status_ltime=intent.ltime)
        else:
            if known.status == Status.FAILED and now - known.left_at < 60:
                self._emit(Metric("incr", "consul.serf.member.flap"))
            member = replace(member, status_ltime=known.status_ltime)
            self._failed.pop(node.name, None)
            self._left.pop(node.name, None)
        self._by_name[node.name] = member
        self._emit(Metric("incr", "consul.serf.member.join"))
        self._log("info", f"serf: EventMemberJoin: {member.name} {format_ip(member.addr)}")
        self._event("join", member)

    def updated(self, node: Node) -> None:
        member = self._by_name.get(node.name)
        if member is None:
            return
        member = self._by_name[node.name] = replace(
            member, addr=node.addr, port=node.port, vsn=node.vsn, tags=self.tags_of(node.meta)
        )
        self._emit(Metric("incr", "consul.serf.member.update"))
        self._log("info", f"serf: EventMemberUpdate: {member.name}")
        self._event("update", member)

    def gone(self, node: Node, now: float) -> None:
        """SWIM lost the node: it left if it said so before, else it failed."""
        member = self._by_name.get(node.name)
        if member is None:
            return
        if member.status == Status.LEAVING:
            member = self._set_left(member, now)
            self._emit(Metric("incr", "consul.serf.member.left"))
            self._log("info", f"serf: EventMemberLeave: {member.name} {format_ip(member.addr)}")
            self._event("leave", member)
        elif member.status == Status.ALIVE:
            member = self._by_name[member.name] = replace(member, status=Status.FAILED, left_at=now)
            self._failed[member.name] = None
            self._emit(Metric("incr", "consul.serf.member.failed"))
            self._log("info", f"serf: EventMemberFailed: {member.name} {format_ip(member.addr)}")
            self._event("failed", member)
        else:
            self._log("warn", f"serf: Bad state when leave: {member.status}")

    def join_intent(self, intent: JoinIntent, now: float) -> bool:
        """A node says that it joined. True if this is news to be passed on."""
        self._clock.witness(intent.ltime)
        member = self._by_name.get(intent.node)
        if member is None:
            return self._remember("join", intent.node, intent.ltime, now)
        if intent.ltime <= member.status_ltime:
            return False
        # One that was leaving came back: its leaving was older.
        status = Status.ALIVE if member.status == Status.LEAVING else member.status
        self._by_name[member.name] = replace(member, status=status, status_ltime=intent.ltime)
        return True

    def says_nothing_new(self, name: str, ltime: int) -> bool:
        """Is a time that another member knows of this one's last intent known here too?"""
        member = self._by_name.get(name)
        return member is not None and ltime <= member.status_ltime

    def leave_intent(self, intent: LeaveIntent, now: float) -> bool:
        """A node says that it leaves, or somebody that it has to. True if this is news to be passed on."""
        self._clock.witness(intent.ltime)
        member = self._by_name.get(intent.node)
        if member is None:
            return self._remember("leave", intent.node, intent.ltime, now)
        if intent.ltime <= member.status_ltime:
            return False
        if intent.node == self._settings.name and not self.leaving:
            self._log("debug", "serf: Refuting an older leave intent")
            self._on_refute(now)
            return False
        # Also where nothing else changes: otherwise two members with different times would send each other's
        # intents round for ever.
        status = Status.LEAVING if member.status == Status.ALIVE else member.status
        member = self._by_name[member.name] = replace(member, status=status, status_ltime=intent.ltime)
        if member.status == Status.FAILED:
            self._failed.pop(member.name, None)
            member = self._set_left(member, member.left_at)
            self._log("info", f"serf: EventMemberLeave (forced): {member.name} {format_ip(member.addr)}")
            self._event("leave", member)
        if intent.prune:
            self._prune(member, now)
        return True

    def arm(self, now: float) -> None:
        """Schedule the reaper while there is something that it will have to reap."""
        if (self._failed or self._left or self._intents) and (self._reap_timer is None or not self._reap_timer.active):
            self._reap_timer = self._timers.at(now + self._settings.reap_interval_s, self._reap)

    def tags_of(self, meta: bytes) -> dict[str, str]:
        try:
            return decode_tags(meta)
        except PacketError as error:
            self._log("error", f"serf: Failed to decode tags: {error}")
            return {}

    def _set_left(self, member: Member, at: float) -> Member:
        left = self._by_name[member.name] = replace(member, status=Status.LEFT, left_at=at)
        self._left[member.name] = None
        return left

    def _remember(self, kind: Literal["join", "leave"], name: str, ltime: int, now: float) -> bool:
        known = self._intents.get(name)
        if known is not None and ltime <= known.ltime:
            return False
        if known is None and (len(self._intents) >= _INTENTS_MAX or len(name) > limits.NAME):
            return False
        self._intents[name] = _Intent(kind, ltime, now)
        return True

    def _prune(self, member: Member, now: float) -> None:
        """Forget a member; one that still leaves gets the time to finish."""
        if member.status != Status.LEAVING:
            self._erase_pruned(member)
            return

        def erase(now: float) -> None:
            present = self._by_name.get(member.name)
            if present is not None and present.status != Status.ALIVE:
                self._erase_pruned(present)

        self._timers.at(now + self._settings.broadcast_timeout_s + self._settings.leave_propagate_s, erase)

    def _erase_pruned(self, member: Member) -> None:
        self._log("info", f"serf: EventMemberReap (forced): {member.name} {format_ip(member.addr)}")
        self._erase(member)

    def _reap(self, now: float) -> None:
        """Forget members that failed or left too long ago, and intents of nodes that never came."""
        for names, timeout_s in (
            (self._failed, self._settings.reconnect_timeout_s),
            (self._left, self._settings.tombstone_timeout_s),
        ):
            for member in [self._by_name[name] for name in names]:
                if now - member.left_at > timeout_s:
                    self._log("info", f"serf: EventMemberReap: {member.name}")
                    self._erase(member)
        expired = [name for name, one in self._intents.items() if now - one.at > self._settings.intent_timeout_s]
        for name in expired:
            del self._intents[name]

    def _make_room(self) -> None:
        """SWIM bounds who is alive. Where ever new names come and go, who went first is forgotten before its time."""
        while len(self._by_name) >= self._settings.swim.max_nodes and (self._left or self._failed):
            name = next(iter(self._left or self._failed))
            self._log("info", f"serf: EventMemberReap: {name}")
            self._erase(self._by_name[name])

    def _erase(self, member: Member) -> None:
        self._failed.pop(member.name, None)
        self._left.pop(member.name, None)
        del self._by_name[member.name]
        self._on_erase(member.name)
        self._event("reap", member)

    def _event(self, kind: Literal["join", "leave", "failed", "update", "reap"], member: Member) -> None:
        event = MemberEvent(kind, member)
        self._on_event(event)
        self._emit(event)

    def _log(self, level: Literal["debug", "info", "warn", "error"], text: str) -> None:
        self._emit(Log("serf", level, text))
