"""Discovery chains as far as writing a config entry needs them: does a chain compile, and what is it then.

A chain is a graph: the router of a service on top, if there is one, then splitters, then resolvers. All services
in it must speak one protocol, subsets must exist, and nothing may lead back to itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from services.raft_node.fsm.errors import CommandError
from shared.gotext.quoting import quote
from shared.structs.config_entry import (
    NAMESPACE,
    PROXY_GLOBAL,
    ConfigEntry,
    ProxyDefaults,
    ResolverFailover,
    ServiceDefaults,
    ServiceResolver,
    ServiceRouter,
    ServiceSplitter,
)

E = TypeVar("E", bound=ConfigEntry)
Lookup = Callable[[type[ConfigEntry], str], ConfigEntry | None]
"""Finds the entry of a kind and name."""

DATACENTER = "dc1"
"""Chains are tried out as if in this datacenter, whatever ours is called: it shows in error texts."""
ROUTER, SPLITTER, RESOLVER = "router", "splitter", "resolver"
DEFAULT_PROTOCOL = "tcp"
_ADVANCED = frozenset(("http", "http2", "grpc"))
"""Protocols that can be routed and split."""


class Chain(NamedTuple):
    """What is to be known of a chain that compiles. top: kind of the node where it starts."""

    protocol: str
    top: str


class Target(NamedTuple):
    """Where instances are looked for."""

    service: str
    subset: str = ""
    namespace: str = NAMESPACE
    datacenter: str = DATACENTER

    @property
    def id(self) -> str:
        return ".".join((*filter(None, (self.subset,)), self.service, self.namespace, self.datacenter))


class _Node(NamedTuple):
    kind: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.name}"


def compile_chain(service: str, lookup: Lookup) -> Chain:
    """Raises CommandError with the reason why the chain of a service does not compile."""
    if not service:
        raise CommandError("serviceName is required")
    return _Compiler(service, _gather(service, lookup)).compile()


_Gathered = dict[tuple[type[ConfigEntry], str], ConfigEntry | None]


def _gather(service: str, lookup: Lookup) -> _Gathered:
    """The entries that may take part in a chain. Names match in any case when they are looked up, but exactly from
    then on: what is called otherwise here than in the entry that leads there is not found."""
    found: _Gathered = {(ProxyDefaults, PROXY_GLOBAL): lookup(ProxyDefaults, PROXY_GLOBAL)}
    router = found[ServiceRouter, service] = lookup(ServiceRouter, service)
    splitters = router.related_services() if router is not None else [service]
    resolvers: list[str] = []
    services = {service: None}
    while splitters:
        name = splitters.pop()
        if (ServiceSplitter, name) not in found:
            entry = found[ServiceSplitter, name] = lookup(ServiceSplitter, name)
            splitters += entry.related_services() if entry is not None else []
            resolvers.append(name)
    while resolvers:
        name = resolvers.pop()
        if (ServiceResolver, name) not in found:
            entry = found[ServiceResolver, name] = lookup(ServiceResolver, name)
            resolvers += entry.related_services() if entry is not None else []
            services[name] = None
    for name in services:
        found[ServiceDefaults, name] = lookup(ServiceDefaults, name)
    return found


class _Compiler:
    """`_leads`: node -> nodes it leads to, in order."""

    def __init__(self, service: str, entries: _Gathered) -> None:
        self._service, self._entries = service, entries
        self._protocol = ""
        self._advanced = False
        self._leads: dict[_Node, list[_Node]] = {}

    def _entry(self, cls: type[E], name: str) -> E | None:
        found = self._entries.get((cls, name))
        return found if isinstance(found, cls) else None

    def compile(self) -> Chain:
        start = self._start()
        self._refuse_circles(start)
        if self._advanced and self._protocol not in _ADVANCED:
            raise CommandError(
                f"discovery chain {quote(self._service)} uses a protocol {quote(self._protocol)}"
                " that does not permit advanced routing or splitting behavior"
            )
        return Chain(self._protocol, start.kind)

    def _start(self) -> _Node:
        router = self._entry(ServiceRouter, self._service)
        if router is None:
            return self._splitter_or_resolver(Target(self._service))
        node = _Node(ROUTER, f"{router.name}.{NAMESPACE}")
        self._advanced = True
        self._record_protocol(router.name)
        leads = []
        for route in router.routes or ():
            destination = route.destination
            if destination is None:
                leads.append(self._splitter_or_resolver(Target(self._service)))
                continue
            target = Target(
                destination.service or self._service, destination.service_subset, destination.namespace or NAMESPACE
            )
            leads.append(self._resolver(target) if target.subset else self._splitter_or_resolver(target))
        leads.append(self._splitter_or_resolver(Target(router.name)))
        self._leads[node] = leads
        return node

    def _splitter_or_resolver(self, target: Target) -> _Node:
        return self._splitter(target.service) or self._resolver(target)

    def _splitter(self, service: str) -> _Node | None:
        node = _Node(SPLITTER, f"{service}.{NAMESPACE}")
        if node in self._leads:
            return node
        splitter = self._entry(ServiceSplitter, service)
        if splitter is None:
            return None
        leads = self._leads[node] = list[_Node]()  # known before what it leads to: a circle ends here
        for split in splitter.splits or ():
            name = split.service or service
            following = self._splitter(name) if name != service and not split.service_subset else None
            leads.append(following or self._resolver(Target(name, split.service_subset)))
        self._advanced = True
        return node

    def _resolver(self, target: Target, for_failover: bool = False) -> _Node:
        """The node of a target, after redirects and default subsets."""
        seen: list[str] = []
        while True:
            node = _Node(RESOLVER, target.id)
            if node in self._leads:
                return node
            self._record_protocol(target.service)
            resolver = self._entry(ServiceResolver, target.service) or ServiceResolver(name=target.service)
            if target.id in seen:
                raise CommandError(f"detected circular resolver redirect: [{' -> '.join([*seen, target.id])}]")
            seen.append(target.id)
            following = _redirected(target, resolver)
            if following == target:
                break
            target = following
        if target.subset and target.subset not in (resolver.subsets or {}):
            raise CommandError(f"service {quote(target.service)} does not have a subset named {quote(target.subset)}")
        self._refuse_external(target.service, resolver)
        if for_failover:
            return node
        self._leads[node] = []
        failovers = resolver.failover or {}
        failover = failovers.get(target.subset, failovers.get("*"))
        if failover is not None:
            for each in _failover_targets(target, failover):
                self._resolver(each, for_failover=True)
        return node

    def _refuse_external(self, service: str, resolver: ServiceResolver) -> None:
        """A service outside of the mesh is reached under its one name."""
        defaults = self._entry(ServiceDefaults, service)
        if defaults is None or not defaults.external_sni:
            return
        for what, value in (
            ("redirects", resolver.redirect),
            ("subsets", resolver.subsets),
            ("failover", resolver.failover),
        ):
            if value:
                raise CommandError(
                    f"service {quote(service)} has an external SNI set; cannot define {what} for external services"
                )

    def _record_protocol(self, service: str) -> None:
        defaults = self._entry(ServiceDefaults, service)
        protocol = defaults.protocol if defaults is not None else self._global_protocol()
        protocol = protocol.lower() or DEFAULT_PROTOCOL
        self._protocol = self._protocol or protocol
        if self._protocol != protocol:
            raise CommandError(
                f"discovery chain {quote(self._service)} uses inconsistent protocols;"
                f" service {quote(service)} has {quote(protocol)} which is not {quote(self._protocol)}"
            )

    def _global_protocol(self) -> str:
        defaults = self._entry(ProxyDefaults, PROXY_GLOBAL)
        return weak_protocol((defaults.config if defaults is not None else None) or {})

    def _refuse_circles(self, start: _Node) -> None:
        """Depth first; None on the stack marks that everything below the newest visited node is done."""
        todo: list[_Node | None] = [start]
        path: list[_Node] = []
        while todo:
            node = todo.pop()
            if node is None:
                path.pop()
                continue
            if node in path:
                shown = " -> ".join(each.key for each in (*path, node))
                raise CommandError(f"detected circular reference: [{shown}]")
            path.append(node)
            todo.append(None)
            todo += self._leads[node]


def weak_protocol(config: dict[str, object]) -> str:
    """The protocol in a free-form configuration: the key in any case, the value of any simple type."""
    key = "protocol" if "protocol" in config else next((key for key in config if key.lower() == "protocol"), None)
    value = None if key is None else config[key]
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | float):
        return f"{value:g}"
    return value if isinstance(value, str) else ""


def _redirected(target: Target, resolver: ServiceResolver) -> Target:
    """Where a resolver sends a target first; the same target if nowhere."""
    redirect = resolver.redirect
    if redirect is not None:
        following = _rewritten(
            target, redirect.service, redirect.service_subset, redirect.namespace, redirect.datacenter
        )
        if following.id != target.id:
            return following
    if not target.subset and resolver.default_subset:
        return target._replace(subset=resolver.default_subset)
    return target


def _rewritten(target: Target, service: str, subset: str, namespace: str, datacenter: str) -> Target:
    """`target` with what is given in place of its own; another service starts without a subset."""
    own_subset = target.subset if service in ("", target.service) else ""
    return Target(
        service or target.service,
        subset or own_subset,
        namespace or target.namespace,
        datacenter or target.datacenter,
    )


def _failover_targets(target: Target, failover: ResolverFailover) -> list[Target]:
    datacenters: Sequence[str] = failover.datacenters or ("",)
    found = [
        _rewritten(target, failover.service, failover.service_subset, failover.namespace, datacenter)
        for datacenter in datacenters
    ]
    return [each for each in found if each.id != target.id]
