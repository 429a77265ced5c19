"""A client that follows the events of a selection holds exactly what is selected."""

from hypothesis import given
from hypothesis import strategies as st

from nexus_local.api.selection import Selected, Selection
from nexus_operator.cluster.protocol import WatchEvent

steps = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["red", "blue", None])),
    max_size=12,
)


@given(before=steps, after=steps)
def test_list_then_watch_ends_with_what_is_selected(
    before: list[tuple[str, str | None]], after: list[tuple[str, str | None]]
) -> None:
    there: dict[str, str] = {}

    def take(name: str, team: str | None) -> WatchEvent | None:
        """One change: to a team, or (None) deleted."""
        old = there.get(name)
        if team is None:
            if old is None:
                return None
            del there[name]
            kind, labels = "DELETED", {"team": old}
        else:
            kind, labels = ("MODIFIED" if old else "ADDED"), {"team": team}
            there[name] = team
        metadata = {"name": name, "uid": name, "labels": labels}
        return WatchEvent(kind, {"metadata": metadata})  # type: ignore[arg-type]

    for name, team in before:
        take(name, team)
    held = {name for name, team in there.items() if team == "red"}  # the client's list
    selected = Selected(Selection.of({"labelSelector": "team=red"}))
    for name, team in after:
        event = take(name, team)
        told = selected.event(event) if event else None
        if told is not None:
            (held.discard if told.type == "DELETED" else held.add)(told.object["metadata"]["name"])
        assert held == {name for name, team in there.items() if team == "red"}
