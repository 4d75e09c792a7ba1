"""Config entry commands (message type 22): upserts with and without comparison, deletes, and the check of every
discovery chain and ingress gateway that a change can reach."""

from __future__ import annotations

from collections.abc import Iterator

from services.raft_node.fsm.discovery_chain import RESOLVER, Chain, Lookup, compile_chain
from services.raft_node.fsm.errors import CommandError
from shared.gotext.quoting import quote
from shared.state.keys import exact
from shared.state.queries.config_entry import entry_key, entry_topic, find, linked_to, read_row, scan
from shared.state.snapshot import Snapshot
from shared.state.tables import pack_row
from shared.state.transaction import WriteTransaction
from shared.structs import wire
from shared.structs.config_entry import (
    INGRESS_GATEWAY,
    PROXY_GLOBAL,
    SERVICE_RESOLVER,
    SERVICE_ROUTER,
    SERVICE_SPLITTER,
    TERMINATING_GATEWAY,
    WILDCARD,
    ConfigEntry,
    IngressGateway,
    ProxyDefaults,
    ServiceResolver,
    ServiceRouter,
    ServiceSplitter,
    TerminatingGateway,
)
from shared.structs.config_entry_wire import (
    DELETE,
    UPSERT,
    UPSERT_CAS,
    ConfigEntryRequest,
)
from shared.structs.errors import RefusedError, WireTypeError

TABLE = "config-entries"
GATEWAY_SERVICES = "gateway-services"
_OTHER_GATEWAY = {INGRESS_GATEWAY: TERMINATING_GATEWAY, TERMINATING_GATEWAY: INGRESS_GATEWAY}


def apply(tx: WriteTransaction, index: int, data: bytes) -> bool | None:
    """Applies one ConfigEntryRequest: whether an upsert took effect, None for a delete. Raises CommandError,
    WireTypeError."""
    request = decode(data)
    entry, operation = request.entry, request.op
    if operation == DELETE:
        _delete(tx, index, entry.kind_name, entry.name)
        return None
    if operation not in (UPSERT, UPSERT_CAS):
        raise CommandError(f"invalid config entry operation type: {operation}")
    existing = find(tx, entry.kind_name, entry.name)
    if operation == UPSERT_CAS and entry.modify_index != (existing.modify_index if existing is not None else 0):
        return False
    entry.create_index = existing.create_index if existing is not None else index
    entry.modify_index = index
    _check_graph(tx, entry.kind_name, entry.name, entry)
    if not entry.name:
        raise CommandError("failed inserting config entry: object missing primary index")
    if _leads_elsewhere(existing, entry):
        tx.advance_index(GATEWAY_SERVICES, index)
    if existing is not None:
        _remove(tx, existing)
    insert(tx, entry)
    tx.advance_index(TABLE, index)
    tx.touch(*entry_topic(entry.kind_name, entry.name), index)
    return True


def decode(data: bytes | str) -> ConfigEntryRequest:
    """A request as the log holds it: msgpack of a raw. Raises WireTypeError."""
    raw = wire.unpack(data) if isinstance(data, bytes) else data
    try:
        return ConfigEntryRequest.from_raw(raw)
    except RefusedError as error:
        raise WireTypeError(str(error)) from None


def _leads_elsewhere(existing: ConfigEntry | None, entry: ConfigEntry) -> bool:
    """Whether an entry changes which services a gateway leads to."""
    if isinstance(entry, IngressGateway):
        return not isinstance(existing, IngressGateway) or existing.listeners != entry.listeners
    if isinstance(entry, TerminatingGateway):
        return not isinstance(existing, TerminatingGateway) or existing.services != entry.services
    return False


def _delete(tx: WriteTransaction, index: int, kind: str, name: str) -> None:
    """Nothing happens if the entry does not exist."""
    existing = find(tx, kind, name)
    if existing is None:
        return
    if kind in _OTHER_GATEWAY:
        tx.advance_index(GATEWAY_SERVICES, index)
    _check_graph(tx, kind, name, None)
    _remove(tx, existing)
    tx.set_index(TABLE, index)
    tx.touch(*entry_topic(kind, name), index)


# Rows -----------------------------------------------------------------------------------------------------


