"""Plain text keeps every character's place in the decoded file."""

from nexus_pipelines.parse.cleaning import fit
from nexus_pipelines.parse.document import Parsed, ParseLimits
from nexus_pipelines.parse.encoding import decode
from nexus_pipelines.parse.writing import too_much_text


def parse_text(data: bytes, limits: ParseLimits) -> Parsed:
    """Read a text of any encoding that can be told.

    Raises:
        ParseFailure: UnsupportedFormat (binary), TooLarge.
    """
    text = fit(decode(data))
    if len(text) > limits.max_characters:
        raise too_much_text(limits.max_characters)
    return Parsed(format="text", text=text)
