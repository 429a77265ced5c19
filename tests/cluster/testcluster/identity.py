"""Who a process is: its number alone does not tell.

A busy host gives each number away again within minutes, to threads too.
"""

from pathlib import Path


def began(pid: int) -> str:
    """Return when a process began, in ticks since the start of the host; "" when it is gone."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return told.rpartition(")")[2].split()[19]
