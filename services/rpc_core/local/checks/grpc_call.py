"""HealthCall: one call of grpc.health.v1.Health/Check on an HTTP/2 connection, with the errors grpc-go gives.

The two messages have one field each, so they are packed by hand; HTTP/2 is the h2 library's. Sans-IO."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from shared.gotext.quoting import quote

MESSAGE_BYTES_MAX = 4 << 20
HEADER_BYTES_MAX = 65536
SERVING = 1

CANCELED, UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED = 1, 2, 4, 7
RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 8, 12, 13, 14, 16
_CODE_NAMES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
    "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip
_OF_HTTP_STATUS = {
    400: INTERNAL, 401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: UNIMPLEMENTED,
    429: UNAVAILABLE, 502: UNAVAILABLE, 503: UNAVAILABLE, 504: UNAVAILABLE,
}  # fmt: skip
_OF_RESET = {3: RESOURCE_EXHAUSTED, 7: UNAVAILABLE, 8: CANCELED, 11: RESOURCE_EXHAUSTED, 12: PERMISSION_DENIED}
_RESET_NAMES = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip
_CONTENT_TYPE = re.compile(r"application/grpc([;+].*)?", re.IGNORECASE)


class GrpcError(Exception):
    """The call failed. The text is the one that users of Consul see."""

    def __init__(self, code: int, message: str) -> None:
        name = _CODE_NAMES[code] if 0 <= code < len(_CODE_NAMES) else f"Code({code})"
        super().__init__(f"rpc error: code = {name} desc = {message}")


class NoMessageError(Exception):
    """The call succeeded without an answer."""

    def __init__(self) -> None:
        super().__init__("EOF")


class HealthCall:
    """Send `start()`, feed what comes to `receive`, send what that returns, until `done`; then `serving` tells."""

    def __init__(self, authority: str, service: str, *, secure: bool, timeout_s: float) -> None:
        import h2.config
        import h2.connection

        # What a server may send in headers is judged below, with grpc-go's words.
        settings = h2.config.H2Configuration(client_side=True, header_encoding=None, validate_inbound_headers=False)
        self._connection = h2.connection.H2Connection(settings)
        self._connection.max_inbound_frame_size = 16384
        self._authority, self._service, self._secure, self._timeout_s = authority, service, secure, timeout_s
        self._greeted = False
        self._headers: dict[str, str] | None = None
        self._data = bytearray()
        self.done = False
        self.serving = False

    def start(self) -> bytes:
        """The connection's preface and the whole call."""
        self._connection.initiate_connection()
        headers = [
            (":method", "POST"),
            (":scheme", "https" if self._secure else "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", self._authority),
            ("content-type", "application/grpc"),
            ("user-agent", "grpc-go/1.25.1"),
            ("te", "trailers"),
            ("grpc-timeout", f"{max(1, int(self._timeout_s * 1000))}m"),
        ]
        name = self._service.encode("utf-8", "surrogateescape")
        message = b"\x0a" + _varint(len(name)) + name if name else b""
        self._connection.send_headers(1, headers)
        self._connection.send_data(1, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
        return self._connection.data_to_send()

    def receive(self, data: bytes) -> bytes:
        """What is to be sent next. Raises GrpcError, NoMessageError."""
        import h2.exceptions

        if not data:
            raise self._closed()
        try:
            events = self._connection.receive_data(data)
        except h2.exceptions.ProtocolError:
            raise self._closed() from None
        for event in events:
            self._handle(event)
            if self.done:
                break
        return self._connection.data_to_send()

    def _closed(self) -> GrpcError:
        return GrpcError(UNAVAILABLE, "transport is closing" if self._greeted else "connection closed")

    def _handle(self, event: Any) -> None:
        import h2.events as kinds

        if isinstance(event, kinds.RemoteSettingsChanged):
            self._greeted = True
        elif isinstance(event, kinds.ResponseReceived | kinds.TrailersReceived):
            self._on_headers(_decoded(event.headers), ended=event.stream_ended is not None)
        elif isinstance(event, kinds.DataReceived):
            self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._data += event.data
            self._check_size()
            if event.stream_ended is not None:
                self._check_message()
                raise GrpcError(INTERNAL, "server closed the stream without sending trailers")
        elif isinstance(event, kinds.StreamReset):
            number = int(event.error_code or 0)
            name = _RESET_NAMES[number] if number < len(_RESET_NAMES) else f"unknown error code 0x{number:x}"
            code = _OF_RESET.get(number, INTERNAL)
            raise GrpcError(code, f"stream terminated by RST_STREAM with error code: {name}")
        elif isinstance(event, kinds.ConnectionTerminated) and not event.last_stream_id:
            raise self._closed()

    def _on_headers(self, headers: dict[str, str], ended: bool) -> None:
        if self._headers is None:
            _check_response(headers)
            self._headers = headers
        if not ended:
            return
        _check_status_text(headers)
        if self._data:
            status = self._check_message()
        else:
            status = None
        code = int(headers.get("grpc-status", UNKNOWN))
        if code:
            message = unquote(headers.get("grpc-message", ""), errors="surrogateescape")
            raise GrpcError(code, message)
        if status is None:
            raise NoMessageError
        self.serving = status == SERVING
        self.done = True

    def _check_size(self) -> None:
        if len(self._data) < 5:
            return
        size = int.from_bytes(self._data[1:5], "big")
        if self._data[0] > 1:
            raise GrpcError(INTERNAL, f"grpc: received unexpected payload format {self._data[0]}")
        if size > MESSAGE_BYTES_MAX:
            text = f"grpc: received message larger than max ({size} vs. {MESSAGE_BYTES_MAX})"
            raise GrpcError(RESOURCE_EXHAUSTED, text)
        if len(self._data) > 2 * (MESSAGE_BYTES_MAX + 5):
            raise GrpcError(UNKNOWN, "grpc: client streaming protocol violation: get <nil>, want <EOF>")

    def _check_message(self) -> int:
        """The status that the message holds. Raises GrpcError."""
        size = int.from_bytes(self._data[1:5], "big")
        if len(self._data) < 5 + size:
            raise GrpcError(INTERNAL, "unexpected EOF")
        if self._data[0] == 1:
            raise GrpcError(INTERNAL, "grpc: compressed flag set with identity or empty encoding")
        status = _read_status(bytes(self._data[5 : 5 + size]))
        if len(self._data) > 5 + size:
            raise GrpcError(UNKNOWN, "grpc: client streaming protocol violation: get <nil>, want <EOF>")
        return status


def _decoded(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The first value of each header. Raises GrpcError if they are too many."""
    found: dict[str, str] = {}
    total = 0
    for name, value in headers:
        total += len(name) + len(value) + 32
        if total > HEADER_BYTES_MAX:
            raise GrpcError(INTERNAL, "peer header list size exceeded limit")
        found.setdefault(name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
    return found


def _check_response(headers: dict[str, str]) -> None:
    """Raises GrpcError if this is not gRPC's answer but a web server's."""
    kind = headers.get("content-type")
    if kind is not None and _CONTENT_TYPE.fullmatch(kind):
        return
    wrong = "transport: missing content-type field"
    if kind is not None:
        wrong = f"transport: received the unexpected content-type {quote(kind)}"
    text = headers.get(":status", "")
    if not text:
        raise GrpcError(INTERNAL, f"malformed header: missing HTTP status; {wrong}")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        reason = f"strconv.Atoi: parsing {quote(text)}: invalid syntax"
        raise GrpcError(INTERNAL, f"transport: malformed http-status: {reason}")
    status = int(text)
    code = _OF_HTTP_STATUS.get(status, UNKNOWN)
    raise GrpcError(code, f"{_status_text(status)}: HTTP status code {status}; {wrong}")


def _status_text(status: int) -> str:
    from http import HTTPStatus

    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        return ""
    return {418: "I'm a teapot"}.get(status, phrase)


def _check_status_text(headers: dict[str, str]) -> None:
    text = headers.get("grpc-status")
    if text is not None and not re.fullmatch(r"[0-9]{1,9}", text):
        reason = f"strconv.Atoi: parsing {quote(text)}: invalid syntax"
        raise GrpcError(INTERNAL, f"transport: malformed grpc-status: {reason}")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_status(message: bytes) -> int:
    """Field 1 of a HealthCheckResponse, 0 if it is not there. Raises GrpcError."""
    status, at = 0, 0
    try:
        while at < len(message):
            tag, at = _read_varint(message, at)
            kind = tag & 7
            if kind == 0:
                value, at = _read_varint(message, at)
                status = value if tag >> 3 == 1 else status
            elif kind == 2:
                length, at = _read_varint(message, at)
                at += length
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            else:
                raise ValueError
            if at > len(message):
                raise ValueError
    except ValueError:
        text = "grpc: failed to unmarshal the received message unexpected EOF"
        raise GrpcError(INTERNAL, text) from None
    return status


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError
