"""routes: the endpoints, one module per family. `all_routes()` is the whole table."""

from __future__ import annotations

from services.http_gateway.routes import (
    agent,
    agent_checks,
    agent_services,
    catalog,
    config,
    coordinate,
    debug,
    event,
    health,
    keyring,
    kv,
    kv_fast,
    operator,
    page,
    query,
    session,
    snapshot,
    status,
    txn,
)
from services.http_gateway.routes.table import Routes


def all_routes() -> Routes:
    families = (
        status,
        kv,
        catalog,
        health,
        agent,
        agent_services,
        agent_checks,
        operator,
        keyring,
        session,
        txn,
        coordinate,
        event,
        snapshot,
        debug,
        config,
        query,
    )
    return Routes([route for family in families for route in family.ROUTES], kv_fast.get, kv_fast.put, page.serve)
