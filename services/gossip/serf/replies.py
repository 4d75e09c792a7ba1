"""Who received one of our queries, and what they answered."""

from typing import Any

from services.gossip.serf.effects import CommandDone
from services.gossip.serf.queries import Collector


class QueryReplies(Collector):
    """All of it, in the order it came: CommandDone.result = {"Acks": [node], "Answers": {node: payload}}."""

    def __init__(self, token: Any) -> None:
        self._token = token
        self._acks: list[str] = []
        self._answers: dict[str, bytes] = {}

    def ack(self, node: str) -> None:
        self._acks.append(node)

    def add(self, node: str, payload: bytes) -> bool:
        self._answers[node] = payload
        return False  # nobody knows how many the query is meant for

    def done(self) -> CommandDone:
        return CommandDone(self._token, None, {"Acks": self._acks, "Answers": self._answers})
