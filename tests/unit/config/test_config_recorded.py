"""Every configuration of the corpus gets the answer that the real Consul 1.8.7 gave: same text, same status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.config.judging import Answer, judge_here
from tests.vectors.config.cases import CASES, DEVIATIONS, Case

EXPECTED = json.loads((Path(__file__).parents[2] / "vectors" / "config" / "expected.json").read_text())


def test_the_recording_is_complete() -> None:
    assert set(EXPECTED) == {case[0] for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_the_answer_is_consuls(
    case: Case, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Answer(**EXPECTED[case[0]])
    if case[0] in DEVIATIONS:
        expected = expected._replace(errors=DEVIATIONS[case[0]])
    assert judge_here(case, tmp_path, capsysbinary, monkeypatch) == expected
