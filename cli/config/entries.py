"""Config entries as Consul's client library spells them: read from files, and shown.

Its records differ from the server's in little: a namespace is allowed everywhere, and more is left out when empty."""

from __future__ import annotations

from shared.config.error_list import error_list
from shared.config.hcl1 import HclError
from shared.config.hcl1 import loads as loads_hcl
from shared.gotext.json_syntax import JsonSyntaxError
from shared.gotext.quoting import quote
from shared.structs.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Entry = dict[str, Any]

_EMPTY_LEFT_OUT = {
    "service-defaults": ("Protocol",),
    "proxy-defaults": ("Config",),
    "service-router": ("Routes",),
    "service-splitter": ("Splits",),
    "terminating-gateway": ("Services",),
}


class EntryError(Exception):
    """The file does not hold an entry; the text is Consul's."""


def parse(text: str) -> Entry:
    """The entry in a file, ready to be sent. Raises EntryError."""
    raw = _load(text)
    try:
        return _decode(raw)
    except RefusedError as error:
        raise EntryError(str(error)) from None


def _load(text: str) -> Entry:
    try:
        if text.lstrip()[:1] != "{":
            return loads_hcl(text)
        from cli.base.gojson import loads
        from shared.structs.weak_decode import json_numbers

        loaded: Entry = json_numbers(loads(text.encode("utf-8", "surrogateescape")))
    except (HclError, JsonSyntaxError) as error:
        raise EntryError(f"Failed to decode config entry input: {error}") from None
    return loaded


def _decode(raw: Entry) -> Entry:
    """Raises RefusedError."""
    from shared.structs.config_entry import ServiceSplitter, class_of, shortest
    from shared.structs.weak_decode import WeakDecodeError, decode

    if "Kind" not in raw and "kind" not in raw:
        raise RefusedError("Payload does not contain a kind/Kind key at the top level")
    kind = raw.get("Kind", raw.get("kind"))
    if not isinstance(kind, str):
        raise RefusedError("Kind value in payload is not a string")
    try:
        fields = {key: value for key, value in raw.items() if key.lower() != "namespace"}
        entry, unused = decode(class_of(kind), fields)
    except WeakDecodeError as error:
        raise RefusedError(str(error).replace("'structs.", "'api.")) from None
    if unused:
        raise RefusedError(error_list([f"invalid config key {quote(key)}" for key in unused]))
    if isinstance(entry, ServiceSplitter):
        for split in entry.splits or ():
            split.weight = shortest(split.weight)
    namespace = next((value for key, value in raw.items() if key.lower() == "namespace"), "")
    return as_client(kind, {**entry.to_json(), "Namespace": namespace})


def as_client(kind: str, fields: Entry) -> Entry:
    """The fields of an entry as the client library has them, in its order."""
    fields = dict(fields)
    namespace = fields.pop("Namespace", "")
    for name in _EMPTY_LEFT_OUT.get(kind, ()):
        if not fields.get(name):
            fields.pop(name, None)
    if kind == "ingress-gateway":
        for listener in fields.get("Listeners") or ():
            for service in listener.get("Services") or ():
                service.pop("Meta", None)
    if not namespace:
        return fields
    if kind == "terminating-gateway":
        return {**fields, "Namespace": namespace}
    return _behind(fields, "Name", "Namespace", namespace)


def _behind(fields: Entry, before: str, name: str, value: Any) -> Entry:
    made: Entry = {}
    for key, each in fields.items():
        made[key] = each
        if key == before:
            made[name] = value
    return made


def check_kind(kind: str) -> None:
    """Raises RefusedError for a kind the client library does not know."""
    from shared.structs.config_entry import class_of

    class_of(kind)
