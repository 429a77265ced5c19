"""Where the reports of evaluations lie in the work store, and at which paths they are shown."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_FINETUNE = re.compile(
    r"finetunes/(?P<tenant>[^/]+)/(?P<job>[^/]+)/(?P<run>[^/]+)/gate/report\.html"
)
_EXPERIMENT = re.compile(r"experiments/(?P<tenant>[^/]+)/(?P<run>[^/]+)/report\.html")


@dataclass(frozen=True, slots=True)
class Report:
    """The report of one run: of a FineTuneJob, or (without a job) of an experiment."""

    tenant: str
    run: str
    job: str = ""

    @property
    def key(self) -> str:
        """Its key in the work store."""
        if self.job:
            return f"finetunes/{self.tenant}/{self.job}/{self.run}/gate/report.html"
        return f"experiments/{self.tenant}/{self.run}/report.html"

    @property
    def path(self) -> str:
        """Its path below the gateway's address."""
        parts = ("finetunes", self.job, self.run) if self.job else ("experiments", self.run)
        return "/v1/reports/" + "/".join(quote(part, safe="") for part in parts)

    @property
    def named(self) -> bool:
        """Whether run and job can be names at all, so that the key stays in the tenant's part."""
        parts = (self.run, self.job) if self.job else (self.run,)
        return all(_NAME.fullmatch(part) for part in parts)

    @classmethod
    def of_key(cls, key: str) -> Self | None:
        """Return the report that lies at a key; None for another object's."""
        found = _FINETUNE.fullmatch(key) or _EXPERIMENT.fullmatch(key)
        return cls(**found.groupdict()) if found else None


def prefixes(tenant: str) -> tuple[str, str]:
    """Return what the keys of a tenant's reports begin with."""
    return f"finetunes/{tenant}/", f"experiments/{tenant}/"
