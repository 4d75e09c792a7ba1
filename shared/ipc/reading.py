"""Reading: what either side of a connection does when bytes have arrived."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shared.ipc.errors import ProtocolError
from shared.ipc.flusher import Flusher
from shared.ipc.frames import MAX_FRAME_BYTES, Frame, FrameDecoder
from shared.ipc.transport import Transport
from shared.log import get_logger

_log = get_logger("agent.ipc")

_READS_PER_TURN: Final = 16
"""Then other tasks get their turn."""


class Reader:
    """Hands the frames of one connection to `handle`, a read at a time; what they cause leaves in one send.

    after_read: called after all frames of one read, before anything they caused is flushed. peer: name and value of
    the log field that says whose connection it is. frame_bytes_max, items_max: see FrameDecoder."""

    def __init__(
        self,
        transport: Transport,
        handle: Callable[[Frame], None],
        peer: Callable[[], tuple[str, str]],
        frame_bytes_max: int = MAX_FRAME_BYTES,
        items_max: int | None = None,
    ) -> None:
        self._transport, self._handle, self._peer = transport, handle, peer
        self._decoder = FrameDecoder(frame_bytes_max, items_max)
        self._flusher = Flusher.current()

    def turn(self, after_read: Callable[[], None] | None) -> bool:
        """Takes what has arrived. False: the connection has ended, or has to."""
        transport, flusher = self._transport, self._flusher
        for _ in range(_READS_PER_TURN):
            if transport.closed:
                return False
            data = transport.read()
            if data is None:
                return True
            if not data:
                return False
            flusher.begin()
            try:
                for frame in self._decoder.feed(data):
                    self._handle(frame)
                if after_read is not None:
                    after_read()
            except ProtocolError as error:
                name, value = self._peer()
                _log.error("Closing a connection", **{name: value}, error=str(error))
                return False
            finally:
                flusher.end()
        return True
