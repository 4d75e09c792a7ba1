"""split_host_port: "host:port" taken apart as Go does it, with its words for what is wrong. Sans-IO."""

from __future__ import annotations


class AddressError(ValueError):
    """The text is no address; the message is the one Go gives."""


def split_host_port(address: str) -> tuple[str, str]:
    """Host (without brackets) and port, both as written. Raises AddressError."""
    colon = address.rfind(":")
    if colon < 0:
        raise AddressError(f"address {address}: missing port in address")
    brackets_from = 0
    if address.startswith("["):
        end = address.find("]")
        if end < 0:
            raise AddressError(f"address {address}: missing ']' in address")
        if end + 1 == len(address):
            raise AddressError(f"address {address}: missing port in address")
        if end + 1 != colon:
            wrong = "too many colons" if address[end + 1] == ":" else "missing port"
            raise AddressError(f"address {address}: {wrong} in address")
        host, opening_from, brackets_from = address[1:end], 1, end + 1
    else:
        host, opening_from = address[:colon], 0
        if ":" in host:
            raise AddressError(f"address {address}: too many colons in address")
    if "[" in address[opening_from:]:
        raise AddressError(f"address {address}: unexpected '[' in address")
    if "]" in address[brackets_from:]:
        raise AddressError(f"address {address}: unexpected ']' in address")
    return host, address[colon + 1 :]
