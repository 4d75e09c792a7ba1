"""Recursion is offered exactly when there is somebody to ask."""

from __future__ import annotations

import random

import dnslib
import pytest

from services.dns_frontend import message as dns
from services.dns_frontend.answers import Resolver, Rules
from tests.unit.test_dns_answers import NOW, HandMade, instance


@pytest.mark.parametrize("recursors", [False, True])
def test_the_flag_follows_the_recursors(recursors: bool) -> None:
    query = dns.parse_query(bytes(dnslib.DNSRecord.question("n2.node.consul").pack()))
    rules = Rules(datacenter="dc1", recursion_available=recursors)
    answer = Resolver(rules, HandMade([instance()]), random.Random(7), NOW).resolve(query, tcp=False)
    assert answer is not None
    header = dnslib.DNSRecord.parse(answer.pack(query, compress=True)).header
    assert (header.rd, bool(header.ra), header.aa) == (1, recursors, 1)
