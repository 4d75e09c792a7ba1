"""Streams to peers that cannot be reached, for whatever reason: the caller hears of it, and nothing else happens."""

import errno
from collections.abc import Iterator

import pytest
import trio

from services.gossip.codec.messages import Ping
from services.gossip.codec.stream import PushPull, StreamMessage
from services.gossip.streams import ExchangeError, Streams
from services.gossip.swim.address import Address

NOBODY = Address(bytes(15) + b"\1", 8301)


@pytest.fixture
def streams() -> Iterator[Streams]:
    async def nothing_more(message: StreamMessage) -> None:
        pass

    opened = Streams(
        "127.0.0.1", 0, 5.0, None, True, True,
        log=lambda level, text: None, on_message=lambda message: None, after_reply=nothing_more,
    )  # fmt: skip
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EMFILE, "too many open files"), (errno.EAFNOSUPPORT, "address family not supported by protocol")],
)
async def test_a_socket_that_cannot_be_had_is_a_failed_exchange(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    def refuse(*arguments: object) -> object:
        raise OSError(number, "no socket")

    monkeypatch.setattr(trio.socket, "socket", refuse)
    with pytest.raises(ExchangeError, match=rf"^dial tcp \[::1\]:8301: socket: {reason}$"):
        await streams.push_pull(NOBODY, PushPull(False, (), b""))
    assert not await streams.ping(NOBODY, Ping(1, "nobody"), 5.0)
