"""Local state: the services and checks of this agent, and how far the catalog knows of them. Sans-IO.

An entry is replaced when it changes, never altered in place (but for its marks): who looked at an entry before a
slow call knows after it, by identity, whether it still stands. What is removed stays as `deleted` until the catalog
has forgotten it too."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from services.rpc_core.local.same import same_check, same_service
from shared.gotext.quoting import quote
from shared.structs.catalog import CRITICAL, SERF_CHECK_ID, HealthCheck, NodeService
from shared.structs.errors import RefusedError

Callback = Callable[[], None]

CONSUL_SERVICE_ID = "consul"
"""The servers' own service: the leader keeps it, not the agent."""


class ServiceEntry:
    """A service and its marks. service: None for one that only the catalog knows, and shall forget."""

    __slots__ = ("deleted", "in_sync", "service", "token", "watchers")

    def __init__(self, service: NodeService | None, token: str = "", *, deleted: bool = False) -> None:
        self.service, self.token = service, token
        self.in_sync, self.deleted = False, deleted
        self.watchers: dict[Callback, None] = {}
        """Called once, when the service is replaced or removed."""


class CheckEntry:
    """A check and its marks. critical_since, deferred_until: seconds of the caller's clock, or None."""

    __slots__ = ("check", "critical_since", "deferred_until", "deleted", "in_sync", "token")

    def __init__(self, check: HealthCheck | None, token: str = "", *, deleted: bool = False) -> None:
        self.check, self.token = check, token
        self.in_sync, self.deleted = False, deleted
        self.critical_since: float | None = None
        self.deferred_until: float | None = None


