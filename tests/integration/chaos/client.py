"""A keep-alive HTTP client for load: one connection, one request at a time, trio, h11. Every wait has a deadline."""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
import trio


class BrokenError(Exception):
    """The connection was lost or nothing came in time: what happened to the request is unknown."""


@dataclass(slots=True)
class Client:
    """address: "ip". Reconnects by itself for the next request after a loss; counts how often that was needed."""

    address: str
    port: int = 8500
    timeout_s: float = 30.0
    losses: int = 0
    _stream: trio.SocketStream | None = field(default=None, repr=False)
    _http: h11.Connection | None = field(default=None, repr=False)

    async def request(self, method: str, target: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body). Raises BrokenError if there is no complete answer."""
        try:
            with trio.fail_after(self.timeout_s):
                return await self._request(method, target, body)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, h11.RemoteProtocolError) as error:
            self.losses += 1
            await self.close()
            raise BrokenError(repr(error)) from None

    async def _request(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(self.address, self.port)
            self._http = h11.Connection(h11.CLIENT)
        http, stream = self._http, self._stream
        assert http is not None
        headers = [("Host", "x"), ("Content-Length", str(len(body)))]
        data = http.send(h11.Request(method=method, target=target, headers=headers)) or b""
        data += (http.send(h11.Data(data=body)) or b"") if body else b""
        await stream.send_all(data + (http.send(h11.EndOfMessage()) or b""))
        status, answer_headers, answer = 0, {}, bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive_some(65_536))
            elif isinstance(event, h11.Response):
                status = event.status_code
                answer_headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                answer += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise h11.RemoteProtocolError(f"unexpected {event!r}")
        if http.our_state is h11.DONE and http.their_state is h11.DONE:
            http.start_next_cycle()
        else:
            await self.close()
        return status, answer_headers, bytes(answer)

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)
