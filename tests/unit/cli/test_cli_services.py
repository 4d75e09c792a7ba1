"""Service definitions of configuration files as bodies for the HTTP API."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.services.definitions import DefinitionError, from_files


def test_definitions_are_spelled_as_the_api_has_them(tmp_path: Path) -> None:
    """Recorded: the bodies that the real CLI sends for the same file, without fields that are null."""
    path = tmp_path / "db.hcl"
    path.write_text(
        'services { name="db" id="db1" port=5432 checks=[{tcp="127.0.0.1:1" interval="10s" timeout="1s"}]'
        " weights { passing=3 warning=1 } }\n"
        'services { name="db" id="db2" enable_tag_override=true tagged_addresses { lan { address="1.2.3.4" port=3 } }'
        ' meta { snake_case="kept" } }\n'
    )
    assert from_files([str(path)]) == [
        {
            "ID": "db1",
            "Name": "db",
            "Port": 5432,
            "Weights": {"Passing": 3, "Warning": 1},
            "Checks": [{"Interval": "10s", "Timeout": "1s", "TCP": "127.0.0.1:1"}],
        },
        {
            "ID": "db2",
            "Name": "db",
            "TaggedAddresses": {"lan": {"Address": "1.2.3.4", "Port": 3}},
            "EnableTagOverride": True,
            "Meta": {"snake_case": "kept"},
            "Weights": {"Passing": 1, "Warning": 1},
        },
    ]


def test_what_the_agent_would_refuse_is_refused_here(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('{"service": {"name": "a", "colour": "red"}}')
    with pytest.raises(DefinitionError, match=r"invalid config key service\.colour"):
        from_files([str(path)])
