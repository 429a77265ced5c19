"""The bucket in which an index's documents lie: the platform's, or one of its own."""

import os
from collections.abc import Mapping

from nexus_api.ragindex import RagIndexSpec
from nexus_api.s3 import (
    ACCESS_KEY,
    CA_FILE,
    ENDPOINT,
    REGION,
    SECRET_KEY,
    S3Access,
    S3NotConfigured,
)
from nexus_knowledge.objects import ObjectStore, open_store
from nexus_pipelines.arguments import IndexKey
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import StepError

_PLATFORM, _SOURCE = "NEXUS_S3_", "NEXUS_SOURCE_S3_"


def open_source(
    key: IndexKey,
    spec: RagIndexSpec,
    environment: Environment,
    variables: Mapping[str, str] | None = None,
) -> ObjectStore:
    """Open the bucket of an index's documents.

    One of its own is opened with the credentials of its Secret alone, NEXUS_SOURCE_S3_*; the
    platform's would open every tenant's documents to whoever writes a bucket's name into a spec.

    Raises:
        StepError: the index names a bucket, and the step was not given that Secret.
    """
    if not spec.source.bucket:
        return open_store(environment.bucket_url)
    from nexus_knowledge.objects.s3 import S3Store

    try:
        access = S3Access.from_environment(
            _of_source(os.environ if variables is None else variables)
        )
        return S3Store(access.client(), spec.source.bucket)
    except S3NotConfigured as error:
        raise StepError(
            f"{key}: source.bucket {spec.source.bucket!r} needs the credentials of "
            "source.secretRef, which steps get for an index in the platform's namespace only; "
            "elsewhere leave source.bucket out and use the platform's bucket"
        ) from error


def _of_source(variables: Mapping[str, str]) -> dict[str, str]:
    """Give the source's variables the names of the platform's; only the place is shared."""
    found = {name: variables.get(name, "") for name in (ENDPOINT, REGION, CA_FILE)}
    for name in (ENDPOINT, REGION, CA_FILE, ACCESS_KEY, SECRET_KEY):
        own = variables.get(_SOURCE + name.removeprefix(_PLATFORM), "")
        if own or name in {ACCESS_KEY, SECRET_KEY}:
            found[name] = own
    return found
