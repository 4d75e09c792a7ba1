"""Commands that come encoded from another agent: looked at before they go into the log of every server.

What the state machine cannot decode would end each server that applies it, a Consul server too. The processes that
send these check and encode them with the code of this project, so the check is strict and needs no copy: a KV request
has just the fields that are encoded here, each of its type. Registrations are rarer and have many fields: they are
decoded, completed and encoded again, as any that comes by msgpack-rpc."""

from __future__ import annotations

from typing import Any, Final

import msgpack

from shared.structs.catalog import DeregisterRequest, RegisterRequest
from shared.structs.commands import DEREGISTER, KVS, REGISTER, encode
from shared.structs.errors import RefusedError
from shared.structs.registration import prepare_deregister, prepare_register
from shared.structs.wire import pack, unpack

_OPERATIONS: Final = frozenset({b"set", b"delete", b"delete-tree", b"delete-cas", b"cas", b"unlock"})
"""All but lock, which may have to wait for the lock-delay of a lost session: that is not known here."""
_FIELDS: Final = frozenset({b"Datacenter", b"Op", b"DirEnt", b"Token"})
_NUMBERS: Final = (b"LockIndex", b"Flags", b"CreateIndex", b"ModifyIndex")
_ENTRY_FIELDS: Final = frozenset({b"Key", b"Value", b"Session", *_NUMBERS})
_FLAT: Final = {"max_array_len": 0, "max_map_len": 8, "max_ext_len": 0}
_BOUNDED: Final = {"max_array_len": 4096, "max_map_len": 4096, "max_ext_len": 0}
"""Room for the items of a list is taken before they come, and lists can be nested."""
_METRICS: Final = {REGISTER: "consul.catalog.register", DEREGISTER: "consul.catalog.deregister"}


def checked(command: Any, datacenter: str) -> tuple[bytes, str]:
    """The command to be logged, and the metric of its time. Raises RefusedError."""
    if type(command) is not bytes or not command:
        raise RefusedError("a command is a message type and a msgpack value, as bytes")
    kind = command[:1]
    if kind == KVS:
        if not _is_sound(command, datacenter.encode()):
            raise RefusedError("not a KV request of this datacenter in the form in which it is logged")
        return command, "consul.kvs.apply"
    if kind not in _METRICS:
        raise RefusedError("only KV requests, registrations and deregistrations are taken encoded")
    try:
        body = unpack(memoryview(command)[1:], **_BOUNDED)
        args: RegisterRequest | DeregisterRequest
        if kind == REGISTER:
            args = prepare_register(RegisterRequest.from_wire(body))
        else:
            args = prepare_deregister(DeregisterRequest.from_wire(body))
        if args.datacenter != datacenter:
            raise RefusedError("not a request of this datacenter")
        return encode(args), _METRICS[kind]
    except (ValueError, OverflowError, RecursionError) as error:
        raise RefusedError(str(error)) from error


def _is_sound(command: bytes, datacenter: bytes) -> bool:
    try:
        body = command[1:]
        request = msgpack.unpackb(body, raw=True, **_FLAT)
        entry = request[b"DirEnt"]
        if request.keys() != _FIELDS or not entry.keys() <= _ENTRY_FIELDS:
            return False
        key, value, operation = entry[b"Key"], entry.get(b"Value"), request[b"Op"]
        return (
            request[b"Datacenter"] == datacenter
            and operation in _OPERATIONS
            and type(key) is bytes
            and (key != b"" or operation == b"delete-tree")
            and (value is None or type(value) is bytes)
            and type(entry.get(b"Session", b"")) is bytes
            and type(request[b"Token"]) is bytes
            and all(type(number) is int and number >= 0 for number in map(entry.get, _NUMBERS) if number is not None)
            and pack(request) == body  # no field twice, nothing in another form
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, msgpack.UnpackException):
        return False
