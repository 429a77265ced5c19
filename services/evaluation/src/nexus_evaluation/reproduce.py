"""Make a stored decision anew: `python -m nexus_evaluation.reproduce FILES`.

The files are those of a run in the work store: `gate/decision.json`, `select/golden.jsonl`,
`evaluate/candidate.jsonl` and, where there was a production, `evaluate/production.jsonl`.  They
lie beside each other, without the folders, in the folder of a version and with the run in MLflow.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from nexus_evaluation import golden, results
from nexus_evaluation.decision import Decision
from nexus_evaluation.errors import EvaluationError
from nexus_evaluation.gate import GoldenKey, reproduce


def main(arguments: Sequence[str] | None = None) -> int:
    """Say whether a decision follows from the stored results; 0 if it does, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m nexus_evaluation.reproduce", description=main.__doc__
    )
    parser.add_argument("decision", type=Path)
    parser.add_argument("golden", type=Path)
    parser.add_argument("candidate", type=Path)
    parser.add_argument("production", type=Path, nargs="?")
    args = parser.parse_args(arguments)
    try:
        decision = Decision.model_validate_json(args.decision.read_bytes())
        reproduce(
            decision,
            GoldenKey.of(golden.read(args.golden.read_bytes(), str(args.golden))),
            results.read(args.candidate.read_bytes(), str(args.candidate)),
            args.production and results.read(args.production.read_bytes(), str(args.production)),
        )
    except (EvaluationError, ValidationError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"reproduced: {decision.verdict} ({decision.reason})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
