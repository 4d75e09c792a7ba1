"""`kv import`: write the keys that `kv export` printed."""

from __future__ import annotations

from cli.base import gojson, source, ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet
from cli.base.http import NamespacedQueryFlags
from cli.base.usage import usage
from cli.kv.put import write
from shared.gotext import base64_text
from shared.gotext.json_numbers import JsonFloat

NAME = "kv import"
SYNOPSIS = "Set keys from JSON"
FIELD_TYPES = {"key": "string", "flags": "uint64", "value": "string", "namespace": "string"}


class Flags(FlagSet):
    def __init__(self) -> None:
        self.agent = NamespacedQueryFlags()


class Entry:
    """One key of the document. `value` is still base64."""

    def __init__(self) -> None:
        self.key = ""
        self.flags = 0
        self.value = ""
        self.namespace = ""


def HELP() -> str:
    return usage(
        """
Usage: proconsul kv import [DATA]

  Sets the keys of a JSON document that "proconsul kv export" printed. It is
  read from a file or from standard input, or given as the argument itself:

      $ proconsul kv import @filename.json
      $ cat filename.json | proconsul kv import -
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    arguments = flags.parse(argv)
    try:
        data = _document(arguments)
    except source.SourceError as error:
        ui.error(f"Error! {error}")
        return 1
    client = flags.agent.client()
    try:
        entries = parse_entries(data)
    except ValueError as error:
        ui.error(f"Cannot unmarshal data: {error}")
        return 1
    for entry in entries:
        try:
            value = base64_text.decode(ui.to_bytes(entry.value))
        except ValueError as error:
            ui.error(f"Error base 64 decoding value for key {entry.key}: {error}")
            return 1
        params = {"flags": str(entry.flags)} if entry.flags else {}
        if entry.namespace:
            params["ns"] = entry.namespace
        try:
            write(client, entry.key, value, params)
        except ApiError as error:
            ui.error(f"Error! Failed writing data for key {entry.key}: {error}")
            return 1
        ui.output(f"Imported: {entry.key}")
    return 0


def _document(arguments: list[str]) -> bytes:
    if not arguments:
        raise source.SourceError("Missing DATA argument")
    if len(arguments) > 1:
        raise source.SourceError(f"Too many arguments (expected 1, got {len(arguments)})")
    if not arguments[0]:
        raise source.SourceError("Empty DATA argument")
    return source.load(arguments[0])


def parse_entries(data: bytes) -> list[Entry]:
    """The document's entries. Names of fields are taken in any case, unknown ones are ignored.

    Raises JsonSyntaxError, and ValueError for JSON of another shape; both with encoding/json's texts."""
    document = gojson.loads(data)
    if document is None:
        return []
    if not isinstance(document, list):
        kind = gojson.type_name(document)
        raise ValueError(f"json: cannot unmarshal {kind} into Go value of type []*impexp.Entry")
    return [_entry(item) for item in document if item is not None]


def _entry(item: object) -> Entry:
    if not isinstance(item, dict):
        raise ValueError(f"json: cannot unmarshal {gojson.type_name(item)} into Go value of type impexp.Entry")
    entry = Entry()
    for name, value in item.items():
        field = name.lower()
        if field not in FIELD_TYPES or value is None:
            continue
        wanted = FIELD_TYPES[field]
        if wanted == "string":
            fits, shown = isinstance(value, str), gojson.type_name(value)
        else:
            fits = type(value) is int and 0 <= value < 2**64
            shown = gojson.type_name(value)
            if shown == "number":
                shown += f" {value.literal if isinstance(value, JsonFloat) else value}"
        if not fits:
            raise ValueError(f"json: cannot unmarshal {shown} into Go struct field Entry.{field} of type {wanted}")
        setattr(entry, field, value)
    return entry
