"""Url: a URL as Go's net/url takes it apart, with its error texts, which are what users of a broken check see."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote as percent_encode
from urllib.parse import unquote_to_bytes, urljoin

from shared.gotext.quoting import quote

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_PORT = re.compile(r"(:[0-9]*)?")
_HOST_CHARACTER = re.compile(r"[a-zA-Z0-9\-_.~!$&'()*+,;=:\[\]<>\"\x80-\U0010ffff%]")
_USERINFO = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PATH_KEPT = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:@\[\]/%]*")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class UrlError(ValueError):
    """The text is not a URL; the message is the one Go gives."""


@dataclass(frozen=True, slots=True)
class Url:
    """userinfo: as written, None if there is none. host: with brackets and port, as written. path: percent-encoded,
    as it goes on the wire. query: without its "?", None if there is none. opaque: what follows "scheme:" without
    slashes."""

    scheme: str
    userinfo: str | None
    host: str
    path: str
    query: str | None
    fragment: str
    opaque: str = ""

    @property
    def hostname(self) -> str:
        """The host without brackets and port."""
        if self.host.startswith("["):
            return self.host[1 : self.host.index("]")]
        return self.host.rpartition(":")[0] if ":" in self.host else self.host

    @property
    def address(self) -> str:
        """host:port to connect to."""
        tail = self.host.rpartition("]")[2]
        port = tail.rpartition(":")[2] if ":" in tail else ""
        bare = self.host[: len(self.host) - len(port) - 1] if ":" in tail else self.host
        return f"{bare}:{port or _DEFAULT_PORTS.get(self.scheme, '')}"

    @property
    def target(self) -> str:
        """What stands in a request line."""
        return (self.opaque or self.path or "/") + ("" if self.query is None else f"?{self.query}")

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password."""
        if self.userinfo is None:
            return None
        user, _, password = self.userinfo.partition(":")
        return _unescape(user), _unescape(password)

    def __str__(self) -> str:
        if self.opaque:
            text = f"{self.scheme}:{self.opaque}"
        else:
            text = f"{self.scheme}:" if self.scheme else ""
            if self.scheme or self.host or self.userinfo is not None:
                at = "" if self.userinfo is None else f"{self.userinfo}@"
                text += f"//{at}{self.host}" if self.host or self.path or at else ""
            text += self.path
        text += "" if self.query is None else f"?{self.query}"
        return text + (f"#{self.fragment}" if self.fragment else "")

    def shown(self) -> str:
        """For error texts: without the password."""
        user, colon, _ = (self.userinfo or "").partition(":")
        return str(replace(self, userinfo=f"{user}:***") if colon else self)


def parse(text: str) -> Url:
    """Raises UrlError."""
    try:
        return _parse(text)
    except UrlError as error:
        raise UrlError(f"parse {quote(text)}: {error}") from None


def _parse(text: str) -> Url:
    if _CONTROL.search(text):
        raise UrlError("net/url: invalid control character in URL")
    text, _, fragment = text.partition("#")
    scheme, rest = _split_scheme(text)
    rest, mark, query = rest.partition("?")
    found_query = query if mark else None
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, None, "", "", found_query, fragment, opaque=rest)
        if ":" in rest.partition("/")[0]:
            raise UrlError("first path segment in URL cannot contain colon")
    userinfo, host = None, ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        userinfo, host = _split_authority(authority)
    return Url(scheme, userinfo, host, _encoded_path(rest), found_query, fragment)


def _split_scheme(text: str) -> tuple[str, str]:
    if text.startswith(":"):
        raise UrlError("missing protocol scheme")
    match = _SCHEME.match(text)
    if match is not None and text[match.end() : match.end() + 1] == ":":
        return match[0].lower(), text[match.end() + 1 :]
    return "", text


def _split_authority(authority: str) -> tuple[str | None, str]:
    before, at, host = authority.rpartition("@")
    host = _check_host(host)
    if not at:
        return None, host
    if not _USERINFO.fullmatch(before):
        raise UrlError("net/url: invalid userinfo")
    _check_escapes(before)
    return before, host


def _check_host(host: str) -> str:
    if host.startswith("["):
        end = host.rfind("]")
        if end < 0:
            raise UrlError("missing ']' in host")
        port = host[end + 1 :]
    else:
        port = host[host.rfind(":") :] if ":" in host else ""
    if not _PORT.fullmatch(port):
        raise UrlError(f"invalid port {quote(port)} after host")
    _check_escapes(host)
    if (at := host.find("%")) >= 0 and not host.startswith("["):
        raise UrlError(f"invalid URL escape {quote(host[at : at + 3])}")
    for character in host:
        if not _HOST_CHARACTER.match(character):
            raise UrlError(f"invalid character {quote(character)} in host name")
    return host.removesuffix(":")


def _check_escapes(text: str) -> None:
    bad = _BAD_ESCAPE.search(text)
    if bad is not None:
        raise UrlError(f"invalid URL escape {quote(text[bad.start() : bad.start() + 3])}")


def _unescape(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _encoded_path(path: str) -> str:
    """The path as written if it may stand like that, else encoded anew."""
    _check_escapes(path)
    if _PATH_KEPT.fullmatch(path):
        return path
    return percent_encode(unquote_to_bytes(path), safe="$&+,/:;=@~")


def resolve(base: Url, reference: str) -> Url:
    """What `reference` means in a document at `base`. Raises UrlError."""
    found = parse(reference)
    if found.scheme or found.opaque:
        return found
    if found.host:
        return replace(found, scheme=base.scheme)
    joined = parse(urljoin(str(base), str(found)))
    return replace(joined, userinfo=base.userinfo)
