"""What a decoder raises for bytes it cannot accept."""


class PacketError(Exception):
    """Bytes from a peer that are no valid gossip. The text says what is wrong, fit for a log line."""


class StreamError(PacketError):
    """A stream that cannot be read.

    `reply` tells whether the peer expects the text in an `err` message: memberlist sends one when the outer
    layers (encryption, compression) fail, and just closes when the message inside does."""

    def __init__(self, text: str, *, reply: bool = False) -> None:
        super().__init__(text)
        self.reply = reply
