"""Answers to questions under Consul's domain, from a catalog that is handed in. No sockets, clock or cache in here.

Random order, the time (SOA serial) and what the catalog says are passed in, so that an answer can be replayed.
Source: Consul's DNS interface; the real agent decides where its documentation is silent.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from services.dns_frontend import message as dns
from services.dns_frontend import records as rr
from services.dns_frontend.question import Lookup, address_of_reverse_name, parse_name
from services.dns_frontend.truncation import fit
from shared.structs.catalog import Node

MAX_RECURSION: Final = 3
_MAX_CHASED_RECORDS: Final = 5
_INVALID_NODE_NAME: Final = re.compile(r"[^A-Za-z0-9\\-]")


class LookupFailedError(Exception):
    """The catalog could not be asked. `rcode` is what the client gets, the message is for the log."""

    def __init__(self, rcode: int, why: str) -> None:
        super().__init__(why)
        self.rcode = rcode


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a prepared query found: instances in their order, of a service in a datacenter. ttl_s: None if the query
    leaves it to the service."""

    instances: Sequence[rr.Instance]
    service: str
    datacenter: str
    ttl_s: int | None = None


class Catalog(Protocol):
    """Where answers come from. Every method may raise LookupFailedError (or what its shell understands)."""

    def service_nodes(self, lookup: Lookup) -> Sequence[rr.Instance]: ...

    def prepared_query(self, lookup: Lookup) -> QueryResult: ...

    def node(self, datacenter: str, name: str) -> Node | None: ...

    def node_with_address(self, address: str) -> Node | None: ...

    def service_with_address(self, address: str) -> str | None:
        """Name of a service that listens on exactly this address."""

    def recurse(self, name: str) -> Sequence[dns.Record]:
        """What the recursors say about a name outside the domain; empty without recursors."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The part of the configuration that shapes answers. Domains are lower case with a final dot; TTLs in seconds.

    alt_domain: "." if there is none. service_ttl: exact names and prefixes that end in "*".
    """

    datacenter: str
    domain: str = "consul."
    alt_domain: str = "."
    node_ttl: int = 0
    service_ttl: dict[str, int] = field(default_factory=dict)
    only_passing: bool = False
    a_record_limit: int = 0
    udp_answer_limit: int = 3
    enable_truncate: bool = False
    compress: bool = True
    node_meta_txt: bool = True
    translate_wan_addrs: bool = False
    recursion_available: bool = False
    soa_refresh: int = 3600
    soa_retry: int = 600
    soa_expire: int = 86400
    soa_min_ttl: int = 0

    def ttl_of(self, service: str) -> int:
        """Exact entry first, then the longest matching prefix."""
        exact = self.service_ttl.get(service)
        if exact is not None:
            return exact
        prefixes = [key for key in self.service_ttl if key.endswith("*") and service.startswith(key[:-1])]
        return self.service_ttl[max(prefixes, key=len)] if prefixes else 0

    def is_ours(self, name: str) -> bool:
        """Whether the lower-case `name` lies in one of the domains."""
        return any(
            name == domain or name.endswith("." + domain) for domain in (self.domain, self.alt_domain) if domain != "."
        )

    def without_domain(self, name: str) -> str:
        longer, shorter = sorted((self.domain, self.alt_domain), key=len, reverse=True)
        return name.removesuffix(longer) if name.endswith(longer) else name.removesuffix(shorter)


