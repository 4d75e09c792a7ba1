"""One key, plainly: reads from the row, and writes to the command, without anything in between.

What is out of the ordinary in any way - other parameters, names that JSON escapes, large values, configured header
fields - is left to the full way, which gives the very same answers."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final

import msgpack

from services.http_gateway.go_http import compress, true_answer
from services.http_gateway.moment import Moment
from services.http_gateway.rounds import is_answered_elsewhere
from shared.ipc.errors import IpcError
from shared.state.errors import StateUnavailableError
from shared.state.keys import MAX_KV_BYTES
from shared.state.kvrow import HEADER_SIZE, unpack_header

if TYPE_CHECKING:
    from services.http_gateway.gateway import Gateway
    from services.http_gateway.message import Request
    from shared.metrics.lookups import Counter

_PREFIX_LENGTH: Final = len("/v1/kv/")
_BODY_BYTES_MAX: Final = 2048
"""Longer bodies go out chunked."""
_DEFAULT, _STALE, _CONSISTENT = range(3)
_MODES: Final = {
    "": _DEFAULT,
    "stale": _STALE,
    "stale=": _STALE,
    "consistent": _CONSISTENT,
    "consistent=": _CONSISTENT,
}
_BEFORE_CONTACT: Final = (
    b"HTTP/1.1 200 OK\r\n%sContent-Type: application/json\r\nVary: Accept-Encoding\r\nX-Consul-Index: %d\r\n"
    b"X-Consul-Knownleader: true\r\nX-Consul-Lastcontact: "
)
_AFTER_DATE: Final = b"Content-Length: %d\r\n\r\n%s"
_GZIP: Final = b"Content-Encoding: gzip\r\n"
_PLAIN_ENTRY: Final = b'[{"LockIndex":%d,"Key":%s,"Flags":%d,"Value":%s%s,"CreateIndex":%d,"ModifyIndex":%d}]'
_PRETTY_ENTRY: Final = (
    b'[\n    {\n        "LockIndex": %d,\n        "Key": %s,\n        "Flags": %d,\n        "Value": %s%s,\n'
    b'        "CreateIndex": %d,\n        "ModifyIndex": %d\n    }\n]\n'
)
_SESSION: Final = b',"Session":"%s"'
_PRETTY_SESSION: Final = b',\n        "Session": "%s"'


class OneKey:
    """GET of one key in one mode. Keeps what it rendered until the row changes."""

    __slots__ = ("_after", "_before", "_gzip", "_json_key", "_mark", "_pretty", "_raw_key", "_row", "mode")

    metric = "v1.kv._"
    counters: Sequence[Counter] = ()

    def __init__(self, raw_key: bytes, mode: int, *, gzip: bool, pretty: bool) -> None:
        self._raw_key, self.mode, self._gzip, self._pretty = raw_key, mode, gzip, pretty
        self._json_key = encode_basestring(raw_key.decode()).encode()
        self._mark = (0, 0)
        self._row: bytes | None = None
        self._before = self._after = b""

    @property
    def was_rendered(self) -> bool:
        """Whether there was a plain answer once."""
        return self._row is not None

    def answer(self, moment: Moment) -> bytes | None:
        """The answer in this mode; None if the full way has to give it, or a round of the servers comes first."""
        if self.mode == _DEFAULT:
            may_answer = moment.leads()
        elif self.mode == _STALE:
            may_answer = moment.leadership().known_leader
        else:
            may_answer = moment.leads_alone()
        return self.text(moment) if may_answer else None

    def text(self, moment: Moment, *, confirmed: bool = False) -> bytes | None:
        """The answer from the state of this moment, whoever vouches for that; None if it is no plain one.

        confirmed: the leader does, just now."""
        if self._mark != moment.mark():
            row = moment.snapshot().get(self._raw_key, None, moment.snapshot().tables.kvs)
            if row is None or not (row == self._row or self._render(row)):
                return None
            self._mark = moment.mark()
        contact_ms = 0 if confirmed else moment.last_contact_ms()
        return b"%s%d\r\n%s%s" % (self._before, contact_ms, moment.date_line(), self._after)

    def _render(self, row: bytes) -> bool:
        create, modify, lock, flags, session_length, key_length = unpack_header(row)
        if key_length:
            return False  # the row of a long key begins with the key
        value = row[HEADER_SIZE + session_length :]
        session = b""
        if session_length:
            name = _PRETTY_SESSION if self._pretty else _SESSION
            session = name % row[HEADER_SIZE : HEADER_SIZE + session_length]
        body = (_PRETTY_ENTRY if self._pretty else _PLAIN_ENTRY) % (
            lock,
            self._json_key,
            flags,
            b'"%s"' % b64encode(value) if value else b"null",
            session,
            create,
            modify,
        )
        if self._gzip:
            body = compress(body)
        if len(body) > _BODY_BYTES_MAX:
            return False
        self._before = _BEFORE_CONTACT % (_GZIP if self._gzip else b"", modify)
        self._after = _AFTER_DATE % (len(body), body)
        self._row = row
        return True


def get(gateway: Gateway, request: Request) -> bool:
    """GET of one key in any mode. False: the full way decides."""
    known = gateway.repeats.find(request.head)
    one_key = known if isinstance(known, OneKey) else _one_key(gateway, request)
    if one_key is None:
        return False
    try:
        data = one_key.answer(gateway.moment)
        if data is None:
            return one_key.mode != _STALE and _get_confirmed(gateway, request, one_key)
    except StateUnavailableError:
        return False
    gateway.repeats.learn(request.head, one_key)
    gateway.finish_rendered(request, data, one_key.metric)
    return True


def _one_key(gateway: Gateway, request: Request) -> OneKey | None:
    mode = _MODES.get(request.raw_query)
    if mode is None or not gateway.policy.is_open(request):
        return None
    raw_key = _plain_key(request.path)
    if raw_key is None or b"<" in raw_key or b">" in raw_key or b"&" in raw_key:
        return None  # escaped in JSON in ways that only the encoder knows
    return OneKey(raw_key, mode, gzip=request.gzip, pretty=gateway.config.dev_mode)


def _get_confirmed(gateway: Gateway, request: Request, one_key: OneKey) -> bool:
    """Answers after a round; those who ask for the same in one round share what is rendered then."""
    rounds = gateway.rounds(consistent=one_key.mode == _CONSISTENT)
    if rounds is None:
        return False
    group = rounds.groups.get(one_key)
    if group is not None:
        group.append(request)
        return True
    if not one_key.was_rendered and one_key.text(gateway.moment) is None:
        return False
    group = rounds.groups[one_key] = [request]

    def on_done(index: Any, error: IpcError | None) -> None:
        if error is not None and not is_answered_elsewhere(error):
            for each in group:
                gateway.fail(each, error)
            return
        data = None
        leadership = gateway.moment.leadership()
        if error is None and leadership.known_leader and leadership.applied_index >= index:
            with contextlib.suppress(StateUnavailableError):  # raft_node went away: the full way waits for it
                data = one_key.text(gateway.moment, confirmed=True)
        if data is not None:
            gateway.repeats.learn(request.head, one_key)
            gateway.finish_group(group, data, one_key.metric)
            return
        for each in group:
            gateway.dispatch_fully(each)

    rounds.join(on_done)
    return True


def _plain_key(path: str) -> bytes | None:
    """The key of a path that needs no redirect and no refusal, None for every other."""
    key = path[_PREFIX_LENGTH:]
    if not key.isascii() or not key.isprintable() or "//" in path or "/." in path:
        return None
    raw_key = key.encode("ascii")
    return raw_key if 0 < len(raw_key) <= MAX_KV_BYTES else None


# -- writes -----------------------------------------------------------------------------------------


class SetCommand:
    """Encodes plain sets as Consul's KVS request: only key and value differ from one to the next."""

    __slots__ = ("_after_key", "_after_value", "_before_key")

    def __init__(self, datacenter: str, token: str) -> None:
        packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape")
        before = [packer.pack_map_header(4), *map(packer.pack, ("Datacenter", datacenter, "DirEnt"))]
        before += [packer.pack_map_header(7), *map(packer.pack, ("CreateIndex", 0, "Flags", 0, "Key"))]
        self._before_key = b"".join(before)
        self._after_key = b"".join(map(packer.pack, ("LockIndex", 0, "ModifyIndex", 0, "Session", "", "Value")))
        self._after_value = b"".join(map(packer.pack, ("Op", "set", "Token", token)))

    def encode(self, raw_key: bytes, value: bytes) -> bytes:
        return b"".join((self._before_key, _pack(raw_key), self._after_key, _pack(value or None), self._after_value))


_pack = msgpack.Packer(use_bin_type=False).pack


def put(gateway: Gateway, request: Request) -> bool:
    """PUT of one key without parameters. False: the full way decides."""
    if request.raw_query or not request.body_complete or not gateway.policy.is_open(request):
        return False
    raw_key = _plain_key(request.path)
    if raw_key is None or request.content_length > gateway.config.limits.kv_max_value_size:
        return False

    def on_done(_done: Any, error: IpcError | None) -> None:
        if error is not None:
            gateway.fail(request, error)
        else:
            before, after = true_answer(request.gzip, gateway.config.dev_mode)
            gateway.finish_rendered(request, b"".join((before, gateway.moment.date_line(), after)), OneKey.metric)

    gateway.writes.post("set", raw_key, gateway.set_command.encode(raw_key, request.body), on_done)
    return True
