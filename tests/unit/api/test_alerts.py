"""What of Alertmanager's payload asks for a run."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.alerts import MOST_ALERTS, BadAlerts, began, firing, records

LOW = {"alertname": "NexusQualityLow"}


def alert(fingerprint: str = "00aa", status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": LOW | labels,
        "annotations": {},
        "startsAt": "2026-01-31T12:00:00.123456789+01:00",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": fingerprint,
    }


def group(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "receiver": "nexus", "alerts": list(alerts)}


def test_a_firing_alert_is_one_record_with_its_start_in_utc() -> None:
    value = firing(group(alert()), [LOW])
    assert value == "alert:00aa:2026-01-31T11:00:00.123456Z"
    assert records(value) == (value,)
    assert began(value) == datetime.fromisoformat("2026-01-31T11:00:00.123456+00:00")


def test_all_labels_of_a_matcher_must_be_equal_and_any_matcher_will_do() -> None:
    told = group(alert("a1", model="one"), alert("b2", model="two"), alert("c3"))
    assert records(firing(told, [{**LOW, "model": "two"}])) == (
        "alert:b2:2026-01-31T11:00:00.123456Z",
    )
    assert len(records(firing(told, [{"model": "one"}, {"model": "two"}]))) == 2
    assert firing(told, [{"alertname": "Other"}]) == ""
    assert firing(told, []) == ""


def test_what_is_resolved_asks_for_nothing() -> None:
    assert firing(group(alert(status="resolved")), [LOW]) == ""


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        (None, "alerts"),
        ({"alerts": {}}, "alerts"),
        (group({"status": "firing"}), "alerts[0].labels"),
        (group(alert(), alert("../x")), "alerts[1].fingerprint"),
        (group({**alert(), "startsAt": "today"}), "alerts[0].startsAt"),
        (group({**alert(), "startsAt": "2026-01-31T12:00:00"}), "alerts[0].startsAt"),
        (group({**alert(), "startsAt": "0001-01-01T00:00:00+05:00"}), "alerts[0].startsAt"),
        (group({**alert(), "startsAt": "9999-12-31T23:59:59-05:00"}), "alerts[0].startsAt"),
    ],
)
def test_what_is_no_payload_of_alertmanager_is_refused_by_its_place(
    payload: object, where: str
) -> None:
    with pytest.raises(BadAlerts, match=where.replace("[", r"\[").replace("]", r"\]")):
        firing(payload, [LOW])


@given(st.lists(st.text("0123456789abcdef", min_size=1, max_size=16), max_size=80))
def test_records_are_read_back_as_they_were_written(fingerprints: list[str]) -> None:
    value = firing(group(*(alert(one) for one in fingerprints)), [LOW])
    wanted = dict.fromkeys(fingerprints[:MOST_ALERTS])
    assert [one.split(":")[1] for one in records(value)] == list(wanted)


@given(st.text())
def test_other_words_are_no_records(text: str) -> None:
    assert all(began(one) is None or one.startswith("alert:") for one in (*records(text), text))


@pytest.mark.parametrize(
    "value", ["", "x", "alert:", "alert:a:b", "alert:a:2026-01-01T00:00:00Z,x"]
)
def test_a_value_that_is_not_all_records_is_none(value: str) -> None:
    assert records(value) == ()


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_start_of_any_year_is_read_back(start: datetime) -> None:
    value = firing(group({**alert(), "startsAt": start.isoformat()}), [LOW])
    assert [began(one) for one in records(value)] == [start]


def test_a_record_whose_start_is_no_time_is_left_out() -> None:
    good = "alert:a:2026-01-01T00:00:00Z"
    assert records(f"alert:b:2026-99-99T99:99:99Z,{good},alert:c:2026-01-01T00:00:00") == (good,)
