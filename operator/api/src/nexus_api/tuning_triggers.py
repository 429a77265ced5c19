"""What starts runs of a FineTuneJob."""

from typing import Annotated

from pydantic import ConfigDict, Field

from nexus_api.duration import Duration, within
from nexus_api.meta import Model, Rule, checked


class AlertTrigger(Model):
    """Alerts that start a run: all matchers must be equal to the alert's labels."""

    matchers: Annotated[
        dict[str, Annotated[str, Field(max_length=256)]],
        Field(min_length=1, max_length=16),
    ]
    """Label names and their values."""


class NewDataTrigger(Model):
    """Starts a run when enough new examples came in."""

    min_examples: Annotated[int, Field(ge=1, le=1000000)]
    """Examples that the last run did not read and the next one could learn from, in files, \
curated sets and feedback; repeats, and what a run would drop, do not count."""
    check_interval: Annotated[
        Duration,
        Field(
            json_schema_extra=dict(
                checked(Rule(within("10s", "720h"), "must be between 10s and 720h"))
            )
        ),
    ] = "1h"
    """Time between two counts, each of them a Workflow of one short step; there is one after each \
run too, and none while a run is under way."""


class Triggers(Model):
    """What starts runs.  Without triggers, each change of what a run depends on is run once."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "has(self.schedule) || has(self.newData) || size(self.alerts) > 0",
                    "name at least one of schedule, alerts and newData, or leave triggers out",
                )
            )
        )
    )

    schedule: (
        Annotated[
            str,
            Field(
                min_length=9,
                max_length=128,
                pattern=r"^[0-9*/,-]+ [0-9*/,-]+ [0-9*/,-]+ [0-9A-Za-z*/,-]+ [0-9A-Za-z*/,-]+$",
            ),
        ]
        | None
    ) = None
    """Five cron fields, in UTC.  However many times were missed, one run makes up for them."""
    alerts: Annotated[
        list[AlertTrigger],
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = Field(default_factory=list)
    """Alerts that start a run."""
    new_data: NewDataTrigger | None = None
    """Starts a run when enough new examples came in."""
    cooldown: Annotated[
        Duration,
        Field(
            json_schema_extra=dict(
                checked(Rule(within("1m", "8760h"), "must be between 1m and 8760h"))
            )
        ),
    ] = "24h"
    """Shortest time from the start of one run to the next one that the schedule, an alert \
or new data starts; what a person asks for does not wait."""
