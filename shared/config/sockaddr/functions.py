"""Functions of go-sockaddr's templates: sources, filters and attributes of interface addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from shared.bexpr.re2 import PatternError, compile_pattern
from shared.config.sockaddr import interfaces
from shared.config.sockaddr.arithmetic import math
from shared.config.sockaddr.errors import FunctionError
from shared.config.sockaddr.interfaces import InterfaceAddress, interface_addresses
from shared.config.sockaddr.order import sort
from shared.config.sockaddr.rfcs import FORWARDING_BLACKLIST, in_rfc, is_known
from shared.gotext.quoting import quote

Addresses = list[InterfaceAddress]


# sources


def get_all_interfaces() -> Addresses:
    return interface_addresses()


def get_default_interfaces() -> Addresses:
    default = interfaces.default_route_interface()
    if default is None:
        raise FunctionError("No default interface found")
    return [address for address in interface_addresses() if address.name == default]


def get_private_interfaces() -> Addresses:
    return include("rfc", "6890", _usable())


def get_public_interfaces() -> Addresses:
    return exclude("rfc", "6890", _usable())


def _usable() -> Addresses:
    addresses = include("flags", "up", include("flags", "forwardable", interface_addresses()))
    return sort("default,type,size", addresses)


def get_private_ip() -> str:
    return _first(get_private_interfaces())


def get_public_ip() -> str:
    return _first(get_public_interfaces())


def get_private_ips() -> str:
    private = include("rfc", "6890", sort("type,size", interface_addresses()))
    return _all([a for a in private if not in_rfc(FORWARDING_BLACKLIST, a.interface.ip)])


def get_public_ips() -> str:
    return _all(exclude("rfc", "6890", sort("type,size", interface_addresses())))


def get_interface_ip(pattern: str) -> str:
    return _first(sort("type,size", include("flags", "forwardable", _by_name(pattern))))


def get_interface_ips(pattern: str) -> str:
    return _all(sort("type,size", _by_name(pattern)))


def _by_name(pattern: str) -> Addresses:
    return include("name", pattern, interface_addresses())


def _first(addresses: Addresses) -> str:
    return str(addresses[0].interface.ip) if addresses else ""


def _all(addresses: Addresses) -> str:
    return " ".join(str(address.interface.ip) for address in addresses)


# filters


def include(selector: str, argument: str, addresses: Addresses) -> Addresses:
    matches = _matcher(selector, argument, "include")
    return [address for address in addresses if matches(address)]


def exclude(selector: str, argument: str, addresses: Addresses) -> Addresses:
    matches = _matcher(selector, argument, "exclude")
    return [address for address in addresses if not matches(address)]


Predicate = Callable[[InterfaceAddress], bool]


def _matcher(selector: str, argument: str, verb: str) -> Predicate:
    kind = selector.lower()
    if kind == "address":
        pattern = _compile(argument, "address")
        return lambda a: pattern(a.address_text)
    if kind == "name":
        pattern = _compile(argument, "name")
        return lambda a: pattern(a.name)
    if kind == "port":
        pattern = _compile(argument, "port")
        return lambda _a: pattern("0")  # the address of an interface has no port
    if kind in ("flag", "flags"):
        return _flag_matcher(argument)
    if kind == "network":
        networks = [_network(text) for text in argument.split("|")]
        return lambda a: any(a.interface.ip in network for network in networks)
    if kind in ("rfc", "rfcs"):
        rfcs = [_rfc(text) for text in argument.split("|")]
        return lambda a: any(in_rfc(rfc, a.interface.ip) for rfc in rfcs)
    if kind == "size":
        if not argument.isdecimal():
            raise FunctionError(f"invalid exclude size argument ({quote(argument)}): {_no_number(argument)}")
        return lambda a: a.interface.network.prefixlen == int(argument)
    if kind == "type":
        return _type_matcher(argument)
    raise FunctionError(f"invalid {verb} selector {quote(selector)}")


def _compile(pattern: str, what: str) -> Callable[[str], bool]:
    try:
        return compile_pattern(pattern)
    except PatternError as error:
        raise FunctionError(f"Unable to compile {what} regexp {quote(pattern)}: {error}") from error


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        reason = f"unable to create an IP address from {quote(text)}: invalid IPAddr {text}"
        raise FunctionError(reason) from error


def _rfc(text: str) -> int:
    if not text.isdecimal():
        reason = f"unable to lookup RFC number {quote(text)}: unable to parse RFC number {quote(text)}"
        raise FunctionError(f"{reason}: {_no_number(text)}")
    if not is_known(int(text)):
        raise FunctionError(f"unable to lookup RFC number {quote(text)}: unsupported RFC {int(text)}")
    return int(text)


def _no_number(text: str) -> str:
    return f"strconv.ParseUint: parsing {quote(text)}: invalid syntax"


def _type_matcher(argument: str) -> Predicate:
    versions: set[int] = set()
    for kind in argument.lower().split("|"):
        if kind not in ("ip", "ipv4", "ipv6", "unix"):
            raise FunctionError(f"unsupported type {quote(kind)} {quote(argument)}")
        versions |= {"ip": {4, 6}, "ipv4": {4}, "ipv6": {6}}.get(kind, set())
    return lambda a: a.interface.version in versions


_INTERFACE_FLAGS = {
    "broadcast": interfaces.BROADCAST,
    "down": 0,
    "loopback": interfaces.LOOPBACK,
    "multicast": interfaces.MULTICAST,
    "point-to-point": interfaces.POINT_TO_POINT,
    "up": interfaces.UP,
}
_ADDRESS_FLAGS: dict[str, Callable[[ipaddress.IPv4Address | ipaddress.IPv6Address], bool]] = {
    "forwardable": lambda ip: not in_rfc(FORWARDING_BLACKLIST, ip),
    "global unicast": lambda ip: (
        not (ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_link_local or str(ip) == "255.255.255.255")
    ),
    "interface-local multicast": lambda ip: ip.version == 6 and ip.packed[0] == 0xFF and ip.packed[1] & 15 == 1,
    "link-local multicast": lambda ip: (
        ip.packed[:3] == b"\xe0\x00\x00" if ip.version == 4 else ip.packed[0] == 0xFF and ip.packed[1] & 15 == 2
    ),
    "link-local unicast": lambda ip: ip.is_link_local,
    "loopback": lambda ip: ip.is_loopback,
    "multicast": lambda ip: ip.is_multicast,
    "unspecified": lambda ip: ip.is_unspecified,
}


def _flag_matcher(argument: str) -> Predicate:
    """Any of the address properties, or all of the interface flags."""
    wanted, check_interface, properties = 0, False, []
    for name in argument.lower().split("|"):
        if name not in _INTERFACE_FLAGS and name not in _ADDRESS_FLAGS:
            raise FunctionError(f"Unknown interface flag: {quote(name)}")
        if name in _INTERFACE_FLAGS:
            wanted, check_interface = wanted | _INTERFACE_FLAGS[name], True
        if name in _ADDRESS_FLAGS:
            properties.append(_ADDRESS_FLAGS[name])

    def matches(address: InterfaceAddress) -> bool:
        if check_interface and address.flags & wanted == wanted:
            return True
        return any(has(address.interface.ip) for has in properties)

    return matches


# selections by place


def unique(selector: str, addresses: Addresses) -> Addresses:
    """Drops neighbours that are equal in the attribute; the input has to be sorted."""
    if selector.lower() not in ("address", "name"):
        raise FunctionError(f"unsupported unique constraint {quote(selector)}")
    name = "string" if selector.lower() == "address" else "name"
    values = [attribute(name, address) for address in addresses]
    return [a for at, a in enumerate(addresses) if at == 0 or values[at] != values[at - 1]]


def limit(count: int, addresses: Addresses) -> Addresses:
    return addresses[:count]


def offset(count: int, addresses: Addresses) -> Addresses:
    if abs(count) > len(addresses):
        raise FunctionError(
            "unable to seek past the end of the interface array: "
            f"offset ({abs(count)}) exceeds the number of interfaces ({len(addresses)})"
        )
    return addresses[count:]


# attributes


def attr(selector: str, addresses: object) -> str:
    """Of one address, or the first of several; "" if there is none."""
    if isinstance(addresses, InterfaceAddress):
        return attribute(selector, addresses)
    if not isinstance(addresses, list):
        kind, shown = ("string", addresses) if isinstance(addresses, str) else (type(addresses).__name__, addresses)
        shown = str(shown).lower() if isinstance(shown, bool) else shown
        raise FunctionError(f"unable to obtain attribute {selector} from type {kind} ({shown})")
    return attribute(selector, addresses[0]) if addresses else ""


def join(selector: str, separator: str, addresses: Addresses) -> str:
    return separator.join(attribute(selector, address) for address in addresses)


def attribute(selector: str, address: InterfaceAddress) -> str:
    ip, network = address.interface.ip, address.interface.network
    narrow = network.prefixlen >= network.max_prefixlen - 1
    attributes: dict[str, Callable[[], str]] = {
        "flags": lambda: address.flag_names,
        "name": lambda: address.name,
        "address": lambda: str(ip),
        "host": lambda: str(ip),
        "port": lambda: "0",
        "string": lambda: address.address_text,
        "type": lambda: f"IPv{ip.version}",
        "network": lambda: str(network.network_address),
        "netmask": lambda: str(network.netmask),
        "mask_bits": lambda: str(network.prefixlen),
        "size": lambda: str(network.num_addresses),
        "octets": lambda: " ".join(map(str, ip.packed)),
        "binary": lambda: f"{int(ip):0{ip.max_prefixlen}b}",
        "hex": lambda: ip.packed.hex(),
        "first_usable": lambda: str(network.network_address + (0 if narrow or ip.version == 6 else 1)),
        "last_usable": lambda: str(network.broadcast_address - (0 if narrow or ip.version == 6 else 1)),
    }
    if ip.version == 4:
        attributes["broadcast"] = lambda: str(network.broadcast_address)
        attributes["uint32"] = lambda: str(int(ip))
    else:
        attributes["uint128"] = lambda: str(int(ip))
    if (found := attributes.get(selector.lower())) is None:
        raise FunctionError(f"unsupported attribute name {quote(selector.lower())}")
    return found()


FUNCTIONS: dict[str, Callable[..., Addresses | str]] = {
    "GetAllInterfaces": get_all_interfaces,
    "GetDefaultInterfaces": get_default_interfaces,
    "GetPrivateInterfaces": get_private_interfaces,
    "GetPublicInterfaces": get_public_interfaces,
    "GetPrivateIP": get_private_ip,
    "GetPrivateIPs": get_private_ips,
    "GetPublicIP": get_public_ip,
    "GetPublicIPs": get_public_ips,
    "GetInterfaceIP": get_interface_ip,
    "GetInterfaceIPs": get_interface_ips,
    "sort": sort,
    "include": include,
    "exclude": exclude,
    "attr": attr,
    "join": join,
    "limit": limit,
    "math": math,
    "offset": offset,
    "unique": unique,
}

_ADDRESSES = "sockaddr.IfAddrs"
PARAMETERS: dict[str, tuple[str, ...]] = dict.fromkeys(FUNCTIONS, ()) | {
    "GetInterfaceIP": ("string",),
    "GetInterfaceIPs": ("string",),
    "sort": ("string", _ADDRESSES),
    "include": ("string", "string", _ADDRESSES),
    "exclude": ("string", "string", _ADDRESSES),
    "attr": ("string", "interface {}"),
    "join": ("string", "string", _ADDRESSES),
    "limit": ("uint", _ADDRESSES),
    "math": ("string", "string", _ADDRESSES),
    "offset": ("int", _ADDRESSES),
    "unique": ("string", _ADDRESSES),
}
"""Go's types of the arguments, the piped one last."""
