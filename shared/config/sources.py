"""Sources of configuration: built-in values, files, directories and flags, read and merged in order.

The order is Consul's: defaults, lists from flags, files as named, other flags, -hcl fragments, and at the
end what users cannot change. A later scalar wins, so flags win over files; lists are appended, so those
of flags come first."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from shared.config import defaults, schema
from shared.config.decode import DecodeError, decode
from shared.config.error_list import error_list
from shared.config.gojson import JsonError, loads_object
from shared.config.hcl1 import HclError
from shared.config.hcl1 import loads as loads_hcl
from shared.config.merge import merge, split_lists
from shared.config.options import ConfigError, Options
from shared.gotext.quoting import quote


class Text(NamedTuple):
    """A source that still has to be parsed. `format` is "hcl" or "json"."""

    name: str
    format: str
    data: str


def load(options: Options, warnings: list[str]) -> dict[str, Any]:
    """The merged tree of all sources. Raises ConfigError; adds to warnings what is odd but no error."""
    if options.config_format not in ("", "json", "hcl"):
        raise ConfigError("config: -config-format must be either 'hcl' or 'json'")
    flag_lists, flag_values = split_lists(options.flags, schema.CONFIG)
    texts: list[Text] = []
    for path in options.config_files:
        texts.extend(_texts_of_path(path, options.config_format, warnings))
    fragments = [Text(f"flags-{number}.hcl", "hcl", data) for number, data in enumerate(options.hcl)]

    tree = defaults.DEFAULT
    if options.dev_mode:
        tree = _over(tree, defaults.DEV)
    tree = _over(tree, flag_lists)
    for text in texts:
        tree = _over(tree, parse(text, warnings))
    tree = _over(tree, flag_values)
    for text in fragments:
        tree = _over(tree, parse(text, warnings))
    tree = _over(tree, defaults.NON_USER)
    return _over(tree, defaults.DEV_NON_USER) if options.dev_mode else tree


def _over(tree: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    return merge(tree, later, schema.CONFIG)


def parse(text: Text, warnings: list[str]) -> dict[str, Any]:
    """The tree of one source. Raises ConfigError, which names the source."""
    if not text.data:
        return {}
    try:
        raw = loads_object(text.data) if text.format == "json" else loads_hcl(text.data)
        decoded = decode(raw, schema.CONFIG)
    except (JsonError, HclError, DecodeError) as error:
        raise ConfigError(f"failed to parse {text.name}: {error}") from error
    invalid: list[str] = []
    for key in decoded.unknown:
        if key in schema.DEPRECATED_KEYS:
            warnings.append(f"config key {quote(key)} is deprecated and should be removed")
        else:
            invalid.append(f"invalid config key {key}")
    if invalid:
        raise ConfigError(f"failed to parse {text.name}: {error_list(invalid)}")
    tree = decoded.tree
    for key in decoded.used:
        if (dropped := schema.ENTERPRISE_KEYS.get(key)) is not None:
            warnings.append(f"{quote(key)} is a Consul Enterprise configuration and will have no effect")
            if dropped:
                _remove(tree, key)
    # A single definition joins the list: merged as it is, a later file would replace it.
    for single, many in (("check", "checks"), ("service", "services")):
        if single in tree:
            tree[many] = [*tree.get(many, []), tree.pop(single)]
    return tree


def _remove(tree: dict[str, Any], path: str) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        tree = tree[parent]
    del tree[last]


def _texts_of_path(path: str, config_format: str, warnings: list[str]) -> Iterator[Text]:
    """The file, or the files of the directory by name; neither subdirectories nor other extensions."""
    try:
        is_directory = stat.S_ISDIR(os.stat(path).st_mode)
        if not is_directory:
            os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        raise ConfigError(f"config: Open failed on {path}. open {path}: {_reason(error)}") from error
    if not is_directory:
        yield from _text_of_file(path, config_format, warnings)
        return
    try:
        names = sorted(os.listdir(path), key=os.fsencode)
    except OSError as error:
        raise ConfigError(f"config: Open failed on {path}. open {path}: {_reason(error)}") from error
    for name in names:
        file = os.path.join(path, name)
        if os.path.islink(file):
            target = os.path.realpath(file)
            if not os.path.exists(target):
                raise ConfigError(f"lstat {target}: no such file or directory")
            file = target
        if not os.path.isdir(file):
            yield from _text_of_file(file, config_format, warnings)


def _text_of_file(path: str, config_format: str, warnings: list[str]) -> Iterator[Text]:
    extension = next((kind for kind in ("json", "hcl") if path.endswith("." + kind)), "")
    if not (config_format or extension):
        warnings.append(f"skipping file {path}, extension must be .hcl or .json, or config format must be set")
        return
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            data = file.read()
    except OSError as error:
        raise ConfigError(f"config: failed to read {path}: open {path}: {_reason(error)}") from error
    yield Text(path, config_format or extension, data)


def _reason(error: OSError) -> str:
    """The text of the error number as Go has it: C's, uncapitalised."""
    text = os.strerror(error.errno or 0)
    return text[:1].lower() + text[1:]
