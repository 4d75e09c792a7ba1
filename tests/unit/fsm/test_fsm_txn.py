"""Transactions: order, results, every error text, and all or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from shared.state.queries import catalog, kv, session
from shared.state.queries.txn import read
from shared.structs.catalog import HealthCheck, Node, NodeService
from shared.structs.kv import DirEntry
from shared.structs.session import Session
from shared.structs.txn import TxnCheckOp, TxnKVOp, TxnNodeOp, TxnOp, TxnServiceOp, TxnSessionOp
from tests.unit.fsm.fsm_driver import S1, S2, Driver


def key(verb: str, name: str, value: bytes | None = None, **fields: Any) -> TxnOp:
    return TxnOp(kv=TxnKVOp(verb, DirEntry(key=name, value=value, **fields)))


def node(verb: str, name: str, **fields: Any) -> TxnOp:
    return TxnOp(node=TxnNodeOp(verb, Node(node=name, **fields)))


def service(verb: str, on: str, name: str, **fields: Any) -> TxnOp:
    return TxnOp(service=TxnServiceOp(verb, on, NodeService(id=name, service=name, **fields)))


def check(verb: str, on: str, name: str, **fields: Any) -> TxnOp:
    return TxnOp(check=TxnCheckOp(verb, HealthCheck(node=on, check_id=name, **fields)))


def test_operations_see_each_other_and_only_gets_have_values(fsm: Driver) -> None:
    response = fsm.txn(key("set", "a/1", b"x"), key("get", "a/1"), key("get-tree", "a/"), key("delete", "a/1"))
    assert response["Errors"] is None
    assert [result["KV"]["Value"] for result in response["Results"]] == [None, b"x", b"x"]
    assert fsm.ask(lambda snap: kv.get(snap, "a/1")).value is None


def test_all_run_and_one_error_undoes_all(fsm: Driver) -> None:
    fsm.register_service("n", "web")
    fsm.kv("set", "k", b"1")
    before = fsm.dump()
    response = fsm.txn(
        key("set", "k", b"2"),
        key("delete-tree", "k"),
        key("get", "k"),
        service("delete", "n", "web"),
        node("delete", "n"),
        key("cas", "new", b"", modify_index=5),
    )
    assert response["Results"] is None
    assert response["Errors"] == [
        {"OpIndex": 2, "What": 'key "k" doesn\'t exist'},
        {"OpIndex": 5, "What": 'failed to set key "new", index is stale'},
    ]
    assert fsm.dump() == before
    assert fsm.topics == []


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (key("get", "no"), 'key "no" doesn\'t exist'),
        (key("check-not-exists", "k"), 'key "k" exists'),
        (key("cas", "k", modify_index=1), 'failed to set key "k", index is stale'),
        (key("delete-cas", "k", modify_index=1), 'failed to delete key "k", index is stale'),
        (key("lock", "k", session=S2), 'failed to lock key "k", lock is already held'),
        (
            key("unlock", "k", session=S2),
            'failed to unlock key "k", lock isn\'t held, or is held by another session',
        ),
        (key("check-session", "no", session=S1), 'failed to check session, key "no" doesn\'t exist'),
        (
            key("check-session", "k", session=S2),
            f'failed session check for key "k", current session "{S1}" != "{S2}"',
        ),
        (key("check-index", "no"), 'failed to check index, key "no" doesn\'t exist'),
        (key("check-index", "k", modify_index=9), 'failed index check for key "k", current modify index 15 != 9'),
        (key("jump", "k"), 'unknown KV verb "jump"'),
        (node("get", "no"), 'node "no" doesn\'t exist'),
        (node("cas", "n", modify_index=1), 'failed to set node "n", index is stale'),
        (node("delete-cas", "n", modify_index=1), 'failed to delete node "n", index is stale'),
        (node("jump", "n"), 'unknown Node verb "jump"'),
        (service("get", "n", "no"), 'service "no" on node "n" doesn\'t exist'),
        (service("cas", "n", "s", modify_index=1), 'failed to set service "s" on node "n", index is stale'),
        (service("delete-cas", "n", "s", modify_index=1), 'failed to delete service "s" on node "n", index is stale'),
        (service("set", "no", "s"), "Missing node registration"),
        (service("jump", "n", "s"), 'unknown Service verb "jump"'),
        (check("get", "n", "no"), 'check "no" on node "n" doesn\'t exist'),
        (check("cas", "n", "c", modify_index=1), 'failed to set check "c" on node "n", index is stale'),
        (check("delete-cas", "n", "c", modify_index=1), 'failed to delete check "c" on node "n", index is stale'),
        (check("set", "n", "x", service_id="no"), "Missing service registration"),
        (check("jump", "n", "c"), 'unknown Check verb "jump"'),
        (TxnOp(), "no operation specified"),
        (
            TxnOp(session=TxnSessionOp("delete", Session(id="33333333-0000-0000-0000-000000000000"))),
            "failed to delete session: failed deleting session: not found",
        ),
        (
            TxnOp(session=TxnSessionOp("jump", Session(id=S1))),
            'failed to delete session: unknown Session verb "jump"',
        ),
    ],
    ids=str,
)
def test_error_texts(fsm: Driver, operation: TxnOp, text: str) -> None:
    fsm.register_service("n", "s")
    fsm.register_check("n", "c")
    fsm.session(S1, "n")
    fsm.session(S2, "n")
    fsm.kv("lock", "k", session=S1)
    response = fsm.txn(operation)
    assert response["Errors"] == [{"OpIndex": 0, "What": text}]


def test_catalog_operations_yield_what_was_stored(fsm: Driver) -> None:
    response = fsm.txn(node("set", "n", address="1.1.1.1"), service("cas", "n", "s"), check("set", "n", "c"))
    assert response["Errors"] is None
    made = [next((kind, v["ModifyIndex"]) for kind, v in r.items() if v is not None) for r in response["Results"]]
    assert made == [("Node", fsm.index), ("Service", fsm.index), ("Check", fsm.index)]


def test_a_cas_that_cannot_be_stored_yields_what_is_there(fsm: Driver) -> None:
    response = fsm.txn(check("cas", "nowhere", "c"))
    assert response == {"Results": [], "Errors": None}


def test_deleting_a_session_leaves_its_keys_locked(fsm: Driver) -> None:
    fsm.register("n")
    fsm.session(S1, "n")
    fsm.kv("lock", "k", session=S1)
    assert fsm.txn(TxnOp(session=TxnSessionOp("delete", Session(id=S1))))["Errors"] is None
    assert fsm.ask(session.all_sessions).value == []
    entry = fsm.ask(lambda snap: kv.get(snap, "k")).value
    assert entry is not None
    assert entry.session == S1


def test_reading_transactions_run_on_a_snapshot(fsm: Driver) -> None:
    fsm.register_service("n", "s")
    fsm.kv("set", "k", b"v")
    operations = [
        key("get", "k"),
        key("check-index", "k", modify_index=fsm.index),
        node("get", "n"),
        service("get", "n", "s"),
    ]
    with fsm.store.snapshot() as snap:
        response = read(snap, operations)
        assert response.errors is None
        assert response.results is not None
        assert [r.kv.value for r in response.results if r.kv is not None] == [b"v", None]
        writing = read(snap, [key("set", "k"), node("set", "n"), service("delete", "n", "s"), check("cas", "n", "c")])
        assert [error.what for error in writing.errors or ()] == [
            'unknown KV verb "set"',
            'unknown Node verb "set"',
            'unknown Service verb "delete"',
            'unknown Check verb "cas"',
        ]
        failed = read(snap, [check("get", "n", "c"), TxnOp()])
        assert [error.what for error in failed.errors or ()] == [
            'check "c" on node "n" doesn\'t exist',
            "no operation specified",
        ]


def test_a_node_set_by_transaction_may_rename(fsm: Driver) -> None:
    node_id = "aaaaaaaa-0000-0000-0000-000000000000"
    fsm.register("old", id=node_id)
    fsm.txn(node("set", "new", id=node_id, address="1.1.1.1"))
    assert [n.node for n in fsm.ask(catalog.nodes).value] == ["new"]