class Resolver:
    """Answers queries. `now` is Unix time in seconds (it becomes the SOA serial); `rng` orders what is equivalent."""

    def __init__(self, rules: Rules, catalog: Catalog, rng: random.Random, now: int) -> None:
        self._rules = rules
        self._catalog = catalog
        self._rng = rng
        self._now = now

    def resolve(self, query: dns.Query, *, tcp: bool) -> dns.Answer | None:
        """The answer, cut to fit; None if the question has to go to the recursors (PTR of an unknown address)."""
        name = query.name.lower()
        if name.endswith(".arpa.") or name == "arpa.":
            return self._pointer(query, name)
        answer = dns.Answer(recursion_available=self._rules.recursion_available)
        if query.qtype == dns.SOA:
            servers, glue = self._name_servers()
            answer.answers, answer.authorities, answer.additionals = [self._soa()], servers, glue
        elif query.qtype == dns.NS:
            answer.answers, answer.additionals = self._name_servers()
        elif query.qtype == dns.AXFR:
            answer.rcode = dns.NOTIMP
        else:
            answer = self._dispatch(query, answer, MAX_RECURSION, tcp)
        return answer

    # -- the domain itself ----------------------------------------------------------------------

    def _soa(self) -> dns.Record:
        rules = self._rules
        numbers = (self._now, rules.soa_refresh, rules.soa_retry, rules.soa_expire, rules.soa_min_ttl)
        data = ("ns." + rules.domain, "hostmaster." + rules.domain, *numbers)
        return dns.Record(rules.domain, dns.SOA, rules.soa_min_ttl, data)

    def _name_servers(self) -> tuple[list[dns.Record], list[dns.Record]]:
        """NS records of up to three servers whose names can be host names, with their addresses."""
        rules = self._rules
        try:
            servers = self._usable(Lookup("service", "consul", "", rules.datacenter))
        except LookupFailedError:
            return [], []
        records: list[dns.Record] = []
        glue: list[dns.Record] = []
        for server in servers:
            if _INVALID_NODE_NAME.search(server.node.node):
                continue
            name = f"{server.node.node}.node.{server.node.datacenter}.{rules.domain}".lower()
            records.append(dns.Record(rules.domain, dns.NS, rules.node_ttl, name))
            glue += self._of_node(server.node, name, dns.ANY, rules.node_ttl, MAX_RECURSION)
            if len(records) == 3:
                break
        return records, glue

    def _not_found(self, answer: dns.Answer) -> dns.Answer:
        answer.rcode = dns.NXDOMAIN
        answer.authorities = [self._soa()]
        return answer

    def _invalid(self, answer: dns.Answer) -> dns.Answer:
        answer.name_is_invalid = True
        return self._not_found(answer)

    # -- by kind of name ------------------------------------------------------------------------

    def _dispatch(self, query: dns.Query, answer: dns.Answer, depth: int, tcp: bool) -> dns.Answer:
        name = self._rules.without_domain(query.name.lower())
        lookup = parse_name(name, query.qtype, self._rules.datacenter)
        if lookup is None:
            return self._invalid(answer)
        if lookup.kind == "addr":
            return self._address(query, name, lookup, answer)
        if lookup.kind == "node":
            return self._node(query, lookup, answer, depth)
        return self._service(query, lookup, answer, depth, tcp)

    def _address(self, query: dns.Query, name: str, lookup: Lookup, answer: dns.Answer) -> dns.Answer:
        size = len(lookup.name) // 2
        if size not in (4, 16):
            return answer
        try:
            ip = bytes.fromhex(lookup.name)
        except ValueError:
            return self._invalid(answer)
        if len(ip) != size or " " in lookup.name:
            return self._invalid(answer)
        rtype = dns.A if size == 4 else dns.AAAA
        answer.answers = [dns.Record(name + self._rules.domain, rtype, self._rules.node_ttl, ip)]
        return answer

    def _node(self, query: dns.Query, lookup: Lookup, answer: dns.Answer, depth: int) -> dns.Answer:
        if query.qtype not in (dns.ANY, dns.A, dns.AAAA, dns.TXT):
            return answer
        try:
            node = self._catalog.node(lookup.datacenter, lookup.name)
        except LookupFailedError as error:
            return self._failed(answer, error)
        if node is None:
            return self._not_found(answer)
        ttl = self._rules.node_ttl
        answers: list[dns.Record] = []
        if query.qtype != dns.TXT:
            answers += self._of_node(node, query.name, query.qtype, ttl, depth)
        if query.qtype in (dns.TXT, dns.ANY):
            answers += rr.meta_records(query.name, node, ttl)
        elif self._rules.node_meta_txt:
            answer.additionals = list(rr.meta_records(query.name, node, ttl))
        answer.answers = answers
        return answer

    def _service(self, query: dns.Query, lookup: Lookup, answer: dns.Answer, depth: int, tcp: bool) -> dns.Answer:
        rules = self._rules
        datacenter = lookup.datacenter
        try:
            if lookup.kind == "query":
                answer.subnet_scope_is_global = False
                found = self._catalog.prepared_query(lookup)
                # The query has chosen and sorted already.
                instances, datacenter = list(found.instances), found.datacenter
                ttl = rules.ttl_of(found.service) if found.ttl_s is None else found.ttl_s
            else:
                instances, ttl = self._usable(lookup), rules.ttl_of(lookup.name)
        except LookupFailedError as error:
            return self._failed(answer, error)
        if not instances:
            return self._not_found(answer)
        if query.qtype == dns.SRV:
            answer.answers, answer.additionals = self._srv(instances, query, datacenter, ttl, depth)
        else:
            answer.answers = self._addresses(instances, query, datacenter, ttl, depth)
        answer = fit(
            answer,
            query,
            tcp=tcp,
            compress=rules.compress,
            udp_answer_limit=rules.udp_answer_limit,
            set_tc_bit=rules.enable_truncate,
        )
        if not answer.answers and not answer.truncated:
            answer.authorities = [self._soa()]
        return answer

    def _failed(self, answer: dns.Answer, error: LookupFailedError) -> dns.Answer:
        if error.rcode == dns.NXDOMAIN:
            return self._not_found(answer)
        answer.rcode = error.rcode
        return answer

    def _usable(self, lookup: Lookup) -> list[rr.Instance]:
        found = self._catalog.service_nodes(lookup)
        usable = [one for one in found if rr.is_usable(one, only_passing=self._rules.only_passing)]
        self._rng.shuffle(usable)
        return usable

    # -- records --------------------------------------------------------------------------------

    def _wan(self, datacenter: str) -> bool:
        return self._rules.translate_wan_addrs and datacenter != self._rules.datacenter

    def _of_node(self, node: Node, name: str, qtype: int, ttl: int, depth: int) -> list[dns.Record]:
        ip = rr.packed_ip(rr.node_address(node, qtype, wan=self._wan(node.datacenter)))
        if ip is None:
            target = _fqdn(node.address)
            return [dns.Record(name, dns.CNAME, ttl, target), *self._chase(target, depth)]
        record = rr.address_record(name, qtype, ip, ttl)
        return [] if record is None else [record]

    def _addresses(
        self, instances: list[rr.Instance], query: dns.Query, datacenter: str, ttl: int, depth: int
    ) -> list[dns.Record]:
        """Addresses without duplicates; CNAMEs only if nothing but CNAMEs was found, and then just the first."""
        seen: set[tuple[int, object]] = set()
        answers: list[dns.Record] = []
        alias: list[dns.Record] = []
        count = 0
        for instance in instances:
            records, _ = self._of_instance(instance, query, datacenter, ttl, depth)
            if not records or (records[0].rtype, records[0].data) in seen:
                continue
            seen.add((records[0].rtype, records[0].data))
            if records[0].rtype == dns.CNAME:
                alias = alias or records
                continue
            answers += records
            count += 1
            if count == self._rules.a_record_limit:
                break
        return answers or alias

    def _srv(
        self, instances: list[rr.Instance], query: dns.Query, datacenter: str, ttl: int, depth: int
    ) -> tuple[list[dns.Record], list[dns.Record]]:
        seen: set[tuple[str, str, int]] = set()
        answers: list[dns.Record] = []
        extras: list[dns.Record] = []
        wan = self._wan(datacenter)
        for instance in instances:
            service, node = instance.service, instance.node
            where = (
                node.node,
                rr.service_address(service, dns.ANY, wan=wan),
                rr.service_port(service, wan=wan),
            )
            if where in seen:
                continue
            seen.add(where)
            found, extra = self._of_instance(instance, query, datacenter, ttl, depth)
            answers += found
            extras += extra
            if self._rules.node_meta_txt:
                name = f"{node.node}.node.{datacenter}.{self._rules.domain}"
                extras += rr.meta_records(name, node, ttl)
        return answers, extras

    def _of_instance(
        self, instance: rr.Instance, query: dns.Query, datacenter: str, ttl: int, depth: int
    ) -> tuple[list[dns.Record], list[dns.Record]]:
        """Records of one instance and what belongs into the additional section with them."""
        node, service = instance.node, instance.service
        host = rr.service_address(service, query.qtype, wan=self._wan(datacenter))
        node_host = rr.node_address(node, query.qtype, wan=self._wan(node.datacenter))
        node_ip = rr.packed_ip(node_host)
        if not host:
            if not node_host:
                return [], []
            if node_ip is None:
                return self._of_name(_fqdn(node_host), instance, query, datacenter, ttl, depth)
            if node.address != node_host:
                return self._of_ip(node_ip, None, instance, query, datacenter, ttl)
            return self._of_ip(node_ip, node.node, instance, query, datacenter, ttl)
        ip = rr.packed_ip(host)
        if ip is not None:
            return self._of_ip(ip, None, instance, query, datacenter, ttl)
        if _fqdn(host) == query.name and node_ip is not None:
            # The service's address is the very name that was asked for: only its node can answer.
            return self._of_ip(node_ip, node.node, instance, query, datacenter, ttl)
        return self._of_name(_fqdn(host), instance, query, datacenter, ttl, depth)

    def _of_ip(
        self, ip: bytes, node_name: str | None, instance: rr.Instance, query: dns.Query, datacenter: str, ttl: int
    ) -> tuple[list[dns.Record], list[dns.Record]]:
        """node_name: whose address it is, None if the address needs a name of its own (<hex>.addr)."""
        domain = self._rules.domain
        record = rr.address_record(query.name, query.qtype, ip, ttl)
        if record is None:
            return [], []
        if query.qtype != dns.SRV:
            return [record], []
        if node_name is None:
            target = rr.ip_name(ip, datacenter, domain)
        else:
            target = f"{node_name}.node.{datacenter}.{domain}"
        return [self._srv_record(instance, query, datacenter, ttl, target)], [
            dns.Record(target, record.rtype, ttl, record.data)
        ]

    def _of_name(
        self, name: str, instance: rr.Instance, query: dns.Query, datacenter: str, ttl: int, depth: int
    ) -> tuple[list[dns.Record], list[dns.Record]]:
        chased = [
            dns.Record(record.name, record.rtype, ttl, record.data)
            for record in self._chase(name, depth)
            if record.rtype in (dns.CNAME, dns.A, dns.AAAA)
        ]
        if query.udp_size is None:
            chased = chased[:_MAX_CHASED_RECORDS]
        if query.qtype == dns.SRV:
            return [self._srv_record(instance, query, datacenter, ttl, name)], chased
        return [dns.Record(query.name, dns.CNAME, ttl, name), *chased], []

    def _srv_record(
        self, instance: rr.Instance, query: dns.Query, datacenter: str, ttl: int, target: str
    ) -> dns.Record:
        port = rr.service_port(instance.service, wan=self._wan(datacenter))
        return dns.Record(query.name, dns.SRV, ttl, (1, rr.weight(instance), port, target))

    def _chase(self, name: str, depth: int) -> Sequence[dns.Record]:
        """What a CNAME's target resolves to: ours from the catalog (to a bounded depth), others by the recursors."""
        if not self._rules.is_ours(name.lower()):
            return self._catalog.recurse(name)
        if depth < 1:
            return ()
        question = dns.Query(id=0, flags=0, name=name, qtype=dns.ANY, qclass=dns.IN, question=b"")
        return self._dispatch(question, dns.Answer(), depth - 1, tcp=False).answers

    # -- addresses to names ---------------------------------------------------------------------

    def _pointer(self, query: dns.Query, name: str) -> dns.Answer | None:
        rules = self._rules
        answer = dns.Answer(recursion_available=rules.recursion_available)
        if query.qtype == dns.SOA:
            answer.authorities = [self._soa()]
        address = address_of_reverse_name(name)
        if not address:
            return None
        target = ""
        try:
            node = self._catalog.node_with_address(address)
            if node is not None:
                target = f"{node.node}.node.{rules.datacenter}.{rules.domain}"
            else:
                service = self._catalog.service_with_address(address)
                if service is not None:
                    target = f"{service}.service.{rules.datacenter}.{rules.domain}"
        except LookupFailedError:
            return None
        if not target:
            return None
        answer.answers = [dns.Record(query.name, dns.PTR, 0, target)]
        return answer


def _fqdn(name: str) -> str:
    return name if name.endswith(".") else name + "."
