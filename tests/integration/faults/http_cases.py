"""Requests no well-meaning client sends, and what is to be answered: as the real Consul does, or stricter.

Stricter where a proxy in front and the agent behind it could read the same bytes differently (request smuggling)."""

from __future__ import annotations

HOST = b"Host: a\r\n"
GET = b"GET /v1/catalog/datacenters HTTP/1.1\r\n"
PUT = b"PUT /v1/kv/odd HTTP/1.1\r\n" + HOST
CHUNKED = PUT + b"Transfer-Encoding: chunked\r\n\r\n"


def get(target: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + HOST + b"\r\n"


def register(body: bytes) -> bytes:
    return b"PUT /v1/catalog/register HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body


REFUSED_AS_BY_CONSUL = {
    "garbage": b"\x00\x01\x02\xff\xfe\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "bad method": b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET /v1/catalog/datacenters\r\n\r\n",
    "HTTP/2.0": get(b"/", b"HTTP/2.0"),
    "HTTP/0.9": get(b"/", b"HTTP/0.9"),
    "HTTP/1": get(b"/", b"HTTP/1"),
    "HTTP/1.1.1": get(b"/", b"HTTP/1.1.1"),
    "HTTX": get(b"/", b"HTTX/1.1"),
    "tabs in the request line": b"GET\t/\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "space after the version": get(b"/", b"HTTP/1.1 "),
    "asterisk form": get(b"*"),
    "relative target": get(b"v1/catalog/datacenters"),
    "query only": get(b"?"),
    "port that is none": get(b"http://x:abc/v1/catalog/datacenters"),
    "broken IPv6 host": get(b"http://[::1/v1/catalog/datacenters"),
    "bad escape": get(b"/v1/kv/%zz"),
    "cut escape": get(b"/v1/kv/%a"),
    "lone percent": get(b"/v1/kv/%"),
    "control character in the target": get(b"/\x01"),
    "DEL in the target": get(b"/\x7f"),
    "NUL in the target": get(b"/v1/\x00"),
    "no Host": GET + b"\r\n",
    "two Hosts": GET + HOST + HOST + b"\r\n",
    "space in Host": GET + b"Host: a b\r\n\r\n",
    "slash in Host": GET + b"Host: a/b\r\n\r\n",
    "bare CR": GET + HOST + b"X: a\rb\r\n\r\n",
    "NUL in a value": GET + HOST + b"X: a\0b\r\n\r\n",
    "control character in a value": GET + HOST + b"X: a\x01b\r\n\r\n",
    "DEL in a value": GET + HOST + b"X: a\x7fb\r\n\r\n",
    "first line folded": GET + b" X: a\r\n" + HOST + b"\r\n",
    "space before the colon": GET + HOST + b"X : a\r\n\r\n",
    "no colon": GET + HOST + b"X\r\n\r\n",
    "control character in a name": GET + HOST + b"X\x01: a\r\n\r\n",
    "UTF-8 in a name": GET + HOST + b"X\xc3\xa9: a\r\n\r\n",
    "parenthesis in a name": GET + HOST + b"X(a): a\r\n\r\n",
    "two lengths that differ": PUT + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "list of lengths": PUT + b"Content-Length: 3, 3\r\n\r\nabc",
    "signed length": PUT + b"Content-Length: +3\r\n\r\nabc",
    "negative length": PUT + b"Content-Length: -3\r\n\r\nabc",
    "hexadecimal length": PUT + b"Content-Length: 0x3\r\n\r\nabc",
    "length with underscore": PUT + b"Content-Length: 1_0\r\n\r\nabc",
    "length in Arabic digits": PUT + b"Content-Length: \xd9\xa3\r\n\r\nabc",
    "length above 63 bits": PUT + b"Content-Length: 9223372036854775808\r\n\r\n",
    "xchunked": PUT + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": PUT + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two Transfer-Encodings": PUT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and identity": PUT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "gzip, chunked": PUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "empty Transfer-Encoding": PUT + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding before a space": PUT + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "quoted chunked": PUT + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked with parameter": PUT + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "other expectation": PUT + b"Content-Length: 3\r\nExpect: magic\r\n\r\nabc",
    "value over the limit": PUT + b"Content-Length: 614400\r\n\r\n",
    "value over the limit, asked before": PUT + b"Content-Length: 614400\r\nExpect: 100-continue\r\n\r\n",
    "header of more than 1 MiB": GET + HOST + b"X: " + b"a" * 1_100_000 + b"\r\n\r\n",
    "target of more than 1 MiB": get(b"/v1/kv/" + b"a" * 1_100_000),
    "mistake in a pipeline": GET + HOST + b"\r\n" + b"junk\r\n\r\n",
    "HTTP/1.0": b"GET /v1/catalog/datacenters HTTP/1.0\r\n\r\n",
    "expectation of HTTP/1.0": b"PUT /v1/kv/odd HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    "request behind a close": GET + HOST + b"Connection: close\r\n\r\n" + GET + HOST + b"\r\n",
}
"""Answered as the real Consul does, byte for byte but for what varies; the connection ends."""

SERVED_AS_BY_CONSUL = {
    "empty line first": b"\r\n" + GET + HOST + b"\r\n",
    "lower-case method": b"get /v1/catalog/datacenters HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown method": b"FOO /v1/catalog/datacenters HTTP/1.1\r\n" + HOST + b"\r\n",
    "TRACE": b"TRACE /v1/catalog/datacenters HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute form": get(b"http://x/v1/catalog/datacenters"),
    "absolute form with another scheme": get(b"ftp://u:p@x/v1/catalog/datacenters"),
    "asterisk form of OPTIONS": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "two slashes": get(b"//v1/catalog/datacenters"),
    "dots": get(b"/v1/../v1/catalog/datacenters"),
    "dots below kv": get(b"/v1/kv/../x"),
    "escaped dots": get(b"/v1/kv/%2e%2e/x"),
    "bad escape in the query": get(b"/v1/catalog/datacenters?dc=%zz"),
    "escaped NUL": get(b"/v1/kv/a%00b"),
    "bytes that are no UTF-8": get(b"/v1/kv/%ff\xfe"),
    "fragment": get(b"/v1/catalog/datacenters#%23"),
    "empty Host": GET + b"Host:\r\n\r\n",
    "bytes beyond ASCII in a value": GET + HOST + b"X: \xff\xfe\r\n\r\n",
    "HTTP/1.2": get(b"/v1/catalog/datacenters", b"HTTP/1.2"),
    "length with spaces": PUT + b"Content-Length:  3 \r\n\r\nabc",
    "length with zeros": PUT + b"Content-Length: 003\r\n\r\nabc",
    "CHUNKED": PUT + b"Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunks with extension and trailer": CHUNKED + b"3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n",
    "100-Continue": PUT + b"Content-Length: 3\r\nExpect: 100-Continue\r\n\r\nabc",
    "100-continue without a body": GET + HOST + b"Expect: 100-continue\r\n\r\n",
    "GET with a body": GET + HOST + b"Content-Length: 3\r\n\r\nabc",
    "upgrade nobody offers": GET + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "header of 900 kB": GET + HOST + b"X: " + b"a" * 900_000 + b"\r\n\r\n",
    "target of 900 kB": get(b"/v1/kv/" + b"a" * 900_000),
    "20,000 headers": GET + HOST + b"".join(b"X-%d: a\r\n" % number for number in range(20_000)) + b"\r\n",
    "bad wait": get(b"/v1/kv/a?index=1&wait=zzz"),
    "endless wait": get(b"/v1/kv/a?index=1&wait=" + b"9" * 5000 + b"s"),
    "negative index": get(b"/v1/kv/a?index=-1"),
    "index above 64 bits": get(b"/v1/kv/a?index=99999999999999999999"),
    "JSON cut off": register(b'{"Node":'),
    "JSON nested for ever": register(b"[" * 100_000),
    "objects nested for ever": register(b'{"Node":' * 20_000),
    "JSON with NUL": register(b"\x00"),
    "JSON with byte order mark": register(b"\xef\xbb\xbf{}"),
    "JSON of no bytes": register(b""),
    "JSON of another kind": register(b'"x"'),
    "number beyond float64": register(b'{"Service":{"Proxy":{"Config":{"x":1e999}}}}'),
    "half a surrogate pair": register(b'{"Node":"\\ud800","Address":"\\udfffx"}'),
}
"""Answered as the real Consul does; the connection stays."""

STRICTER = {
    "bare LF": b"GET /v1/catalog/datacenters HTTP/1.1\nHost: a\n\n",
    "one bare LF": GET + b"Host: a\nX: b\r\n\r\n",
    "folded line": GET + HOST + b"X: a\r\n b\r\n\r\n",
    "empty name": GET + HOST + b": a\r\n\r\n",
    "length and chunked": PUT + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": PUT + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "identity and length": PUT + b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
    "two equal lengths": PUT + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "empty length": PUT + b"Content-Length:\r\n\r\n",
    "folded Transfer-Encoding": PUT + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "vertical tab": PUT + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"PUT /v1/kv/odd HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size that is none": CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "0x in a chunk size": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size above 64 bits": CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "chunk lines with bare LF": CHUNKED + b"3\nabc\n0\n\n",
    "chunk longer than announced": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "chunk line without end": CHUNKED + b"3;" + b"a" * 5000,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n",
}
"""Refused with 400, whatever the real Consul makes of it, and the connection ends: nothing behind it is a request."""

CUT_OFF = {
    "one byte": b"G",
    "half a head": GET + b"Host: a\r\n",
}
"""Refused with 400 when the client then ends its side, as by the real Consul."""
