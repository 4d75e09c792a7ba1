"""Merging of sources: a later scalar wins, lists are appended, maps and structs are merged key by key."""

from __future__ import annotations

from typing import Any

from shared.config.schema import ListOf, MapOf, Struct


def merge(first: dict[str, Any], second: dict[str, Any], schema: Struct) -> dict[str, Any]:
    """A new tree; neither argument is changed."""
    merged = dict(first)
    for key, value in second.items():
        kind = schema.fields[key]
        if key not in merged:
            merged[key] = value
        elif isinstance(kind, ListOf):
            merged[key] = [*merged[key], *value]
        elif isinstance(kind, MapOf):
            merged[key] = {**merged[key], **value}
        elif isinstance(kind, Struct) and not kind.whole:
            merged[key] = merge(merged[key], value, kind)
        else:
            merged[key] = value
    return merged


def split_lists(tree: dict[str, Any], schema: Struct) -> tuple[dict[str, Any], dict[str, Any]]:
    """The top-level lists, and everything else. Lists of flags come before those of files: see sources."""
    lists = {key: value for key, value in tree.items() if isinstance(schema.fields[key], ListOf)}
    return lists, {key: value for key, value in tree.items() if key not in lists}
