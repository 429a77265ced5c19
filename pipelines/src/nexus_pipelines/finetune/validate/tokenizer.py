"""The base model's tokenizer, when it is at hand: nothing is fetched to count tokens."""

from collections.abc import Callable
from pathlib import Path

from nexus_api.uri import Uri, parse_uri
from nexus_models import Cache, ModelError
from nexus_models.sources.local import located
from nexus_pipelines.chunk.tokens import TextTokenizer
from nexus_pipelines.errors import TokenizerUnusable


def token_counter(uri: str, revision: str, cache: Path | None) -> Callable[[str], int] | None:
    """Return what counts the tokens of a text as the base model does; None: not at hand.

    Args:
        uri: the base model's address.
        revision: its revision, where the address names none.
        cache: the directory of fetched models; None where a step has none.

    Raises:
        nexus_api.uri.BadUri: the text is no address.
    """
    folder = _folder(parse_uri(uri), revision, cache)
    if folder is None:
        return None
    try:
        return TextTokenizer.load(folder).count
    except TokenizerUnusable:
        return None


def _folder(address: Uri, revision: str, cache: Path | None) -> Path | None:
    if address.scheme == "file":
        try:
            place = located(address.path)
        except ModelError:
            return None  # `train` says what is wrong with it
        return place if place.is_dir() else place.parent
    if cache is None or not cache.is_dir():
        return None
    if address.scheme == "hf" and revision and not address.revision:
        address = Uri(address.scheme, address.name, revision, address.path)
    found = Cache(cache).find(str(address))
    return None if found is None else found.dir
