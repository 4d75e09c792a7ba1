"""Transactions: a list of operations on keys, nodes, services, checks and sessions, applied as one."""

from __future__ import annotations

from typing import Any

from shared.structs.catalog import HealthCheck, Node, NodeService
from shared.structs.kv import DirEntry
from shared.structs.schema import ANY, INT, STR, Struct, attr, list_of, opt, struct
from shared.structs.session import Session


class TxnKVOp(Struct):
    verb: str = attr("Verb", STR)
    dir_ent: DirEntry = attr("DirEnt", struct(lambda: DirEntry))


class TxnNodeOp(Struct):
    verb: str = attr("Verb", STR)
    node: Node = attr("Node", struct(lambda: Node))


class TxnServiceOp(Struct):
    verb: str = attr("Verb", STR)
    node: str = attr("Node", STR)
    service: NodeService = attr("Service", struct(lambda: NodeService))


class TxnCheckOp(Struct):
    verb: str = attr("Verb", STR)
    check: HealthCheck = attr("Check", struct(lambda: HealthCheck))


class TxnSessionOp(Struct):
    verb: str = attr("Verb", STR)
    session: Session = attr("Session", struct(lambda: Session))


class TxnOp(Struct):
    """One operation: exactly one field is set."""

    kv: TxnKVOp | None = attr("KV", opt(lambda: TxnKVOp))
    intention: Any = attr("Intention", ANY)
    node: TxnNodeOp | None = attr("Node", opt(lambda: TxnNodeOp))
    service: TxnServiceOp | None = attr("Service", opt(lambda: TxnServiceOp))
    check: TxnCheckOp | None = attr("Check", opt(lambda: TxnCheckOp))
    session: TxnSessionOp | None = attr("Session", opt(lambda: TxnSessionOp))


class TxnRequest(Struct):
    """Txn.Apply and FSM message 8."""

    datacenter: str = attr("Datacenter", STR)
    ops: list[TxnOp] | None = attr("Ops", list_of(struct(lambda: TxnOp)))
    token: str = attr("Token", STR)


class TxnResult(Struct):
    """What one operation yields: one field is set."""

    kv: DirEntry | None = attr("KV", opt(lambda: DirEntry), omitempty=True)
    node: Node | None = attr("Node", opt(lambda: Node), omitempty=True)
    service: NodeService | None = attr("Service", opt(lambda: NodeService), omitempty=True)
    check: HealthCheck | None = attr("Check", opt(lambda: HealthCheck), omitempty=True)


class TxnError(Struct):
    op_index: int = attr("OpIndex", INT)
    what: str = attr("What", STR)


class TxnResponse(Struct):
    results: list[TxnResult] | None = attr("Results", list_of(struct(lambda: TxnResult)))
    errors: list[TxnError] | None = attr("Errors", list_of(struct(lambda: TxnError)))
