"""Proconsul.Read: the reads that came together at a client agent, asked in one call.

Our own addition; Consul's servers do not know the method and say so. A read whose answer the client has already, by the
tag that came with it, is answered with a word. What has to wait for something is not answered here: the client asks it
by itself, and meets what there is to meet (an error, too)."""

from __future__ import annotations

from typing import Any, Final

import msgpack

from services.rpc_core.core import Core
from services.rpc_core.endpoints.at_hand import ReadsAtHand
from services.rpc_core.endpoints.read_index import METHOD as READ_INDEX
from services.rpc_core.endpoints.read_index import read_index
from services.rpc_core.errors import RpcError
from shared.many_reads import ALONE, METHOD, SAME, VALUE
from shared.structs.errors import WireTypeError
from shared.wire import rpc

READS_MAX: Final = 1024
ANSWER_BYTES_MAX: Final = 4 << 20
"""Beyond this the rest is asked for alone."""


class ReadMany:
    """The handler of that method."""

    def __init__(self, core: Core, at_hand: ReadsAtHand) -> None:
        self._core, self._at_hand = core, at_hand

    def answer_now(self, packed: bytes | None, body: Any) -> dict[str, Any] | None:
        """The reply if this server leads; None: `__call__` finds out. packed: the request in msgpack, if at hand."""
        if not self._core.router.leads():
            return None
        try:
            reads = self._reads(body) if packed is None else self._packed_reads(packed)
            return self._reply(reads, 0, known_leader=True)
        except (WireTypeError, RpcError):
            return None

    async def __call__(self, core: Core, body: Any) -> dict[str, Any]:
        """At a follower all reads share one question to the leader; those that are content with any state need none."""
        reads = self._reads(body)
        core.router.check_datacenter(METHOD, body.get("Datacenter") or "")
        if core.router.leads():
            return self._reply(reads, 0, known_leader=True)
        if body.get("AllowStale"):
            await core.router.answer_here(METHOD, core.config.datacenter, stale=True)
            leadership = core.router.leadership()
            return self._reply(reads, core.router.last_contact_ns(), known_leader=leadership.known_leader)
        question = {"Datacenter": core.config.datacenter}
        try:
            index = await core.forwarder.answer_wire(READ_INDEX, lambda: read_index(core, question), question)
        except RpcError as error:
            if "rpc: can't find" in str(error):  # the leader is a Consul server
                return _all_alone(len(reads))
            raise
        if core.router.leadership().applied_index < index:
            return _all_alone(len(reads))
        return self._reply(reads, 0, known_leader=True)

    @staticmethod
    def _packed_reads(packed: bytes) -> list[Any]:
        try:
            reads = msgpack.unpackb(packed, raw=True, strict_map_key=False).get(b"Reads")
        except (ValueError, msgpack.UnpackException, AttributeError) as error:
            raise WireTypeError(str(error)) from None
        return _checked(reads)

    @staticmethod
    def _reads(body: Any) -> list[Any]:
        reads = body.get("Reads") if isinstance(body, dict) else None
        return [[rpc.to_bytes(part) for part in read] for read in _checked(reads)]

    def _reply(self, reads: list[Any], last_contact_ns: int, *, known_leader: bool) -> dict[str, Any]:
        """Raises RpcError while there is no state."""
        answers: list[list[Any]] = []
        size = 0
        with self._core.snapshot() as snap:
            for method, packed, tag in reads:
                kept = None
                if size < ANSWER_BYTES_MAX:
                    kept = self._at_hand.answer(snap, method.decode("latin-1"), packed, lambda: _unpacked(packed))  # noqa: B023
                if kept is None:
                    answers.append([ALONE, b"", b""])
                elif kept.tag and kept.tag == tag:
                    answers.append([SAME, b"", b""])
                else:
                    size += len(kept.packed)
                    answers.append([VALUE, kept.tag, kept.packed])
        return {"LastContact": last_contact_ns, "KnownLeader": known_leader, "Answers": answers}


def _checked(reads: Any) -> list[Any]:
    if not isinstance(reads, list) or len(reads) > READS_MAX:
        raise WireTypeError("Reads is not a list of reads")
    if not all(isinstance(read, list) and len(read) == 3 for read in reads):
        raise WireTypeError("a read is [method, request, tag]")
    return reads


def _all_alone(count: int) -> dict[str, Any]:
    return {"LastContact": 0, "KnownLeader": True, "Answers": [[ALONE, b"", b""]] * count}


def _unpacked(packed: bytes) -> Any:
    try:
        return msgpack.unpackb(packed, strict_map_key=False, unicode_errors="surrogateescape")
    except (ValueError, msgpack.UnpackException):
        return None
