"""bexpr: the boolean filter language of `?filter=` (go-bexpr 0.1.2), with the same grammar and error texts.

create_filter(expression, fields) -> Filter | None   None for an empty expression; raises FilterError
Filter.matches(value)                                -> bool, value being the struct that `fields` describes
StructFields, struct_of, list_of, map_of             how the fields of a struct are described (fields.py)

Evaluation is plain and total: no regular expression backtracks (re2.py), and an expression is bounded in
length, so that a filter from outside cannot hold up the process that evaluates it.
"""

from shared.bexpr.errors import FilterError
from shared.bexpr.fields import (
    BOOL,
    INT,
    STRING,
    UINT,
    FieldConfig,
    StructFields,
    list_of,
    map_of,
    struct_of,
)
from shared.bexpr.filter import Filter, create_filter

__all__ = [
    "BOOL",
    "INT",
    "STRING",
    "UINT",
    "FieldConfig",
    "Filter",
    "FilterError",
    "StructFields",
    "create_filter",
    "list_of",
    "map_of",
    "struct_of",
]
