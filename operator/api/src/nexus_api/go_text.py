"""Values as Go writes them into messages, so that ours read like the API server's."""

import json
from decimal import Decimal
from typing import Any

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
_PLAIN_DIGITS = 6  # larger exponents are written as such when the shortest form is asked for
_SMALLEST_PLAIN = -4
_EXPONENT_IN_JSON = 1e21


def quoted(text: str) -> str:
    """Return a text as the verb %q writes it."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    if code < 0x80:  # noqa: PLR2004 - ASCII
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - one unit


def number(value: float) -> str:
    """Return a number as the verb %v writes it."""
    if isinstance(value, int):
        return str(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not any(digits):
        return "-0" if sign else "0"
    magnitude = len(digits) + int(exponent) - 1
    head = "-" if sign else ""
    text = "".join(map(str, digits))
    if magnitude < _SMALLEST_PLAIN or magnitude >= _PLAIN_DIGITS:
        mantissa = text[0] + (f".{text[1:]}" if len(text) > 1 else "")
        return f"{head}{mantissa}e{'-' if magnitude < 0 else '+'}{abs(magnitude):02d}"
    return head + format(abs(Decimal(repr(value))).normalize(), "f")


def plain(value: Any) -> str:
    """Return a value as the verb %v writes it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{' '.join(map(plain, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{plain(value[key])}' for key in sorted(value))}]"
    return number(value)


def type_of(value: Any) -> str:
    """Return the type of a JSON value as the verb %T writes it."""
    names = {
        bool: "bool",
        int: "int64",
        float: "float64",
        str: "string",
        list: "[]interface {}",
        dict: "map[string]interface {}",
    }
    return names.get(type(value), "<nil>")


def _without_points(value: Any) -> Any:
    """Go's JSON writes 1.0 as 1."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXPONENT_IN_JSON:
        return int(value)
    if isinstance(value, list):
        return list(map(_without_points, value))
    if isinstance(value, dict):
        return {key: _without_points(child) for key, child in value.items()}
    return value


def shown(value: Any) -> str:
    """Return a value as messages about fields write it."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    text = json.dumps(
        _without_points(value), ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )
    return "".join(_HTML.get(char, char) for char in text)
