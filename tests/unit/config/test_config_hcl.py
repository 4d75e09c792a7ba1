"""HCL 1: shapes of values, positions of errors, and no surprise on any text."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.hcl1 import Blocks, HclError, loads


def test_blocks_become_lists_of_bodies() -> None:
    text = 'ports { http = 1 }\nports { dns = 2 }\nservice "web" { port = 80 }\nservice "db" {}\n'
    assert loads(text) == {
        "ports": [{"http": 1}, {"dns": 2}],
        "service": [{"web": [{"port": 80}]}, {"db": [{}]}],
    }
    assert isinstance(loads(text)["ports"], Blocks)


def test_objects_in_lists_stay_objects() -> None:
    assert loads('watches = [{ type = "key", args = ["a", "b"] }, {}]') == {
        "watches": [{"type": "key", "args": ["a", "b"]}, {}]
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-5", -5),
        ("0x1F", 31),
        ("010", 8),
        ("1.5", 1.5),
        ("-1e3", -1000.0),
        ("true", True),
        ('"a\\n\\"b\\" \\u00e9 \\x41 \\101"', 'a\n"b" é A A'),
        ('"${env "HOME"} x"', '${env "HOME"} x'),
        ("<<EOF\nline 1\n  line 2\nEOF\n", "line 1\n  line 2\n"),
        ("<<-EOF\n    line 1\n      line 2\n    EOF\n", "line 1\n  line 2\n"),
        ("[]", []),
        ('["a", 1, [true]]', ["a", 1, [True]]),
    ],
)
def test_values(text: str, value: object) -> None:
    assert loads(f"key = {text}") == {"key": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", ""),
        ("a", "At 1:3: key 'a' expected start of object ('{') or assignment ('=')"),
        ('a = "b', "At 1:7: literal not terminated"),
        ("a = 1\nb = c", "At 2:5: Unknown token: 2:5 IDENT c"),
        ("a { b = 1", "At 1:13: object expected closing RBRACE got: EOF"),
        ("é = 'x'", "At 1:5: illegal char"),
    ],
)
def test_errors_say_where(text: str, message: str) -> None:
    if not message:
        assert loads(text) == {}
        return
    with pytest.raises(HclError) as caught:
        loads(text)
    assert str(caught.value) == message


def test_deep_nesting_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(HclError, match="nested too deep"):
        loads("a = " + "[" * 100_000)


values = st.recursive(
    st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.text(string.printable, max_size=8).filter(lambda text: "$" not in text),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


def render(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(render, value)) + "]"
    escaped = "".join(f"\\x{ord(char):02x}" if not char.isalnum() else char for char in str(value))
    return f'"{escaped}"'


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_.-]{0,6}", fullmatch=True), values, max_size=4))
def test_what_is_written_is_read(tree: dict[str, object]) -> None:
    tree = {key: value for key, value in tree.items() if key not in ("true", "false")}
    assert loads("\n".join(f"{key} = {render(value)}" for key, value in tree.items())) == tree


@given(st.text(st.sampled_from('a1.="{}[],#/*<-\n\\$ é\0\t'), max_size=40))
def test_any_text_gives_values_or_an_error(text: str) -> None:
    with contextlib.suppress(HclError):
        assert isinstance(loads(text), dict)
