"""How a call to another server can fail. The texts are those of Consul's connection pool."""

from __future__ import annotations

import re

NO_LEADER = "No cluster leader"
NO_CONNECTION = "rpc error getting client: failed to get conn"
UNKNOWN_THERE = "rpc: can't find"
"""What every server says of a method that it does not have."""
_ENDED_THERE = re.compile(r"^rpc error making call: .*(?:EOF|connection reset by peer|broken pipe|i/o timeout)$")
"""What a server answers whose own connection to the leader ended."""


class ServerCallError(Exception):
    """A call to another server gave no answer; the text is what the caller's client sees."""

    retry_always = False
    """Nothing was changed by it, so that even a write may be tried again."""
    retry_reads = False
    """The connection failed, which says nothing about the call: a read may be tried again."""


class DialError(ServerCallError):
    """There is no connection, so nothing was sent."""

    retry_always = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"{NO_CONNECTION}: {reason}")
        self.reason = reason


class ConnectionEndedError(ServerCallError):
    """The connection ended after the call was sent: whether it was performed is unknown."""

    retry_reads = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"rpc error making call: {reason}")


class NotTakenError(ServerCallError):
    """The other server's log has not taken the call, so that nothing was done. leader: address of the one to ask, ""
    for none that can be asked in this way."""

    retry_always = True

    def __init__(self, text: str, leader: str = "") -> None:
        super().__init__(f"rpc error making call: {text}")
        self.leader = leader


class RemoteCallError(ServerCallError):
    """The other server answered with an error."""

    def __init__(self, text: str) -> None:
        super().__init__(f"rpc error making call: {text}")
        self.retry_always = NO_LEADER in text or NO_CONNECTION in text  # of the server that it would have asked
        self.retry_reads = "stream closed" in text or "session shutdown" in text or bool(_ENDED_THERE.match(text))
