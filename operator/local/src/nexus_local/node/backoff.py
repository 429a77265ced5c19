"""How long a container that ended waits before it is started again; pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """At once the first time, then doubling; shorter than a kubelet's, for a person waits here.

    first, cap: seconds.  forgiven_after: seconds of running after which a container counts as
    well again.
    """

    first: float = 1.0
    cap: float = 60.0
    forgiven_after: float = 120.0

    def delay(self, ends: int) -> float:
        """Return the seconds to wait after the container ended `ends` times in a row."""
        if ends <= 1:
            return 0.0
        return min(self.cap, self.first * 2.0 ** min(ends - 2, 32))

    def ends(self, before: int, ran: float) -> int:
        """Return the ends in a row, when it has now ended after running for `ran` seconds."""
        return 1 if ran >= self.forgiven_after else before + 1
