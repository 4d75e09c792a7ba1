"""Reads that rpc_core answers, because this process has no state of its own: the same answers as from the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from services.http_gateway.call import LATER, Call
from services.http_gateway.errors import HttpError
from services.http_gateway.gateway import Gateway
from services.http_gateway.message import Request, Response
from services.http_gateway.routes import all_routes
from shared.config.runtime import RuntimeConfig
from shared.ipc import RemoteError
from shared.structs.config_entry import ServiceDefaults, ServiceSplit, ServiceSplitter
from shared.structs.config_entry_wire import pack_answer, pack_list
from shared.structs.prepared_query import PreparedQuery
from shared.structs.query import QueryMeta

QUERY_ID = "abcdabcd-0000-0000-0000-000000000001"
META = QueryMeta(index=7, known_leader=True)


class FakeGateway:
    """A gateway without a store. `reply` answers the one call that comes; what the client gets is in `answer`."""

    def __init__(self, reply: Any) -> None:
        self.config = RuntimeConfig(node_name="n", node_id="i", server=False)
        self.rpc, self.rpc_timeout_s = self, 7.0
        self.reply, self.called = reply, ("", cast(Any, None))
        self.asking = None
        self.answer: Response | None = None

    def post(self, method: str, payload: Any, on_done: Callable[[Any, Any], None], **_options: Any) -> int:
        self.called = (method, payload)
        if isinstance(self.reply, Exception):
            on_done(None, self.reply)
        else:
            on_done(self.reply, None)
        return 1

    def finish(self, _request: Request, response: Response, _metric: str | None) -> None:
        self.answer = response

    def log_failure(self, *_arguments: Any) -> None:
        pass

    def failed_badly(self, _call: Call, error: Exception) -> None:
        raise error


def ask(path: str, reply: Any) -> FakeGateway:
    gateway = FakeGateway(reply)
    route = all_routes().find(path)
    assert route is not None
    assert route.handler is not None
    request = Request(cast(Any, None), "GET", path, {}, remote="127.0.0.1:1", gzip=False)
    call = Call(cast(Gateway, gateway), request, route, {})
    try:
        assert route.handler(call) is LATER
    except HttpError as error:
        call.failed(error)
    return gateway


def body(gateway: FakeGateway) -> bytes:
    assert gateway.answer is not None
    return gateway.answer.body


@pytest.mark.parametrize(
    ("path", "reply", "method", "wanted"),
    [
        (
            "/v1/config/service-defaults/web",
            pack_answer(ServiceDefaults(kind="service-defaults", name="web", protocol="http"), META),
            "ConfigEntry.Get",
            b'{"Kind":"service-defaults","Name":"web","Protocol":"http","MeshGateway":{},"Expose":{},'
            b'"CreateIndex":0,"ModifyIndex":0}',
        ),
        (
            "/v1/config/service-splitter",
            pack_list("service-splitter", [ServiceSplitter(name="web", splits=[ServiceSplit(33.33)])], META),
            "ConfigEntry.List",
            b'[{"Kind":"","Name":"web","Splits":[{"Weight":33.33}],"CreateIndex":0,"ModifyIndex":0}]',
        ),
        ("/v1/query", {**META.to_wire(), "Queries": None}, "PreparedQuery.List", b"[]"),
    ],
)
def test_what_rpc_core_answers_is_shown(path: str, reply: Any, method: str, wanted: bytes) -> None:
    gateway = ask(path, reply)
    assert gateway.called[0] == method
    assert body(gateway) == wanted
    assert gateway.answer is not None
    assert gateway.answer.headers["X-Consul-Index"] == "7"


def test_one_query_is_a_list_of_one() -> None:
    reply = {**META.to_wire(), "Queries": [PreparedQuery(id=QUERY_ID, name="q").to_wire()]}
    gateway = ask(f"/v1/query/{QUERY_ID}", reply)
    assert gateway.called[1]["QueryID"] == QUERY_ID
    assert body(gateway).startswith(b'[{"ID":"' + QUERY_ID.encode() + b'","Name":"q",')


@pytest.mark.parametrize(
    ("path", "reply", "status", "text"),
    [
        (
            "/v1/config/service-defaults/web",
            pack_answer(None, META),
            404,
            b'Config entry not found for "service-defaults" / "web"',
        ),
        ("/v1/config/nope", RemoteError("rpc", "invalid config entry kind"), 500, b"invalid config entry kind"),
        (f"/v1/query/{QUERY_ID}", RemoteError("rpc", "Query not found"), 404, b"Query not found"),
        ("/v1/query/q/execute", RemoteError("rpc", "Query not found"), 404, b"Query not found"),
        (f"/v1/query/{QUERY_ID}", RemoteError("no_leader", "x"), 500, b"No cluster leader"),
    ],
)
def test_what_rpc_core_refuses_looks_like_a_local_answer(path: str, reply: Any, status: int, text: bytes) -> None:
    gateway = ask(path, reply)
    assert gateway.answer is not None
    assert (gateway.answer.status, gateway.answer.body) == (status, text)
