"""WatchHub: which waiters a change record wakes. Plain data structure: no trio, no clock.

A waiter registers the watch of its answer and is called back when a record touches one of its topics. Being
woken means "look again", not "it changed". The rule that makes it race-free without locks: evaluate the
query and register without an await in between. Every commit the evaluation did not see is delivered to the
hub later than that, or, where the feed was interrupted meanwhile, followed by a `wake_all` (shared.change_feed)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from shared.state.topics import ALL, KEY, PREFIX, RESTORE, TREE, Topic, Watch


class Registration:
    """One waiter. `cancel` may be called at any time, also from the callback."""

    __slots__ = ("_hub", "callback", "watch")

    def __init__(self, hub: WatchHub, watch: Watch, callback: Callable[[], None]) -> None:
        self._hub: WatchHub | None = hub
        self.watch, self.callback = watch, callback

    def cancel(self) -> None:
        if self._hub is not None:
            self._hub._remove(self)
            self._hub = None


class WatchHub:
    """Matches change records against waiting watches.

    Cost of `notify` per touched topic: one dictionary lookup, for KV keys one more per distinct length of a
    watched prefix; for a deleted tree one pass over the watched keys. A waiter is woken once per record and
    stays registered until it cancels."""

    def __init__(self) -> None:
        self.on_first: Callable[[], None] | None = None
        """Called before somebody registers where nobody waits."""
        self._waiters: dict[Topic, dict[Registration, None]] = {}
        self._prefix_lengths: dict[int, int] = {}

    def __len__(self) -> int:
        """Number of watched topics (a bound on it is the caller's business)."""
        return len(self._waiters)

    def register(self, watch: Watch, callback: Callable[[], None]) -> Registration:
        """Calls `callback()` whenever a record touches the watch, until the registration is cancelled."""
        if not self._waiters and self.on_first is not None:
            self.on_first()
        made = Registration(self, watch, callback)
        for topic in watch:
            waiters = self._waiters.get(topic)
            if waiters is None:
                waiters = self._waiters[topic] = {}
                if topic[0] == PREFIX:
                    length = len(topic[1])
                    self._prefix_lengths[length] = self._prefix_lengths.get(length, 0) + 1
            waiters[made] = None
        return made

    def _remove(self, registration: Registration) -> None:
        for topic in registration.watch:
            waiters = self._waiters.get(topic)
            if waiters is None or registration not in waiters:
                continue
            del waiters[registration]
            if not waiters:
                del self._waiters[topic]
                if topic[0] == PREFIX:
                    self._drop_length(len(topic[1]))

    def _drop_length(self, length: int) -> None:
        left = self._prefix_lengths[length] - 1
        if left:
            self._prefix_lengths[length] = left
        else:
            del self._prefix_lengths[length]

    def notify(self, topics: Iterable[Sequence[str]]) -> int:
        """Wakes the waiters of a change record's topics. Returns how many were woken."""
        woken: dict[Registration, None] = {}
        waiters = self._waiters
        whole_tables: set[str] = set()
        for table, key in topics:
            if table == RESTORE:
                return self.wake_all()
            if table == TREE:
                self._collect_tree(key, woken)
                continue
            found = waiters.get((table, key))
            if found:
                woken.update(found)
            if table == KEY:
                for length in self._prefix_lengths:
                    if length <= len(key):
                        found = waiters.get((PREFIX, key[:length]))
                        if found:
                            woken.update(found)
            else:
                whole_tables.add(table)
        for table in whole_tables:
            found = waiters.get((table, ALL))
            if found:
                woken.update(found)
        return _call(woken)

    def _collect_tree(self, prefix: str, woken: dict[Registration, None]) -> None:
        """Waiters on keys in a deleted tree, and on prefixes inside or around it."""
        for (table, key), found in self._waiters.items():
            if table == KEY:
                if key.startswith(prefix):
                    woken.update(found)
            elif table == PREFIX and (key.startswith(prefix) or prefix.startswith(key)):
                woken.update(found)

    def wake_all(self) -> int:
        """Wakes everybody: the state was replaced, or records may have been lost."""
        woken: dict[Registration, None] = {}
        for found in self._waiters.values():
            woken.update(found)
        return _call(woken)


def _call(woken: dict[Registration, None]) -> int:
    for registration in woken:
        if registration._hub is not None:  # cancelled by an earlier callback
            registration.callback()
    return len(woken)
