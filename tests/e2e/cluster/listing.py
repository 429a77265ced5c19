"""What `kubectl get` prints, as a table."""

import re

from .site import Site

NARROW = {
    "ragindexes": "NAME READY REASON DOCUMENTS INDEXED FAILED CHUNKS SYNCED AGE",
    "servingmodels": "NAME READY REASON REPLICAS AVAILABLE INDEX AGE",
    "finetunejobs": "NAME READY REASON RUN STEP DONE% LOSS DECISION AGE",
}
WIDE = {
    "ragindexes": "NAME READY REASON DOCUMENTS INDEXED FAILED CHUNKS SYNCED"
    " MODE EMBEDDING COLLECTION AGE",
    "servingmodels": "NAME READY REASON REPLICAS AVAILABLE INDEX MODEL REVISION URL AGE",
    "finetunejobs": "NAME READY REASON RUN STEP DONE% LOSS DECISION VERSION CHAMPION ENDS BASE AGE",
}
Cells = dict[str, str]


def listed(site: Site, *words: str) -> tuple[str, dict[str, Cells]]:
    """Return the header of `kubectl get`, and each row's cells by column, by name."""
    header, *lines = site.kubectl("get", *words).splitlines()
    columns = [(one[0], one.start()) for one in re.finditer(r"\S+", header)]
    ends = [*(begin for _, begin in columns[1:]), None]
    rows = (
        {name: line[begin:end].strip() for (name, begin), end in zip(columns, ends, strict=True)}
        for line in lines
    )
    return " ".join(name for name, _ in columns), {row["NAME"]: row for row in rows}
