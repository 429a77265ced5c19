"""The commands that a chart's notes print, typed as they stand there."""

import re
from pathlib import Path

from how_to import SHELL

from .site import PLATFORM, Site

ROOT = Path(__file__).parents[3]
_COMMAND = re.compile(r"^ {2,}((?:kubectl|helm|curl|[A-Z]+=).*)$", re.MULTILINE)
_RELEASED = re.compile(r"https://raw\.githubusercontent\.com/llmops-nexus/llmops-nexus/v[^/]+")
# A person types on when `port-forward` has said that it listens.
_LISTENS = "until (: </dev/tcp/127.0.0.1/8080) 2>/dev/null; do sleep 0.1; done"


def typed(site: Site, release: str) -> str:
    """Type what Helm prints of a release, in one shell, and return what that says.

    Files of the release are taken from this checkout: the cluster has no way out.
    """
    printed = _COMMAND.findall(site.helm("get", "notes", release, "-n", PLATFORM))
    assert printed, release
    lines = ["trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for command in printed:
        lines.append(_RELEASED.sub(str(ROOT), command))
        if command.endswith("&"):
            lines.append(_LISTENS)
    return site.cluster.run([*SHELL, "\n".join(lines)], seconds=600).stdout
