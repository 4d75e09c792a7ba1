"""Pushes: the requests that bring the catalog to what the local state says, and what their outcomes mean. Sans-IO.

    for push in pushes.pending():          # looks at the state anew at each step
        outcome = send(push.request)       # raises: stop, the rest is tried again later
        pushes.done(push, outcome)

What changed while its request was under way is not taken for synced: the entry has been replaced by then."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from services.rpc_core.local import node_info
from services.rpc_core.local.state import CheckEntry, LocalState, ServiceEntry
from shared import metrics
from shared.config.runtime import RuntimeConfig
from shared.log import DEBUG, get_logger
from shared.structs.catalog import DeregisterRequest, HealthCheck, NodeService, RegisterRequest

_log = get_logger("agent")


class Kind(Enum):
    """What a push is about."""

    NODE = "node"
    SERVICE = "service"
    CHECK = "check"
    SERVICE_REMOVAL = "service removal"
    CHECK_REMOVAL = "check removal"


class Outcome(Enum):
    """How a push ended. BLOCKED: the token may not do that; trying again is of no use until something changes."""

    DONE = "done"
    BLOCKED = "blocked"


class Push(NamedTuple):
    """key: id of the service or check. entries: what is in the request, to be marked if it still stands then.
    node_revision: what the request says of the node."""

    kind: Kind
    key: str
    request: RegisterRequest | DeregisterRequest
    node_revision: int
    entries: tuple[ServiceEntry | CheckEntry, ...] = ()


_FAILED = {
    Kind.SERVICE: "Syncing service failed.",
    Kind.CHECK: "Syncing check failed.",
    Kind.SERVICE_REMOVAL: "Deregistering service failed.",
    Kind.CHECK_REMOVAL: "Deregistering check failed.",
}
_BLOCKED = {
    Kind.SERVICE: ("Service registration blocked by ACLs", "service", "registration"),
    Kind.CHECK: ("Check registration blocked by ACLs", "check", "registration"),
    Kind.SERVICE_REMOVAL: ("Service deregistration blocked by ACLs", "service", "deregistration"),
    Kind.CHECK_REMOVAL: ("Check deregistration blocked by ACLs", "check", "deregistration"),
}


class Pushes:
    """`config` is replaced on reload."""

    def __init__(self, state: LocalState, config: RuntimeConfig) -> None:
        self.state = state
        self.config = config
        self._brought: int | None = None

    @property
    def all_brought(self) -> bool:
        """Whether nothing has changed here since a whole pass went well: there is nothing to do but compare."""
        return self._brought == self.state.revision

    # -- what is to be done ------------------------------------------------------------------------

    def pending(self) -> Iterator[Push]:
        """The node's entry, then services, then checks; each as it is when its turn comes."""
        state = self.state
        revision = state.revision
        talks = _log.enabled(DEBUG)
        if state.node_in_sync:
            _log.debug("Node info in sync")
        else:
            yield Push(Kind.NODE, self.config.node_name, node_info.registration(self.config), state.node_revision)
        for key in tuple(state.services):
            service_entry = state.services.get(key)
            if service_entry is None:
                continue
            if service_entry.deleted:
                request = self._deregister(service_entry.token, service_id=key)
                yield Push(Kind.SERVICE_REMOVAL, key, request, 0, (service_entry,))
            elif service_entry.in_sync:
                if talks:
                    _log.debug("Service in sync", service=key)
            else:
                yield self._service(key, service_entry)
        for key in tuple(state.checks):
            check_entry = state.checks.get(key)
            if check_entry is None:
                continue
            if check_entry.deleted:
                request = self._deregister(check_entry.token, check_id=key)
                yield Push(Kind.CHECK_REMOVAL, key, request, 0, (check_entry,))
            elif check_entry.in_sync:
                if talks:
                    _log.debug("Check in sync", check=key)
            else:
                yield self._check(key, check_entry)
        self._brought = revision  # not reached by who stops at a failure

    def _token(self, token: str) -> str:
        return token or self.config.acl.tokens.default

    def _register(self, token: str, service: NodeService | None, checks: list[HealthCheck]) -> RegisterRequest:
        request = node_info.registration(self.config).replace(
            token=self._token(token), service=service, skip_node_update=self.state.node_in_sync
        )
        if len(checks) == 1:
            request.check = checks[0].copy()
        else:
            request.checks = [check.copy() for check in checks] or None
        return request

    def _deregister(self, token: str, *, service_id: str = "", check_id: str = "") -> DeregisterRequest:
        return DeregisterRequest(
            datacenter=self.config.datacenter,
            node=self.config.node_name,
            service_id=service_id,
            check_id=check_id,
            token=self._token(token),
        )

    def _service(self, key: str, entry: ServiceEntry) -> Push:
        """A service goes with its checks, if their tokens are the same."""
        with_it = [
            check_entry
            for check_entry in self.state.checks.values()
            if not check_entry.deleted
            and not check_entry.in_sync
            and check_entry.check is not None
            and check_entry.check.service_id == key
            and self._token(check_entry.token) == self._token(entry.token)
        ]
        checks = [check_entry.check for check_entry in with_it if check_entry.check is not None]
        service = None if entry.service is None else entry.service.copy()
        request = self._register(entry.token, service, checks)
        return Push(Kind.SERVICE, key, request, self.state.node_revision, (entry, *with_it))

    def _check(self, key: str, entry: CheckEntry) -> Push:
        assert entry.check is not None  # only removals are known by their id alone
        entry.deferred_until = None
        service = self.state.service(entry.check.service_id)
        request = self._register(entry.token, None if service is None else service.copy(), [entry.check])
        return Push(Kind.CHECK, key, request, self.state.node_revision, (entry,))

    # -- what came of it ---------------------------------------------------------------------------

    def done(self, push: Push, outcome: Outcome) -> None:
        """Mark what the request covered."""
        if outcome is Outcome.BLOCKED:
            self._blocked(push)
        elif push.kind is Kind.NODE:
            self._node_done(push)
            _log.info("Synced node info")
        elif push.kind is Kind.SERVICE_REMOVAL:
            self._service_gone(push)
            _log.info("Deregistered service", service=push.key)
        elif push.kind is Kind.CHECK_REMOVAL:
            self._forget_check(push)
            _log.info("Deregistered check", check=push.key)
        else:
            self._node_done(push)
            self._mark(push)
            name = "service" if push.kind is Kind.SERVICE else "check"
            _log.info(f"Synced {name}", **{name: push.key})

    def failed(self, push: Push, error: str) -> None:
        """The request came to nothing, or nobody knows what it came to: it stays to be done."""
        if push.kind is Kind.NODE:
            _log.warn("Syncing node info failed.", error=error)
            return
        name = "service" if push.kind in (Kind.SERVICE, Kind.SERVICE_REMOVAL) else "check"
        _log.warn(_FAILED[push.kind], **{name: push.key, "error": error})

    def _node_done(self, push: Push) -> None:
        if push.node_revision == self.state.node_revision:
            self.state.node_in_sync = True

    def _mark(self, push: Push) -> None:
        for entry in push.entries:
            entry.in_sync = True

    def _service_gone(self, push: Push) -> None:
        """A service took its checks with it."""
        (entry,) = push.entries
        if self.state.services.get(push.key) is not entry:
            return
        del self.state.services[push.key]
        for key, check_entry in tuple(self.state.checks.items()):
            check = check_entry.check
            if check_entry.deleted and check is not None and check.service_id == push.key:
                del self.state.checks[key]

    def _forget_check(self, push: Push) -> None:
        (entry,) = push.entries
        if self.state.checks.get(push.key) is entry:
            del self.state.checks[push.key]

    def _blocked(self, push: Push) -> None:
        if push.kind is Kind.NODE:
            self._node_done(push)
            _log.warn("Node info update blocked by ACLs", node=self.config.node_id, accessorID="")
            metrics.incr("consul.acl.blocked.node.registration")
            return
        self._mark(push)
        text, name, action = _BLOCKED[push.kind]
        _log.warn(text, **{name: push.key, "accessorID": ""})
        metrics.incr(f"consul.acl.blocked.{name}.{action}")
