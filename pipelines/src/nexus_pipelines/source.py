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
from nexus_api.source import BucketSource
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
    return open_bucket(f"{key}: source", spec.source, environment, variables)


def open_bucket(
    owner: str,
    source: BucketSource,
    environment: Environment,
    variables: Mapping[str, str] | None = None,
    *,
    credentials: str = _SOURCE,
) -> ObjectStore:
    """Open the bucket of a source; `owner` is what messages call the field that names it.

    `credentials` begins the names of the variables that hold its Secret.

    Raises:
        StepError: as `open_source`.
    """
    if not source.bucket:
        return open_store(environment.bucket_url)
    from nexus_knowledge.objects.s3 import S3Store

    given = os.environ if variables is None else variables
    try:
        access = S3Access.from_environment(_of_source(given, credentials))
        return S3Store(access.client(), source.bucket)
    except S3NotConfigured as error:
        raise StepError(
            f"{owner}.bucket {source.bucket!r} needs a Secret, named by secretRef, with "
            "accessKey and secretKey (and endpoint, where it is not the platform's S3) in the "
            "platform's namespace: there is none, or it lacks one of these"
        ) from error


def _of_source(variables: Mapping[str, str], credentials: str) -> dict[str, str]:
    """Give the source's variables the names of the platform's; only the place is shared."""
    found = {name: variables.get(name, "") for name in (ENDPOINT, REGION, CA_FILE)}
    for name in (ENDPOINT, REGION, CA_FILE, ACCESS_KEY, SECRET_KEY):
        own = variables.get(credentials + name.removeprefix(_PLATFORM), "")
        if own or name in {ACCESS_KEY, SECRET_KEY}:
            found[name] = own
    return found
