"""The table of endpoints: one row gives the handler, the methods of OPTIONS and the name of the metric."""

from __future__ import annotations

import pytest

from services.http_gateway.routes import all_routes


@pytest.mark.parametrize(
    ("path", "pattern", "allow", "metric"),
    [
        ("/v1/kv/web/motd", "/v1/kv/", "OPTIONS,GET,PUT,DELETE", "v1.kv._"),
        ("/v1/catalog/nodes", "/v1/catalog/nodes", "OPTIONS,GET", "v1.catalog.nodes"),
        ("/v1/catalog/service/web", "/v1/catalog/service/", "OPTIONS,GET", "v1.catalog.service._"),
        ("/v1/agent/leave", "/v1/agent/leave", "OPTIONS,PUT", "v1.agent.leave"),
    ],
)
def test_a_path_has_its_row(path: str, pattern: str, allow: str, metric: str) -> None:
    route = all_routes().find(path)
    assert route is not None
    assert (route.pattern, route.allow, route.metric) == (pattern, allow, metric)


@pytest.mark.parametrize("path", ["/v1/nope", "/debug/", "/debug/pprofs", "/v1/kvs"])
def test_what_is_not_in_the_table_is_nowhere(path: str) -> None:
    assert all_routes().find(path) is None
