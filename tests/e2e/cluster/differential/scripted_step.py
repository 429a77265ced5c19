#!/usr/bin/env python3
"""A step that does what its case says: the same program in a container and as a child process.

It stands where `nexus-pipelines` stands.  The case is JSON in NEXUS_SCRIPT, by workflow name:
`{workflow: {key: [{"exit": 0, "write": {"--flag": "text"}}, ...]}}`, one entry for each attempt,
the last one stays.  Attempts are counted in the folder STATE, which all pods of a workflow share.
Standard library only, so that any Python can run it.
"""

import json
import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Play the next attempt of this step and return its exit code."""
    flags = dict(word.split("=", 1) for word in arguments if word.startswith("--") and "=" in word)
    workflow = flags.get("--run") or flags["--index"]  # a teardown is told no run
    key = json.loads(flags["--shard"])["key"] if "--shard" in flags else flags.get("--key")
    key = key or arguments[0]
    attempts = json.loads(os.environ["NEXUS_SCRIPT"]).get(workflow, {}).get(key, [{}])
    number = attempt(Path(os.environ["STATE"]) / workflow, key)
    play = attempts[min(number, len(attempts) - 1)]
    for flag, text in play.get("write", {}).items():
        Path(flags[flag]).write_text(text, encoding="utf-8")
    return int(play.get("exit", 0))


def attempt(folder: Path, key: str) -> int:
    """Return the number of this attempt, from 0; a file made exclusively is one attempt."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        try:
            (folder / f"{key.encode().hex()[:80]}-{number}").open("x").close()
        except FileExistsError:
            number += 1
        else:
            return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
