"""Which objects a list or a watch is about: label and field selectors; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nexus_api.meta import Manifest
from nexus_local.api.statuses import bad_request
from nexus_local.store.labels import Selector
from nexus_operator.cluster.errors import Invalid
from nexus_operator.cluster.protocol import WatchEvent


@dataclass(frozen=True, slots=True)
class Selection:
    """Labels and fields that an object must have. fields: (path, value, whether equal)."""

    labels: Selector = field(default_factory=Selector)
    fields: tuple[tuple[tuple[str, ...], str, bool], ...] = ()

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Selection":
        """Read `labelSelector` and `fieldSelector`; raises RequestError."""
        try:
            labels = Selector.parse(query.get("labelSelector", ""))
        except Invalid as error:
            raise bad_request(str(error)) from error
        return cls(labels, tuple(_terms(query.get("fieldSelector", ""))))

    def __bool__(self) -> bool:
        """Whether anything is left out."""
        return bool(self.labels.requirements or self.fields)

    def matches(self, manifest: Manifest) -> bool:
        """Say whether an object is selected."""
        if not self.labels.matches(manifest["metadata"].get("labels") or {}):
            return False
        return all((_at(manifest, path) == value) is equal for path, value, equal in self.fields)


def _terms(text: str) -> Iterator[tuple[tuple[str, ...], str, bool]]:
    for term in filter(None, text.split(",")):
        path, sign, value = term.partition("=")
        if not sign:
            raise bad_request(f"unable to parse field selector term {term!r}; write path=value")
        equal = not path.endswith("!")
        yield tuple(path.rstrip("!").split(".")), value.removeprefix("="), equal


def _at(manifest: Manifest, path: tuple[str, ...]) -> str:
    value: object = manifest
    for key in path:
        value = value.get(key, "") if isinstance(value, dict) else ""
    return str(value)


class Selected:
    """Turns the events of a kind into those of a selection: what leaves it counts as deleted."""

    def __init__(self, selection: Selection) -> None:
        """Begin with nothing seen."""
        self._selection = selection
        self._inside: dict[str, bool] = {}

    def event(self, event: WatchEvent) -> WatchEvent | None:
        """Return what a watcher of the selection gets for an event, None for nothing.

        Of an object first seen as modified it is not known whether the client listed it before:
        it is told MODIFIED or DELETED, which either client can take.
        """
        if event.type == "BOOKMARK" or not self._selection:
            return event
        uid = event.object["metadata"]["uid"]
        was_inside = self._inside.get(uid, event.type != "ADDED")
        is_inside = self._selection.matches(event.object)
        if event.type == "DELETED":
            self._inside.pop(uid, None)
            return event if was_inside else None
        self._inside[uid] = is_inside
        if is_inside:
            return event._replace(type="MODIFIED" if was_inside else "ADDED")
        return event._replace(type="DELETED") if was_inside else None