class LocalState:
    """on_change: called when something has to be brought to the catalog. It must not block."""

    def __init__(
        self,
        node: str,
        rng: random.Random,
        *,
        check_update_interval_s: float,
        discard_check_output: bool = False,
        on_change: Callback = lambda: None,
    ) -> None:
        self.node = node
        self.services: dict[str, ServiceEntry] = {}
        self.checks: dict[str, CheckEntry] = {}
        self.node_in_sync = False
        self.node_revision = 0
        """Counts changes of what the node says of itself."""
        self.check_update_interval_s = check_update_interval_s
        self.discard_check_output = discard_check_output
        self.on_change = on_change
        self.revision = 0
        """Counts changes that the catalog has to hear of."""
        self.on_deadline: Callback = lambda: None
        """Called when `deadline` has come nearer."""
        self._rng = rng
        self._aliases: dict[str, dict[Callback, None]] = {}

    def _changed(self) -> None:
        self.revision += 1
        self.on_change()

    def node_changed(self) -> None:
        """The node's own entry (address, metadata) is to be brought to the catalog."""
        self.node_revision += 1
        self.node_in_sync = False
        self._changed()

    # -- services --------------------------------------------------------------------------------

    def service(self, service_id: str) -> NodeService | None:
        entry = self.services.get(service_id)
        return None if entry is None or entry.deleted else entry.service

    def live_services(self) -> dict[str, NodeService]:
        """Services by id, in the order of their registration."""
        return {
            key: entry.service
            for key, entry in self.services.items()
            if not entry.deleted and entry.service is not None
        }

    def add_service(self, service: NodeService, token: str) -> None:
        """A new service, or a new definition of an old one."""
        old = self.services.get(service.id)
        self.services[service.id] = ServiceEntry(service, token)
        if old is None:
            self._notify_aliases(service.id)
        else:
            _wake(old)
        self._changed()

    def remove_service(self, service_id: str) -> None:
        """Raises RefusedError if there is no such service."""
        entry = self.services.get(service_id)
        if entry is None or entry.deleted:
            raise RefusedError(f"Service {quote(service_id)} does not exist")
        gone = ServiceEntry(entry.service, entry.token, deleted=True)
        self.services[service_id] = gone
        _wake(entry)
        self._notify_aliases(service_id)
        self._changed()

    def watch_service(self, service_id: str, callback: Callback) -> Callback:
        """`callback()` once, when the service is replaced or removed. Returns what ends the wait.

        Raises KeyError if there is no such service."""
        entry = self.services[service_id]
        entry.watchers[callback] = None
        return lambda: entry.watchers.pop(callback, None)

    # -- checks ----------------------------------------------------------------------------------

    def check(self, check_id: str) -> HealthCheck | None:
        entry = self.checks.get(check_id)
        return None if entry is None or entry.deleted else entry.check

    def live_checks(self) -> dict[str, HealthCheck]:
        """Checks by id, in the order of their registration."""
        return {key: entry.check for key, entry in self.checks.items() if not entry.deleted and entry.check is not None}

    def checks_of(self, service_id: str, *, with_node_checks: bool = False) -> dict[str, HealthCheck]:
        """Checks of a service, and on request those of the node, which bear on every service."""
        return {
            key: check
            for key, check in self.live_checks().items()
            if (check.service_id == service_id if check.service_id else with_node_checks)
        }

    def add_check(self, check: HealthCheck, token: str) -> None:
        """A new check, or a new definition of an old one. Raises RefusedError if its service is unknown."""
        if check.service_id and check.service_id not in self.services:
            raise RefusedError(f'Check "{check.check_id}" refers to non-existent service "{check.service_id}"')
        check = check.replace(node=self.node)
        if self.discard_check_output:
            check.output = ""
        self.checks[check.check_id] = CheckEntry(check, token)
        self._notify_aliases(check.service_id)
        self._changed()

    def remove_check(self, check_id: str) -> None:
        """What is not there is not missed."""
        entry = self.checks.get(check_id)
        if entry is None or entry.deleted or entry.check is None:
            return
        self.checks[check_id] = CheckEntry(entry.check, entry.token, deleted=True)
        self._notify_aliases(entry.check.service_id)
        self._changed()

    def update_check(self, check_id: str, status: str, output: str, now: float) -> None:
        """What a probe said. An output that changed while the status did not is brought to the catalog later, some
        time within one and a half update intervals: outputs tend to differ each time."""
        entry = self.checks.get(check_id)
        if entry is None or entry.deleted or entry.check is None:
            return
        if self.discard_check_output:
            output = ""
        if status != CRITICAL:
            entry.critical_since = None
        elif entry.critical_since is None:
            entry.critical_since = now
        if entry.check.status == status and entry.check.output == output:
            return
        same_status = entry.check.status == status
        new = CheckEntry(entry.check.replace(status=status, output=output), entry.token)
        new.critical_since, new.deferred_until = entry.critical_since, entry.deferred_until
        self.checks[check_id] = new
        if same_status and self.check_update_interval_s > 0:
            new.in_sync = entry.in_sync
            if new.deferred_until is None:
                interval_s = self.check_update_interval_s
                new.deferred_until = now + interval_s / 2 + self._rng.random() * interval_s
                self.on_deadline()
            return
        self._notify_aliases(entry.check.service_id)
        self._changed()

    @property
    def deadline(self) -> float | None:
        """When `end_deferral` has something to do."""
        return min(
            (entry.deferred_until for entry in self.checks.values() if entry.deferred_until is not None),
            default=None,
        )

    def end_deferral(self, now: float) -> None:
        """Outputs whose time has come are to be brought to the catalog."""
        for entry in self.checks.values():
            if entry.deferred_until is not None and entry.deferred_until <= now:
                entry.deferred_until = None
                if not entry.deleted:
                    entry.in_sync = False
                    self._changed()

    def critical_for_s(self, now: float) -> dict[str, float]:
        """Seconds for which each critical check has been so."""
        return {
            key: now - entry.critical_since
            for key, entry in self.checks.items()
            if not entry.deleted and entry.critical_since is not None
        }

    # -- aliases ---------------------------------------------------------------------------------

    def watch_alias(self, service_id: str, callback: Callback) -> Callback:
        """`callback()` whenever the service comes, goes, or has a check that changes. Returns what ends that."""
        self._aliases.setdefault(service_id, {})[callback] = None

        def end() -> None:
            callbacks = self._aliases.get(service_id, {})
            callbacks.pop(callback, None)
            if not callbacks:
                self._aliases.pop(service_id, None)

        return end

    def _notify_aliases(self, service_id: str) -> None:
        """ "" stands for the node, whose checks bear on every service."""
        concerned = (service_id,) if service_id else tuple(self._aliases)
        for key in concerned:
            for callback in tuple(self._aliases.get(key, ())):
                callback()

    # -- what the catalog says -------------------------------------------------------------------

    def compare(self, node_is_right: bool, services: Iterable[NodeService], checks: Iterable[HealthCheck]) -> list[str]:
        """Mark what differs from the catalog's entries of our node, and what there is not ours, for removal.

        Returns the ids of checks that were skipped because the leader keeps them."""
        if not node_is_right:
            self.node_in_sync = False
        self._compare_services({service.id: service for service in services})
        return self._compare_checks({check.check_id: check for check in checks})

    def _compare_services(self, theirs: dict[str, NodeService]) -> None:
        for key, entry in self.services.items():
            if key not in theirs:
                entry.in_sync = False
        for key, remote in theirs.items():
            ours = self.services.get(key)
            if ours is None:
                if key != CONSUL_SERVICE_ID:
                    self.services[key] = ServiceEntry(None, deleted=True)
            elif not ours.deleted and ours.service is not None:
                if ours.service.enable_tag_override:
                    ours.service = ours.service.replace(tags=list(remote.tags or ()))
                ours.in_sync = same_service(ours.service, remote)

    def _compare_checks(self, theirs: dict[str, HealthCheck]) -> list[str]:
        skipped: list[str] = []
        for key, entry in self.checks.items():
            if key not in theirs:
                entry.in_sync = False
        for key, remote in theirs.items():
            ours = self.checks.get(key)
            if ours is None:
                if key == SERF_CHECK_ID:
                    skipped.append(key)
                else:
                    self.checks[key] = CheckEntry(None, deleted=True)
            elif not ours.deleted and ours.check is not None:
                with_output = ours.deferred_until is None
                ours.in_sync = same_check(ours.check, remote, with_output=with_output)
        return skipped

    def stats(self) -> dict[str, str]:
        return {"services": str(len(self.live_services())), "checks": str(len(self.live_checks()))}


def _wake(entry: ServiceEntry) -> None:
    watchers, entry.watchers = tuple(entry.watchers), {}
    for callback in watchers:
        callback()
