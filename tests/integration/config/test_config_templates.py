"""Address templates of every kind, good and bad: what the real Consul makes of them on this host, and we."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.config.judging import Answer, judge, judge_here
from tests.vectors.config.cases import Case

TEMPLATES = (Path(__file__).parents[2] / "vectors" / "config" / "templates.txt").read_text().splitlines()
EVERY = 16
"""One of so many is asked live in the short form; all of them with --long."""


@pytest.fixture
def ours(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[[Case, Path], Answer]:
    return lambda case, directory: judge_here(case, directory, capsysbinary, monkeypatch)


def _compare(templates: list[str], consul: Path, ours: Callable[[Case, Path], Answer]) -> None:
    """The value is told by what is wrong with it: it ends in a character of no address."""
    for template in templates:
        answers = []
        for ask in (lambda case, directory: judge(consul, case, directory), ours):
            with tempfile.TemporaryDirectory() as directory:
                case: Case = (template, {"a.json": json.dumps({"client_addr": f"{template}_"})}, None)
                answers.append(ask(case, Path(directory)))
        assert answers[0].status == 1, template
        assert answers[0] == answers[1], template


@pytest.mark.real_consul
def test_a_sample_of_the_templates(real_consul: Path, ours: Callable[[Case, Path], Answer]) -> None:
    _compare(TEMPLATES[::EVERY], real_consul, ours)


@pytest.mark.slow
@pytest.mark.real_consul
def test_all_templates(real_consul: Path, ours: Callable[[Case, Path], Answer]) -> None:
    _compare(TEMPLATES, real_consul, ours)
