"""Requests that our agent answers differently, and why. They are shown as warnings, not hidden."""

from __future__ import annotations

KNOWN: dict[str, str] = {
    r"/v1/agent/self": "xDS is not announced: there is no xDS server",
    r'/v1/session/create.*Checks": \[null': "Consul keeps the check it had put there before: serfHealth",
    r'/v1/config.*"RaftIndex"': "Consul knows its own field of this name, and wants an object there",
}
"""Regular expression over method, path and body of a request -> reason."""
