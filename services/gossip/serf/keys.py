"""Key management: answering the four key queries, and summing up the answers to our own."""

import base64
from collections.abc import Callable
from typing import Any

from services.gossip.codec import limits
from services.gossip.codec.errors import PacketError
from services.gossip.codec.keyring import Keyring, KeyringError
from services.gossip.codec.serf_messages import (
    KEY_RESPONSE,
    KeyResponse,
    decode_key_request,
    decode_key_response,
    encode_key_response,
)
from services.gossip.serf.effects import CommandDone
from services.gossip.serf.queries import Collector

OPERATIONS = ("install-key", "use-key", "remove-key", "list-keys")
# A base64 key of 16 bytes with its msgpack header: no response can hold more keys than fit with this size.
_KEY_SIZE_MIN = 25
_SHOWN = 128  # bytes of an answer that is none

Log = Callable[[str, str], None]


def answer(
    operation: str, payload: bytes | None, keyring: Keyring | None, save: Callable[[], str | None], log: Log
) -> KeyResponse:
    """Do what a key query asks for. save() stores the keyring and returns an error text or None."""
    if operation == "list-keys":
        return _list(keyring, log)
    try:
        key = decode_key_request(payload)
    except PacketError as error:
        log("error", f"serf: Failed to decode key request: {error}")
        return KeyResponse(False, "", None, "")
    if keyring is None:
        text = "No keyring to modify (encryption not enabled)"
        log("error", f"serf: {text}")
        return KeyResponse(False, text, None, "")
    log("info", f"serf: Received {operation} query")
    try:
        if operation == "install-key":
            keyring.add(key)
        elif operation == "use-key":
            keyring.use(key)
        else:
            keyring.remove(key)
    except KeyringError as error:
        what = {"install-key": "install key", "use-key": "change primary key"}.get(operation, "remove key")
        log("error", f"serf: Failed to {what}: {error}")
        return KeyResponse(False, str(error), None, "")
    problem = save()
    if problem is not None:
        log("error", f"serf: Failed to write keyring file: {problem}")
        return KeyResponse(False, problem, None, "")
    return KeyResponse(True, "", None, "")


def _list(keyring: Keyring | None, log: Log) -> KeyResponse:
    if keyring is None:
        text = "Keyring is empty (encryption not enabled)"
        log("error", f"serf: {text}")
        return KeyResponse(False, text, None, "")
    log("info", "serf: Received list-keys query")
    return KeyResponse(True, "", tuple(map(_encoded, keyring.keys)), _encoded(keyring.primary))


def _encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def fitting(response: KeyResponse, fits: Callable[[bytes], bool]) -> bytes | None:
    """The encoded answer; a list of keys is cut until it fits into a packet. None if even an empty one is too long."""
    data = encode_key_response(response)
    total = len(response.keys or ())
    count = min(total, limits.QUERY_RESPONSE // _KEY_SIZE_MIN)
    while not fits(data) and response.keys:
        message = f"truncated key list response, showing first {count} of {total} keys"
        response = KeyResponse(response.result, message, response.keys[:count], response.primary_key)
        data = encode_key_response(response)
        count -= 1
    return data if fits(data) else None


class KeyAnswers(Collector):
    """The sum of all members' answers to one key query."""

    def __init__(self, token: Any, members: int, log: Log) -> None:
        self._log = log
        self._token = token
        self._members = members
        self._responses = self._errors = 0
        self._messages: dict[str, str] = {}
        self._keys: dict[str, int] = {}
        self._primary_keys: dict[str, int] = {}

    def add(self, node: str, payload: bytes) -> bool:
        self._responses += 1
        try:
            response = _decoded(payload)
        except PacketError as error:
            self._messages[node] = str(error)
            self._errors += 1
            return self._responses == self._members
        if not response.result:
            self._errors += 1
        elif response.message:
            self._log("warn", f"serf: {response.message}")
        if response.message or not response.result:
            self._messages[node] = response.message
        for key in response.keys or ():
            self._keys[key] = self._keys.get(key, 0) + 1
        self._primary_keys[response.primary_key] = self._primary_keys.get(response.primary_key, 0) + 1
        return self._responses == self._members

    def done(self) -> CommandDone:
        error = None
        if self._errors:
            error = f"{self._errors}/{self._members} nodes reported failure"
        elif self._responses != self._members:
            error = f"{self._responses}/{self._members} nodes reported success"
        result = {
            "NumNodes": self._members,
            "NumResp": self._responses,
            "NumErr": self._errors,
            "Messages": self._messages,
            "Keys": self._keys,
            "PrimaryKeys": self._primary_keys,
        }
        return CommandDone(self._token, error, result)


def _decoded(payload: bytes) -> KeyResponse:
    """Raises PacketError in Serf's words."""
    shown = " ".join(map(str, payload[:_SHOWN])) + " ..." * (len(payload) > _SHOWN)
    if payload[:1] != bytes((KEY_RESPONSE,)) or len(payload) > limits.KEY_RESPONSE:
        raise PacketError(f"Invalid key query response type: [{shown}]")
    try:
        return decode_key_response(payload)
    except PacketError:
        raise PacketError(f"Failed to decode key query response: [{shown}]") from None
