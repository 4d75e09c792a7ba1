"""/v1/session: create, destroy, renew, info, list."""

from __future__ import annotations

from typing import Any

from services.http_gateway.call import Call, decode_failed
from services.http_gateway.errors import HttpError, NotFoundError
from services.http_gateway.reads import ZERO_META, Read, read
from services.http_gateway.routes.table import Route
from shared.state.answer import Answer
from shared.state.errors import StateLookupError
from shared.state.queries import session
from shared.state.snapshot import Snapshot
from shared.structs.catalog import SERF_CHECK_ID
from shared.structs.errors import JsonError
from shared.structs.session import CREATE, DESTROY, RELEASE, Session

_WRITE_TIMEOUT_S = 30.0
_LOCK_DELAY_NS = 15_000_000_000


def create(call: Call) -> Any:
    call.refuse_namespace()
    made = Session(
        node=call.gateway.config.node_name,
        node_checks=[SERF_CHECK_ID],
        checks=[SERF_CHECK_ID],
        lock_delay=_LOCK_DELAY_NS,
        behavior=RELEASE,
    )
    if call.request.content_length:
        try:
            body = call.json_body()
            given = Session.from_json(body)
        except JsonError as error:
            raise decode_failed(error) from None
        _take_over(made, given, body)
    _settle_checks(made)
    return _apply(call, CREATE, made, lambda reply: {"ID": reply})


def _take_over(made: Session, given: Session, body: Any) -> None:
    """The body overwrites the defaults, but only where it says something."""
    if not isinstance(body, dict):
        return
    present = {str(key).lower() for key, value in body.items() if value is not None}
    emptied = {str(key).lower() for key, value in body.items() if value is None}
    for declared in Session.attrs:
        name = str(declared.json).lower()
        if name in present or (name in emptied and declared.kind.name == "list"):
            setattr(made, declared.name, getattr(given, declared.name))


def _settle_checks(made: Session) -> None:
    """`Checks` is the old name of `NodeChecks`: whichever the client gave counts."""
    if not made.checks:
        made.node_checks = []
    elif made.checks == [SERF_CHECK_ID] or not made.node_checks:
        made.checks = None


def destroy(call: Call) -> Any:
    call.refuse_namespace()
    return _apply(call, DESTROY, Session(id=call.require_rest("session")), lambda _reply: True)


def _apply(call: Call, operation: str, made: Session, then: Any) -> Any:
    payload = {
        "Datacenter": call.datacenter(),
        "Op": operation,
        "Session": made.to_wire(),
        "Token": call.token(),
    }
    return call.rpc("Session.Apply", payload, then, timeout_s=_WRITE_TIMEOUT_S)


def renew(call: Call) -> Any:
    options = call.options()
    call.refuse_namespace()
    session_id = call.require_rest("session")
    payload = {
        **options.to_wire(),
        "Datacenter": options.datacenter,
        "SessionID": session_id,
        "Session": session_id,
    }

    def then(reply: Any) -> Any:
        if reply.get("Sessions") is None:
            raise NotFoundError(f"Session id '{session_id}' not found")
        return [each.to_json() for each in _remote(reply)]

    return call.rpc("Session.Renew", payload, then)


def info(call: Call) -> Any:
    options = call.options()
    call.refuse_namespace()
    session_id = call.require_rest("session")
    call.on_failure = ZERO_META.headers()

    def local(snap: Snapshot) -> Answer[list[Session]]:
        try:
            answer = session.get(snap, session_id)
        except StateLookupError as error:
            raise HttpError(str(error)) from None
        return Answer(answer.index, [] if answer.value is None else [answer.value], answer.watch)

    return read(
        call,
        options,
        Read(
            method="Session.Get",
            arguments={"SessionID": session_id, "Session": session_id},
            local=local,
            remote=_remote,
            show=_show,
            level=False,
        ),
    )


def list_all(call: Call) -> Any:
    options = call.options()
    call.refuse_namespace()
    call.on_failure = ZERO_META.headers()
    return read(
        call,
        options,
        Read(
            method="Session.List",
            arguments={},
            local=session.all_sessions,
            remote=_remote,
            show=_show,
            level=False,
        ),
    )


def of_node(call: Call) -> Any:
    options = call.options()
    call.refuse_namespace()
    node = call.require_rest("node name")
    call.on_failure = ZERO_META.headers()
    return read(
        call,
        options,
        Read(
            method="Session.NodeSessions",
            arguments={"Node": node},
            local=lambda snap: session.node_sessions(snap, node),
            remote=_remote,
            show=_show,
            level=False,
        ),
    )


def _remote(reply: Any) -> list[Session]:
    return [Session.from_wire(each) for each in reply.get("Sessions") or ()]


def _show(found: list[Session]) -> Any:
    return [each.to_json() for each in found]


ROUTES = [
    Route("/v1/session/create", "PUT", create),
    Route("/v1/session/destroy/", "PUT", destroy),
    Route("/v1/session/renew/", "PUT", renew),
    Route("/v1/session/info/", "GET", info),
    Route("/v1/session/node/", "GET", of_node),
    Route("/v1/session/list", "GET", list_all),
]