def insert(tx: WriteTransaction, entry: ConfigEntry) -> None:
    """Writes the rows of an entry, without index rows."""
    key = entry_key(entry.kind_name, entry.name)
    tx.put(key, pack_row((entry.kind_name, entry.to_row())), db=tx.tables.config_entries)
    for service in entry.related_services():
        tx.put(exact(service) + key, b"", db=tx.tables.config_entries_by_link)


def _remove(tx: WriteTransaction, entry: ConfigEntry) -> None:
    key = entry_key(entry.kind_name, entry.name)
    tx.delete(key, db=tx.tables.config_entries)
    for service in entry.related_services():
        tx.delete(exact(service) + key, db=tx.tables.config_entries_by_link)


def restore(tx: WriteTransaction, raw: str) -> None:
    """Takes over an entry of a snapshot."""
    entry = decode(raw).entry
    if isinstance(entry, IngressGateway | TerminatingGateway):
        tx.raise_index(GATEWAY_SERVICES, entry.modify_index)
    insert(tx, entry)
    tx.raise_index(TABLE, entry.modify_index)


def records(snap: Snapshot) -> Iterator[bytes]:
    """All entries as a snapshot holds them, by kind and name."""
    for _key, row in snap.scan(snap.tables.config_entries):
        yield ConfigEntryRequest("", read_row(row)).to_raw()


# The graph ------------------------------------------------------------------------------------------------


def _check_graph(tx: WriteTransaction, kind: str, name: str, proposed: ConfigEntry | None) -> None:
    """Raises CommandError if the state would not fit together with `proposed` in the place of (kind, name); None
    stands for its removal."""
    other = _OTHER_GATEWAY.get(kind)
    if other is not None and find(tx, other, name) is not None:
        raise CommandError(
            f"cannot create a {quote(kind)} config entry with name {quote(name)}, "
            f"a {quote(other)} config entry with that name already exists"
        )
    if kind == INGRESS_GATEWAY and proposed is None:
        return
    chains, gateways = _affected(tx, kind, name, proposed)
    for gateway in gateways:
        chains |= dict.fromkeys(gateway.related_services())
    lookup = _with(tx, kind, name, proposed)
    compiled = {service: compile_chain(service, lookup) for service in chains}
    for gateway in gateways:
        _check_gateway(gateway, compiled, strict=kind == INGRESS_GATEWAY)


def _affected(
    tx: WriteTransaction, kind: str, name: str, proposed: ConfigEntry | None
) -> tuple[dict[str, None], list[IngressGateway]]:
    """Services whose chains, and gateways whose listeners a change can reach."""
    chains: dict[str, None] = {}
    if kind == ProxyDefaults.kind_name:
        if name != PROXY_GLOBAL:
            return {}, []
        for each in (SERVICE_ROUTER, SERVICE_SPLITTER, SERVICE_RESOLVER):
            chains |= dict.fromkeys(entry.name for entry in scan(tx, each))
        return chains, [entry for entry in scan(tx, INGRESS_GATEWAY) if isinstance(entry, IngressGateway)]
    if isinstance(proposed, IngressGateway):
        return {}, [proposed]
    chains[name] = None
    gateways = []
    for entry in linked_to(tx, name):
        if isinstance(entry, IngressGateway):
            gateways.append(entry)
        elif isinstance(entry, ServiceRouter | ServiceSplitter | ServiceResolver):
            chains[entry.name] = None
    return chains, gateways


def _with(tx: WriteTransaction, kind: str, name: str, proposed: ConfigEntry | None) -> Lookup:
    """Looks entries up as if `proposed` were there already."""

    def lookup(cls: type[ConfigEntry], wanted: str) -> ConfigEntry | None:
        if cls.kind_name == kind and wanted == name:
            return proposed
        return find(tx, cls.kind_name, wanted)

    return lookup


def _check_gateway(gateway: IngressGateway, chains: dict[str, Chain], strict: bool) -> None:
    """A listener speaks the protocol of its services; an existing one may treat any as plain TCP, as long as nothing
    is to be routed or split."""
    for listener in gateway.listeners or ():
        for service in listener.services or ():
            if service.name == WILDCARD:
                continue
            chain, expected = chains[service.name], listener.protocol
            if chain.protocol == expected:
                continue
            if strict or expected != "tcp" or chain.top != RESOLVER:
                raise CommandError(
                    f"service {quote(service.name)} has protocol {quote(chain.protocol)},"
                    f" which does not match defined listener protocol {quote(expected)}"
                )
