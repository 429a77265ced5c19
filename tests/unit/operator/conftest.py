"""Fixtures of the operator's tests; the fake cluster and the small worlds lie beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# The CEL library sets this limit when it is first used; hypothesis warns if that happens in a test.
sys.setrecursionlimit(2500)
