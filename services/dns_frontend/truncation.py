"""How many records fit: answers cut to what UDP, EDNS and TCP allow.

Source: Consul's rules. Plain UDP: at most min(8, udp_answer_limit) answers and 512 bytes counted without compression.
EDNS: the announced size. TCP: 64 KiB, at most 4096 answers (1024 SRV). Extra records follow the SRV targets that are
left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from services.dns_frontend import message as dns

MAX_UDP_ANSWERS: Final = 8
PLAIN_UDP_BYTES: Final = 512
_UDP_MARGIN_BYTES: Final = 7
_TCP_BYTES: Final = 65_523
_TCP_ANSWERS: Final = 4096
_TCP_SRV_ANSWERS: Final = 1024


def fit(
    answer: dns.Answer, query: dns.Query, *, tcp: bool, compress: bool, udp_answer_limit: int, set_tc_bit: bool
) -> dns.Answer:
    """`answer` with as many of its records as the transport takes. One record is sent even if it is too big."""
    records = list(answer.answers)
    if tcp:
        limit = _TCP_SRV_ANSWERS if query.qtype == dns.SRV else _TCP_ANSWERS
        kept, size_bytes, counted_compressed = records[:limit], _TCP_BYTES, compress
        cut = False
    else:
        size_bytes = max(PLAIN_UDP_BYTES, query.udp_size or 0)
        kept, counted_compressed = records, compress
        if size_bytes == PLAIN_UDP_BYTES and len(records) > min(MAX_UDP_ANSWERS, udp_answer_limit):
            kept, counted_compressed = records[: min(MAX_UDP_ANSWERS, udp_answer_limit)], False
        size_bytes -= _UDP_MARGIN_BYTES
        cut = len(kept) < len(records)

    def shortened(count: int) -> dns.Answer:
        if count == len(records):
            return answer
        return replace(answer, answers=kept[:count], additionals=_extras_for(kept[:count], answer.additionals))

    def size(count: int) -> int:
        # The OPT record is added after Consul has cut the answer, so it does not count.
        return len(replace(shortened(count), edns=False).pack(query, compress=counted_compressed))

    if len(kept) > 1 and size(len(kept)) > size_bytes:
        kept = kept[: max(1, _largest(len(kept), lambda count: size(count) <= size_bytes))]
        cut = True
    fitted = shortened(len(kept))
    if cut and set_tc_bit:
        fitted = replace(fitted, truncated=True)
    return fitted


def _largest(end: int, fits: Callable[[int], bool]) -> int:
    """Largest count below `end` that fits, by bisection; 0 if none does."""
    low, high = 0, end
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def _extras_for(answers: list[dns.Record], extras: Sequence[dns.Record]) -> list[dns.Record]:
    """The first extra record for each SRV target in `answers`, following CNAMEs."""
    by_name: dict[str, dns.Record] = {}
    for extra in extras:
        by_name.setdefault(extra.name.lower(), extra)
    kept: list[dns.Record] = []
    done: set[str] = set()
    for record in answers:
        if record.rtype != dns.SRV:
            continue
        assert isinstance(record.data, tuple)
        target = str(record.data[3]).lower()
        while target not in done:
            done.add(target)
            found = by_name.get(target)
            if found is None:
                break
            kept.append(found)
            if found.rtype != dns.CNAME:
                break
            target = str(found.data).lower()
    return kept
