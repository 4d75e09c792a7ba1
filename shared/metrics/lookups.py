"""What Consul counts for each look-up of a service, whichever process answers it."""

from __future__ import annotations

from collections.abc import Sequence

from shared.metrics.registry import Labels

Counter = tuple[str, Labels]
"""Name and labels of a counter."""


def lookup_counters(
    family: str, kind: str, service: str, found: int, *, tag: str = "", tags: Sequence[str] = ()
) -> list[Counter]:
    """Counters of one look-up: `consul.<family>.<kind>.query` and its relatives.

    family: catalog or health. kind: service, connect or ingress. tag: wanted by agents before 1.3. found: instances."""
    prefix, label = f"consul.{family}.{kind}", ("service", service)
    counters: list[Counter] = [(f"{prefix}.query", (label,))]
    if tag:
        counters.append((f"{prefix}.query-tag", (label, ("tag", tag))))
    if tags:
        counters.append((f"{prefix}.query-tags", (label, *[("tag", each) for each in sorted(tags)])))
    if not found:
        counters.append((f"{prefix}.not-found", (label,)))
    return counters
