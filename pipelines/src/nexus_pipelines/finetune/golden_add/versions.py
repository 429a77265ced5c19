"""Where the versions of a golden set lie: `<namespace>/golden/<set>-v<number>.jsonl`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nexus_knowledge.objects import ObjectStore
from nexus_pipelines.errors import UsageError

_SET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FILE = re.compile(r"(?P<set>[A-Za-z0-9][A-Za-z0-9._-]{0,99})-v(?P<number>[1-9][0-9]{0,5})\.jsonl")


@dataclass(frozen=True, slots=True, order=True)
class SetVersion:
    """One version of a set, as its key names it."""

    namespace: str
    name: str
    number: int

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        return f"{self.namespace}/golden/{self.name}-v{self.number}.jsonl"

    @property
    def following(self) -> "SetVersion":
        """The version after it."""
        return SetVersion(self.namespace, self.name, self.number + 1)


def versions(bucket: ObjectStore, namespace: str) -> Iterator[SetVersion]:
    """Yield every version of every set of a namespace, sets by name, versions by number."""
    prefix = f"{namespace}/golden/"
    found = (_FILE.fullmatch(one.key.removeprefix(prefix)) for one in bucket.list(prefix))
    yield from sorted(
        SetVersion(namespace, match["set"], int(match["number"])) for match in found if match
    )


def newest(bucket: ObjectStore, namespace: str, name: str) -> SetVersion | None:
    """Return the newest version of a set; None when there is no such set.

    Raises:
        UsageError: no set can be called so.
    """
    if not _SET.fullmatch(name):
        raise UsageError(f"--set {name!r}: letters, digits and . _ - make the name of a set")
    return max((one for one in versions(bucket, namespace) if one.name == name), default=None)
