"""Frames: the messages of the local IPC and their bytes. No sockets in here.

A frame is one msgpack array whose first element is its kind. msgpack delimits itself, so there is no length
prefix; the unpacker's buffer limits the size of every element. Payloads keep str and bytes apart (bin type).

| kind        | rest of the array                          | direction         |
| HELLO       | version, process name                      | both, once, first |
| CALL        | id, method, timeout in ms, payload         | client to server  |
| RESULT      | id, payload                                | server to client  |
| RESULTS     | [[id, payload], ...]                       | server to client  |
| ERROR       | id, code, message, data                    | server to client  |
| CANCEL      | id                                         | client to server  |
| NOTIFY      | method, payload, number of descriptors     | client to server  |
| SUBSCRIBE   | topic                                      | client to server  |
| SUBSCRIBED  | topic; every event from now on follows     | server to client  |
| UNSUBSCRIBE | topic                                      | client to server  |
| EVENT       | topic, payload                             | server to client  |
| OPEN        | id, method, timeout in ms, payload, credit | client to server  |
| ITEM        | id, payload                                | server to client  |
| END         | id                                         | server to client  |
| CREDIT      | id, items                                  | client to server  |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgpack

from shared.ipc.errors import ProtocolError

PROTOCOL_VERSION: Final = 3
_NAME_CHARACTERS_MAX: Final = 64
_ONE_INSTALLATION: Final = "restart all components from one installation"
MAX_FRAME_BYTES: Final = 64 << 20
READ_BYTES: Final = 64 << 10
"""A read allocates as much: well below the size from which the C library maps each block anew (see shared.memory)."""

HELLO: Final = 0
CALL: Final = 1
RESULT: Final = 2
ERROR: Final = 3
CANCEL: Final = 4
NOTIFY: Final = 5
SUBSCRIBE: Final = 6
EVENT: Final = 7
OPEN: Final = 8
ITEM: Final = 9
END: Final = 10
CREDIT: Final = 11
RESULTS: Final = 12
SUBSCRIBED: Final = 13
UNSUBSCRIBE: Final = 14

# Elements after the kind; a frame with fewer is malformed, one with more comes from a newer minor version.
_LENGTHS: Final = {
    HELLO: 3,
    CALL: 5,
    RESULT: 3,
    ERROR: 5,
    CANCEL: 2,
    NOTIFY: 4,
    SUBSCRIBE: 2,
    EVENT: 3,
    OPEN: 6,
    ITEM: 3,
    END: 2,
    CREDIT: 3,
    RESULTS: 2,
    SUBSCRIBED: 2,
    UNSUBSCRIBE: 2,
}

Frame = list[Any]

_packer = msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape")
encode: Callable[[Any], bytes] = _packer.pack
"""Bytes of one frame (a list or tuple that starts with its kind). Raises TypeError for what msgpack cannot hold."""


class FrameDecoder:
    """Turns a byte stream, cut anywhere, into frames. items_max: of a list, where the sender is a stranger: room for
    the items is taken when only their number has come. Maps are small then, and their keys text.

    Raises ProtocolError on anything that is not a frame, and on an element above `max_frame_bytes`; the connection is
    then of no further use.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES, items_max: int | None = None) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._unfinished_bytes = 0
        """Fed since a frame was complete. The unpacker bounds what it has not parsed yet, not what it makes of it."""
        limits = {} if items_max is None else {"max_array_len": items_max, "max_map_len": 8, "max_ext_len": 0}
        self._unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=items_max is not None,
            unicode_errors="surrogateescape",
            max_buffer_size=max_frame_bytes + READ_BYTES,
            **limits,
        )

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames completed by `data` (at most READ_BYTES at a time)."""
        unpacker = self._unpacker
        self._unfinished_bytes += len(data)
        try:
            if self._unfinished_bytes > self._max_frame_bytes + READ_BYTES:
                raise msgpack.BufferFull
            unpacker.feed(data)
            for frame in unpacker:
                self._unfinished_bytes = 0
                # A well-formed frame is the rule: one comparison decides.
                if type(frame) is not list or not frame or len(frame) < _LENGTHS.get(_kind(frame), 1 << 30):
                    raise ProtocolError(f"not a frame of the local IPC: {str(frame)[:80]!r}")
                yield frame
        except msgpack.BufferFull:
            raise ProtocolError(f"a frame is larger than {self._max_frame_bytes} bytes") from None
        except (msgpack.UnpackException, ValueError, TypeError, RecursionError) as error:
            raise ProtocolError(f"not msgpack: {error}") from None


def _kind(frame: Frame) -> int:
    kind = frame[0]
    return kind if type(kind) is int else -1


def check_hello(frame: Frame, expected: int = PROTOCOL_VERSION, advice: str = _ONE_INSTALLATION) -> str:
    """Name of the process that sent the HELLO `frame`; raises ProtocolError if it is something else, or of another
    version than expected."""
    if frame[0] != HELLO:
        raise ProtocolError("the first frame of a connection must be HELLO")
    version, name = frame[1], str(frame[2])[:_NAME_CHARACTERS_MAX]
    if type(version) is not int or version != expected:
        raise ProtocolError(f"{name} speaks local IPC version {version}, this process version {expected}: {advice}")
    return name
