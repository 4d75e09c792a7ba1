"""Path rules of Go's ServeMux: unclean paths are redirected, paths with unprintable characters refused."""

from __future__ import annotations

import re
from urllib.parse import quote

from services.http_gateway.message import Request, Response

_SAFE = "/$&+,:;=@~-._"
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def is_printable(path: str) -> bool:
    """Whether Go calls every rune printable; a byte that is no UTF-8 counts as U+FFFD, which is."""
    if path.isprintable():
        return True
    return all(char.isprintable() or 0xDC80 <= ord(char) <= 0xDCFF for char in path)


def clean_path(path: str) -> str:
    """Without empty, `.` and `..` elements; a slash at the end stays."""
    if "//" not in path and "/." not in path:
        return path
    kept: list[str] = []
    parts = path.split("/")
    for part in parts:
        if part == "..":
            if kept:
                kept.pop()
        elif part and part != ".":
            kept.append(part)
    cleaned = "/" + "/".join(kept)
    return cleaned + "/" if path.endswith("/") and cleaned != "/" else cleaned


def redirect(request: Request, path: str, *, absolute: bool = False) -> Response:
    """301 to `path` with the query of the request, or without it if `absolute`."""
    location = path if absolute else quote(path.encode("utf-8", "surrogateescape"), safe=_SAFE)
    if request.raw_query and not absolute:
        location += "?" + request.raw_query
    headers = {"Location": _NOT_ASCII.sub(_escaped, location)}
    if request.method not in ("GET", "HEAD"):
        return Response(301, headers)
    headers["Content-Type"] = "text/html; charset=utf-8"
    shown = location
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        shown = shown.replace(char, entity)
    body = f'<a href="{shown}">Moved Permanently</a>.\n\n'
    return Response(301, headers, body.encode("utf-8", "surrogateescape") if request.method == "GET" else b"")


def _escaped(match: re.Match[str]) -> str:
    """Go leaves a query as it came, but in a header it writes such bytes in lower-case hex."""
    return "".join(f"%{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))
