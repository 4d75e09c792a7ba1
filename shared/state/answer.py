"""Answer: what every query returns."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from shared.state.topics import Watch

T = TypeVar("T")


class Answer(NamedTuple, Generic[T]):
    """index: what X-Consul-Index shows (at least 1). value: the data, never shared with later answers.
    watch: the topics whose change may change the answer; for WatchHub.register and Snapshot.versions."""

    index: int  # type: ignore[assignment]
    value: T
    watch: Watch
