"""The commands of the pages in docs/how-to, as a person types them from there."""

import os
import re
from pathlib import Path

_PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BACKUP = "backup-and-restore.md"
SHELL = ("bash", "-eu", "-o", "pipefail", "-c")
# What one may have set up for another S3 says nothing here.
NO_AWS_FILES = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def commands(page: str, title: str) -> str:
    """Return the commands of one section of a page, the first block of them."""
    section = (_PAGES / page).read_text().partition(f"### {title}\n")[2]
    block = re.search(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert block, (page, title)
    return block[1]
