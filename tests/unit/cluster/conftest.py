"""The test cluster's package, which is no distribution and lies beside the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "cluster"))
