"""math: other addresses, counted from those that a host has."""

from __future__ import annotations

import ipaddress

from shared.config.sockaddr.errors import FunctionError
from shared.config.sockaddr.interfaces import InterfaceAddress
from shared.gotext.quoting import quote


def math(operation: str, value: str, addresses: list[InterfaceAddress]) -> list[InterfaceAddress]:
    """operation: "address" or "network" (value: how far from it, with sign), or "mask" (value: bits)."""
    return [_changed(operation, value, address) for address in addresses]


def _changed(operation: str, value: str, address: InterfaceAddress) -> InterfaceAddress:
    kind, interface = operation.lower(), address.interface
    network, bits = interface.network, interface.max_prefixlen
    try:
        if kind == "mask":
            return address.moved(*_masked(operation, value, address))
        if kind not in ("address", "network"):
            raise FunctionError(f"unsupported math operation: {quote(operation)}")
        if not value.lstrip().startswith(("+", "-")):
            raise FunctionError(f"sign (+/-) is required for operation {quote(operation)}")
        steps = _parsed(value, 33 if interface.version == 4 else 64, operation)
        if kind == "address":
            return address.moved(int(interface.ip) + steps & (1 << bits) - 1, network.prefixlen)
        # Both ends of a network are counted from, and what goes beyond the other one comes back.
        offset = steps if steps >= 0 else steps + network.num_addresses
        return address.moved(int(network.network_address) + offset % network.num_addresses, network.prefixlen)
    except FunctionError as error:
        raise FunctionError(f"unable to perform an IPMath operation on {address.text}: {error}") from error


def _parsed(value: str, bits: int, operation: str) -> int:
    """A decimal number of so many bits, its sign included."""
    digits = value[1:]
    reason = ""
    if not (digits.isascii() and digits.isdecimal()):
        reason = "invalid syntax"
    elif not -(1 << (bits - 1)) <= int(value) < 1 << (bits - 1):
        reason = "value out of range"
    if reason:
        raise FunctionError(
            f"unable to convert {quote(value)} to int for operation {quote(operation)}: "
            f"strconv.ParseInt: parsing {quote(value)}: {reason}"
        )
    return int(value)


def _masked(operation: str, value: str, address: InterfaceAddress) -> tuple[int, int]:
    """The address cut to so many bits, and the larger one of both networks' prefixes."""
    interface = address.interface
    if not (value.isascii() and value.isdecimal()):
        raise FunctionError(
            f"unable to convert {quote(value)} to int for operation {quote(operation)}: "
            f"strconv.ParseUint: parsing {quote(value)}: invalid syntax"
        )
    if int(value) > interface.max_prefixlen:
        limits = (
            "ipv4 addresses must be between 0 and 32"
            if interface.version == 4
            else ("ipv6 addresses must be between 0 and 64")
        )
        raise FunctionError(f"parameter for operation {quote(operation)} on {limits}")
    network = ipaddress.ip_network((interface.ip, int(value)), strict=False)
    return int(network.network_address), min(int(value), interface.network.prefixlen)
