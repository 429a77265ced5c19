"""Where documents and training files lie: in the platform's bucket or in one of one's own."""

from typing import Annotated

from pydantic import ConfigDict, Field

from nexus_api.meta import LocalRef, Model, Rule, checked

Glob = Annotated[str, Field(min_length=1, max_length=256)]
Prefix = Annotated[
    str,
    Field(
        max_length=512,
        json_schema_extra=dict(
            checked(
                Rule(
                    "self == '' || (self.endsWith('/') && !self.startsWith('/'))",
                    "must end with / and must not begin with it",
                ),
                Rule(
                    "!self.contains('//') && !self.matches('(^|/)[.][.]?/')",
                    "must not have empty, '.' or '..' segments",
                ),
            )
        ),
    ),
]


SOURCE_RULES = (
    Rule(
        "self.bucket == '' || has(self.secretRef)",
        "a bucket of your own needs secretRef, a Secret of this namespace",
        field=".secretRef",
        reason="FieldValueRequired",
    ),
    Rule(
        "!has(self.secretRef) || self.bucket != ''",
        "secretRef goes with a bucket of your own: name it in bucket",
        field=".bucket",
        reason="FieldValueRequired",
    ),
)


class PrefixOutsideNamespace(ValueError):
    """A prefix of the platform's bucket lies outside the namespace of its resource."""


class BucketSource(Model):
    """A set of objects in a bucket."""

    model_config = ConfigDict(json_schema_extra=dict(checked(*SOURCE_RULES)))

    bucket: Annotated[
        str, Field(max_length=63, pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")
    ] = ""
    """A bucket of your own; empty for the platform's bucket."""
    secret_ref: LocalRef | None = None
    """Secret of this namespace with the credentials of the bucket."""
    prefix: Prefix = ""
    """Prefix of the object keys; empty for `<namespace>/<name>/`."""
    include: Annotated[list[Glob], Field(max_length=64)] = Field(default_factory=lambda: ["**"])
    """Globs on the path below the prefix; an object is taken when one matches."""
    exclude: Annotated[list[Glob], Field(max_length=64)] = Field(default_factory=list)
    """Globs on the path below the prefix; an object is left out when one matches."""

    def key_prefix(self, namespace: str, name: str) -> str:
        """Return the prefix of keys in the bucket, which ends with a slash.

        Raises PrefixOutsideNamespace: in the platform's bucket a resource sees its namespace only.
        """
        home = f"{namespace}/"
        prefix = self.prefix or f"{home}{name}/"
        if not self.bucket and not prefix.startswith(home):
            raise PrefixOutsideNamespace(
                f"source.prefix {prefix!r} must lie under {home!r}, or source.bucket must name "
                "a bucket of your own"
            )
        return prefix
