"""The Python environment with the real ragas, which shares none with ours.

By hand: `python tests/harness/judge_environment.py`.
"""

import sys
from pathlib import Path

from own_environment import needed_environment, own_environment

_NAME = "judge"
_LOCK = Path(__file__).parents[2] / "pipelines" / "requirements-judge.txt"
_COMMAND = "python tests/harness/judge_environment.py"


def needed_judge_python() -> Path:
    """Return the Python that has ragas; where there is none, the test ends: it is lacking."""
    return needed_environment(_NAME, _LOCK, command=_COMMAND) / "bin" / "python"


if __name__ == "__main__":
    sys.stdout.write(f"{own_environment(_NAME, _LOCK, command=_COMMAND, install=True)}\n")
