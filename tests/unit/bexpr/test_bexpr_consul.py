"""What a real Consul 1.8.7 answered to 415 filters, on one node and on its one service instance."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace as Value
from typing import Any

import pytest

from shared.bexpr import BOOL, INT, STRING, FilterError, create_filter, list_of, map_of, struct_of

VECTORS = Path(__file__).parents[2] / "vectors" / "bexpr" / "consul-1.8.7.json"
CASES = json.loads(VECTORS.read_text())

NODE = {
    "ID": ("id", STRING),
    "Node": ("node", STRING),
    "Address": ("address", STRING),
    "Datacenter": ("datacenter", STRING),
    "TaggedAddresses": ("tagged_addresses", map_of(STRING)),
    "Meta": ("meta", map_of(STRING)),
}
MESH = struct_of({"Mode": ("mode", STRING)})
UPSTREAM = struct_of({"LocalBindPort": ("local_bind_port", INT), "MeshGateway": ("mesh_gateway", MESH)})
PROXY = {
    "Upstreams": ("upstreams", list_of(UPSTREAM)),
    "MeshGateway": ("mesh_gateway", MESH),
    "Expose": (
        "expose",
        struct_of({"Checks": ("checks", BOOL), "Paths": ("paths", list_of(struct_of({"Path": ("path", STRING)})))}),
    ),
}
SERVICE_ADDRESS = struct_of({"Address": ("address", STRING), "Port": ("port", INT)})
SERVICE = {
    "NodeMeta": ("node_meta", map_of(STRING)),
    "ServiceKind": ("service_kind", STRING),
    "ServiceID": ("service_id", STRING),
    "ServiceName": ("service_name", STRING),
    "ServiceTags": ("service_tags", list_of(STRING)),
    "ServiceAddress": ("service_address", STRING),
    "ServiceTaggedAddresses": ("service_tagged_addresses", map_of(SERVICE_ADDRESS)),
    "ServiceWeights": ("service_weights", struct_of({"Passing": ("passing", INT)})),
    "ServiceMeta": ("service_meta", map_of(STRING)),
    "ServicePort": ("service_port", INT),
    "ServiceEnableTagOverride": ("service_enable_tag_override", BOOL),
    "ServiceProxy": ("service_proxy", struct_of(PROXY)),
    "ServiceConnect": ("service_connect", struct_of({"Native": ("native", BOOL)})),
}
VALUES: dict[str, tuple[Any, Any]] = {
    "catalog/nodes": (
        NODE,
        Value(
            id="aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
            node="n2",
            address="127.13.0.2",
            datacenter="dc1",
            tagged_addresses={"lan": "127.13.0.2", "wan": "127.13.0.2"},
            meta={"consul-network-segment": ""},
        ),
    ),
    "catalog/service/consul": (
        SERVICE,
        Value(
            node_meta={"consul-network-segment": ""},
            service_kind="",
            service_id="consul",
            service_name="consul",
            service_tags=None,
            service_address="",
            service_tagged_addresses=None,
            service_weights=Value(passing=1),
            service_meta={"version": "1.8.7", "raft_version": "3"},
            service_port=8300,
            service_enable_tag_override=False,
            service_proxy=Value(upstreams=None, mesh_gateway=Value(mode=""), expose=Value(checks=False, paths=None)),
            service_connect=Value(native=False),
        ),
    ),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["filter"])
def test_answers_and_errors_are_those_of_consul(case: dict[str, Any]) -> None:
    fields, value = VALUES[case["on"]]
    if case["error"] is not None:
        with pytest.raises(FilterError) as caught:
            create_filter(case["filter"], fields)
        assert str(caught.value) == case["error"]
    else:
        made = create_filter(case["filter"], fields)
        assert made is not None
        assert made.matches(value) == case["matches"]
