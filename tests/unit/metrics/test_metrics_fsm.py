"""Times of commands by kind: the names are Consul's, the counts are exact, a large batch costs no more than a small."""

from __future__ import annotations

from typing import Any

import pytest

from services.raft_node import measures
from services.raft_node.core.types import COMMAND, Entry
from shared.structs.catalog import DeregisterRequest, RegisterRequest
from shared.structs.commands import encode
from shared.structs.kv import DirEntry, KVSRequest
from shared.structs.session import SessionRequest

Sampled = list[tuple[str, float, tuple[tuple[str, str], ...], int]]


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> Sampled:
    found: Sampled = []
    monkeypatch.setattr(measures.metrics, "sample", lambda *args: found.append(args))
    return found


def entry(data: bytes, extensions: bytes = b"") -> Entry:
    return Entry(1, 1, COMMAND, data, extensions)


def kvs(op: str, value: bytes = b"", **more: Any) -> Entry:
    return entry(encode(KVSRequest(datacenter="dc1", op=op, dir_ent=DirEntry(key="k", value=value), **more)))


def test_a_batch_is_told_by_kind_and_operation(sampled: Sampled) -> None:
    batch = [
        kvs("set"), kvs("set", b"\xa2Op\xa6delete"), kvs("delete-tree", token="t"),
        entry(encode(RegisterRequest(node="n"))), entry(encode(DeregisterRequest(node="n"))),
        entry(encode(SessionRequest(op="create"))), entry(b""), entry(b"\x02", b"chunk"), entry(b"\x7f"),
    ]  # fmt: skip
    measures.applied(batch, 0.009)
    assert {(name, labels, times) for name, _, labels, times in sampled} == {
        ("consul.fsm.kvs", (("op", "set"),), 2),
        ("consul.fsm.kvs", (("op", "delete-tree"),), 1),
        ("consul.fsm.register", (), 1),
        ("consul.fsm.deregister", (), 1),
        ("consul.fsm.session", (("op", "create"),), 1),
    }
    assert [value for _, value, _, _ in sampled] == [pytest.approx(1.0)] * 5


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100, 1000])
def test_all_commands_of_a_batch_are_counted(count: int, sampled: Sampled) -> None:
    measures.applied([kvs("set")] * count, 1.0)
    assert [(name, labels, times) for name, _, labels, times in sampled] == [
        ("consul.fsm.kvs", (("op", "set"),), count)
    ]


@pytest.mark.parametrize(
    "data", [b"\x02", b"\x02\xa2Op", b"\x02\xa2Op\xa3se", b"\x02\xa2Op\xd9\x03set", b"\x02\xa2Op\xa4evil"]
)
def test_what_is_no_operation_is_not_shown_as_one(data: bytes, sampled: Sampled) -> None:
    measures.applied([entry(data)], 1.0)
    assert [(name, labels) for name, _, labels, _ in sampled] == [("consul.fsm.kvs", ())]
