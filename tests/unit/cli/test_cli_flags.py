"""Flag parsing by Go's rules, and the way flags are listed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.base.flags import (
    BoolFlag,
    FlagError,
    FlagGroup,
    FlagSet,
    HelpWanted,
    IntFlag,
    ListFlag,
    MapFlag,
    OptionalDurationFlag,
    OptionalStringFlag,
    StringFlag,
    UintFlag,
)


class Shared(FlagGroup):
    def __init__(self) -> None:
        self.address = OptionalStringFlag("address", "The `host` to ask.")


class Example(FlagSet):
    def __init__(self) -> None:
        self.verbose = BoolFlag("verbose", "Say more.")
        self.name = StringFlag("name", "A name.", "anon")
        self.count = UintFlag("count", "How many.")
        self.offset = IntFlag("offset", "From where.")
        self.meta = MapFlag("meta", "Pairs of `key=value`.")
        self.tag = ListFlag("tag", "Tags.")
        self.wait = OptionalDurationFlag("wait", "How long.")
        self.x = BoolFlag("x", "One letter.", True)
        self.shared = Shared()


def test_values_come_with_or_without_equals_sign_and_one_or_two_dashes() -> None:
    flags = Example()
    rest = flags.parse(["-name", "a", "--count=3", "-verbose", "-offset=-2", "-address=", "arg", "-name=b"])
    assert rest == ["arg", "-name=b"]  # flags behind the first argument are arguments
    assert (flags.name.value, flags.count.value, flags.verbose.value, flags.offset.value) == ("a", 3, True, -2)
    assert flags.shared.address.value == ""


def test_double_dash_ends_the_flags_and_a_single_dash_is_an_argument() -> None:
    assert Example().parse(["-verbose", "--", "-name", "x"]) == ["-name", "x"]
    assert Example().parse(["-", "-verbose"]) == ["-", "-verbose"]


def test_repeated_flags_collect_or_replace() -> None:
    flags = Example()
    flags.parse(["-tag=a", "-tag", "b", "-meta=k=v=w", "-meta", "k=z", "-meta=j=", "-name=1", "-name=2", "-wait=1m30s"])
    assert flags.tag.value == ["a", "b"]
    assert flags.meta.value == {"k": "z", "j": ""}
    assert flags.name.value == "2"
    assert flags.wait.value == 90 * 10**9


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("-nope", "flag provided but not defined: -nope"),
        ("---name", "bad flag syntax: ---name"),
        ("-=x", "bad flag syntax: -=x"),
        ("-name", "flag needs an argument: -name"),
        ("-verbose=maybe", 'invalid boolean value "maybe" for -verbose: parse error'),
        ("-count=-1", 'invalid value "-1" for flag -count: parse error'),
        ("-count=18446744073709551616", 'invalid value "18446744073709551616" for flag -count: value out of range'),
        ("-offset=9223372036854775808", 'invalid value "9223372036854775808" for flag -offset: value out of range'),
        ("-meta=novalue", 'invalid value "novalue" for flag -meta: Missing "=" value in argument: novalue'),
        ("-wait=5", 'invalid value "5" for flag -wait: time: missing unit in duration "5"'),
    ],
)
def test_what_cannot_be_parsed_is_refused_in_gos_words(argument: str, message: str) -> None:
    with pytest.raises(FlagError) as caught:
        Example().parse([argument])
    assert str(caught.value) == message


def test_help_is_a_flag_of_its_own_unless_declared() -> None:
    with pytest.raises(HelpWanted):
        Example().parse(["--help=1"])


def test_the_list_of_flags_has_gos_layout() -> None:
    assert Example().defaults() == (
        "Usage:\n"
        "  -address host\n    \tThe host to ask.\n"
        "  -count uint\n    \tHow many.\n"
        "  -meta key=value\n    \tPairs of key=value.\n"
        '  -name string\n    \tA name. (default "anon")\n'
        "  -offset int\n    \tFrom where.\n"
        "  -tag value\n    \tTags.\n"
        "  -verbose\n    \tSay more.\n"
        "  -wait value\n    \tHow long.\n"
        "  -x\tOne letter. (default true)"
    )


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_arguments_parse_or_are_refused(arguments: list[str]) -> None:
    try:
        rest = Example().parse(arguments)
    except FlagError:
        return
    assert rest == arguments[len(arguments) - len(rest) :]
