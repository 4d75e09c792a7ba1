"""Address templates over interfaces that do not depend on this host."""

from __future__ import annotations

import ipaddress

import pytest

from shared.config.sockaddr import TemplateError, expand, functions, interfaces
from shared.config.sockaddr.interfaces import BROADCAST, LOOPBACK, MULTICAST, UP, InterfaceAddress

ETHERNET = UP | BROADCAST | MULTICAST


def address(text: str, name: str, flags: int = ETHERNET) -> InterfaceAddress:
    return InterfaceAddress(ipaddress.ip_interface(text), name, flags)


HOST = [
    address("127.0.0.1/8", "lo", UP | LOOPBACK),
    address("::1/128", "lo", UP | LOOPBACK),
    address("198.18.0.7/30", "wan0"),
    address("8.9.10.11/28", "wan0"),
    address("10.1.2.3/16", "eth0"),
    address("10.1.9.9/24", "eth0"),
    address("fd00::5/64", "eth0"),
    address("192.168.7.1/24", "eth1", BROADCAST),
]


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "interface_addresses", lambda: list(HOST))
    monkeypatch.setattr(interfaces, "default_route_interface", lambda: "eth0")


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("10.0.0.1 [::]", "10.0.0.1 [::]"),
        ("{{ GetPrivateIP }}", "10.1.2.3"),
        ("{{GetPublicIP}}", "8.9.10.11"),
        ('{{ GetInterfaceIP "eth0" }}', "10.1.2.3"),
        ('{{ GetInterfaceIP "none" }}', ""),
        ('{{ GetInterfaceIPs "eth0" }}', "10.1.2.3 10.1.9.9 fd00::5"),
        ("{{ GetPublicIPs }}", "8.9.10.11"),
        ("{{ GetPrivateIPs }}", "10.1.2.3 192.168.7.1 10.1.9.9 198.18.0.7 fd00::5"),
        ('{{ GetDefaultInterfaces | limit 1 | attr "name" }}', "eth0"),
        ('{{ GetAllInterfaces | include "network" "10.1.9.0/24" | attr "address" }}', "10.1.9.9"),
        ('{{ GetAllInterfaces | include "name" "^eth" | exclude "type" "ipv6" | join "address" "," }}', None),
        ('{{ . | include "flags" "loopback" | include "type" "IPv4" | attr "string" }}', "127.0.0.1/8"),
        ('{{ GetAllInterfaces | include "type" "ipv4" | sort "-address" | offset 1 | attr "address" }}', "192.168.7.1"),
        ('{{ GetAllInterfaces | include "rfc" "1918" | sort "-size" | attr "mask_bits" }}', "24"),
        ('{{ GetAllInterfaces | include "name" `eth1` | attr "broadcast" }}', "192.168.7.255"),
        ('{{ GetAllInterfaces | unique "name" | join "name" "-" }}', "lo-wan0-eth0-eth1"),
        ("{{ range GetAllInterfaces }}{{ .Name }} {{ end }}", "lo lo wan0 wan0 eth0 eth0 eth0 eth1 "),
        ('{{ range $i, $a := . }}{{ if eq $a.Name "eth0" }}{{ $i }}{{ end }}{{ end }}', "456"),
        ('{{ range . | include "name" "none" }}x{{ else }}none{{ end }}', "none"),
        ('{{ with $a := . | include "name" "wan0" }}{{ $a | attr "address" }}{{ end }}', "198.18.0.7"),
        ('{{ if . | include "name" "eth7" }}7{{ else if eq 1 1 }}one{{ else }}0{{ end }}', "one"),
        ('{{ $x := "a" }}{{ range . | limit 2 }}{{ $x = printf "%s-%s" $x .Name }}{{ end }}{{ $x }}', "a-lo-lo"),
        ('{{ or (GetInterfaceIP "none") GetPrivateIP }}', "10.1.2.3"),
        ('{{ . | include "address" "^10.1.2" | math "address" "+256" | attr "address" }}', "10.1.3.3"),
        ('{{ . | include "address" "^10.1.2" | math "network" "+1" | attr "address" }}', "10.1.0.1"),
        ('{{ . | include "address" "^10.1.2" | math "network" "-1" | attr "address" }}', "10.1.255.255"),
        ('{{ . | include "name" "eth1" | math "network" "+257" | attr "address" }}', "192.168.7.1"),
        ('{{ . | include "address" "^fd00" | math "network" "-1" | attr "string" }}', "fd00::ffff:ffff:ffff:ffff/64"),
        ('{{ . | include "address" "^10.1.2" | math "mask" "8" | attr "string" }}', "10.0.0.0/8"),
        ('{{ . | include "address" "^10.1.2" | math "mask" "24" | attr "string" }}', "10.1.2.0/16"),
        ('{{ attr "address" (GetAllInterfaces | include "name" "eth1") }}', "192.168.7.1"),
        ('a {{- /* nothing */ -}} b {{ attr "address" . }}', "ab 127.0.0.1"),
    ],
)
def test_templates(template: str, value: str | None) -> None:
    assert expand(template) == ("10.1.2.3,10.1.9.9,192.168.7.1" if value is None else value)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ GetPrivateIP", "unclosed action"),
        ("{{ }}", "missing value for command"),
        ("{{ Nonsense }}", 'function "Nonsense" not defined'),
        ('{{ GetAllInterfaces | include "x" "y" }}', 'invalid include selector "x"'),
        ('{{ GetAllInterfaces | include "name" }}', "wrong number of args for include: want 3 got 2"),
        ('{{ GetAllInterfaces | include "rfc" "1" }}', "unsupported RFC 1"),
        ('{{ GetAllInterfaces | include "name" "(" }}', "Unable to compile name regexp"),
        ('{{ GetAllInterfaces | sort "x" }}', 'unknown sort type: "x"'),
        ('{{ GetAllInterfaces | attr "x" }}', 'unsupported attribute name "x"'),
        ("{{ GetAllInterfaces | offset 99 }}", "unable to seek past the end"),
        ('{{ template "x" }}', "template is not supported"),
        ("{{ range . }}", "unexpected EOF"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ " + "(" * 5000 + "GetPrivateIP", "nested too deeply"),
        ("{{ $x }}", 'undefined variable "$x"'),
        ('{{ . | math "address" "1" }}', 'sign (+/-) is required for operation "address"'),
        ('{{ . | math "address" "+9999999999" }}', "value out of range"),
        ('{{ . | math "mask" "33" }}', 'parameter for operation "mask" on ipv4 addresses must be between 0 and 32'),
        ("{{ GetPrivateIP 'x' }}", "unexpected"),
    ],
)
def test_what_is_wrong_with_a_template_is_named(template: str, reason: str) -> None:
    with pytest.raises(TemplateError) as caught:
        expand(template)
    assert reason in str(caught.value)


def test_the_kernel_tells_the_loopback_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = interfaces.interface_addresses()
    loopback = [a for a in found if str(a.interface.ip) == "127.0.0.1"]
    assert loopback
    assert loopback[0].flag_names.startswith("up|loopback")
