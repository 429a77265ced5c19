"""The rule on metadata.name that all kinds share."""

from nexus_api.meta import LONGEST_NAME, Rule

NAME_RULES = (
    Rule(
        f"self.metadata.name.size() <= {LONGEST_NAME}",
        f"must have at most {LONGEST_NAME} characters: "
        "the names of its children add a suffix and must fit 63",
        field=".metadata.name",
    ),
    Rule(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "must begin with a letter and hold only a-z, 0-9 and hyphens: Services are named for it",
        field=".metadata.name",
    ),
)
