"""Records the answers of the real Consul 1.8.7: python -m tests.vectors.config.record"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.real_consul import find_real_consul
from tests.unit.config.judging import judge
from tests.vectors.config.cases import CASES

EXPECTED = Path(__file__).parent / "expected.json"


def main() -> None:
    program = find_real_consul()
    answers = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as directory:
            answers[case[0]] = judge(program, case, Path(directory))._asdict()
    assert len(answers) == len(CASES), "names of cases must differ"
    EXPECTED.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
