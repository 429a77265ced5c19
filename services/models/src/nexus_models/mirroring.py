"""A model copied into a bucket, for clusters without a way to the internet."""

from nexus_api.uri import parse_uri
from nexus_models.errors import UnsupportedUri
from nexus_models.files import ModelFiles, record
from nexus_models.sources import bucket


def mirror(model: ModelFiles, to: str) -> bool:
    """Copy a fetched model to `to`, s3://bucket/folder; False when that very model is there.

    From then on `fetch` of that address gives the model, each file checked against the digests
    that were taken here.

    Raises:
        nexus_api.uri.BadUri: `to` is no address.
        UnsupportedUri: it is not in a bucket.
        ModelError: its other children say what S3 said.
    """
    address = parse_uri(to)
    if address.scheme != "s3":
        raise UnsupportedUri(f"{to}: a mirror lies in a bucket, at s3://bucket/folder")
    files = record(model.dir, model.files)
    return bucket.mirror(model.dir, files, address.name, address.path)
