"""How long a text is for a model, where nobody counted."""

import math
from collections.abc import Callable

Count = Callable[[str], int]

BYTES_PER_TOKEN = 3.0  # cautious: English has about four


def estimate(text: str) -> int:
    """Return a cautious guess of a text's tokens."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)
