"""How a whole run is shared out between workers: what stays together, and what begins first.

The hook is that of pytest-xdist: https://pytest-xdist.readthedocs.io/en/stable/how-to.html
"""

from xdist.scheduler import LoadScopeScheduling

_LONGEST_FIRST = (
    "e2e/cluster",
    "e2e/laptop",
    "e2e/sync",
    "apiserver/faults",
    "e2e/images",
    "contract/engines",
    "apiserver",
    "contract",
    "charts",
    "unit",
)


def lane(nodeid: str) -> str:
    """Return what stays on one worker: a folder, whose tests share servers; below unit, a file."""
    file = nodeid.partition("::")[0]
    below = file.partition("tests/")[2]
    return below if below.startswith("unit/") else below.rpartition("/")[0]


def turn(nodeid: str) -> int:
    """Return when a test's lane begins: the longest first, so that none is left to the end."""
    place = f"{lane(nodeid)}/"
    turns = (n for n, one in enumerate(_LONGEST_FIRST) if place.startswith(f"{one}/"))
    return next(turns, len(_LONGEST_FIRST))


class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # it tells no types
    """Gives a worker one lane after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return lane(nodeid)
