"""Hard facts of a text: numbers with their units, and names; what embeddings are blind to."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_NUMBER = re.compile(
    r"(?<![\w.,])(?P<sign>[-\u2212+])?(?P<digits>\d+(?:[.,'\u00a0\u202f]\d+)*)"
    r"(?:\s?(?P<unit>%|‰|°\s?[CFK]?|[A-Za-zµμΩ€$£]+(?:[/²³][A-Za-z0-9²³]*)?))?"
)
_CURRENCY = re.compile(r"([€$£])\s?(\d[\d.,]*)")
_NAME = re.compile(r"(?<!\w)\w*[^\W\d_]\w*(?:[-\u2010]\w+)*")
_SENTENCE_START = re.compile(r"(?:^|[.!?:\n\u201c\u201e\"(]\s*)$")
_THOUSANDS = re.compile(r"^\d{1,3}(?:(?P<mark>[.,'\u00a0\u202f])\d{3})(?:(?P=mark)\d{3})*$")

# Spellings of one unit.  Only units are compared: a word after a number that is not here is none.
UNITS: Final = {
    spelling: unit
    for unit, spellings in {
        "%": "% percent prozent pct porcentaje",
        "°C": "°c celsius",
        "°F": "°f fahrenheit",
        "K": "kelvin",
        "s": "s sec secs second seconds sekunde sekunden segundo segundos seconde secondes",
        "ms": "ms millisecond milliseconds millisekunden",
        "min": "min mins minute minutes minuten minuto minutos",
        "h": "h hr hrs hour hours stunde stunden hora horas heure heures",
        "d": "d day days tag tage tagen día días jour jours",
        "wk": "week weeks woche wochen semana semanas semaine semaines",
        "mo": "month months monat monate monaten mes meses mois",
        "yr": "year years jahr jahre jahren año años an ans",
        "mm": "mm millimetre millimetres millimeter millimeters",
        "cm": "cm centimetre centimetres centimeter centimeters zentimeter",
        "m": "m metre metres meter meters metro metros mètre mètres",
        "km": "km kilometre kilometres kilometer kilometers",
        "g": "g gram grams gramm gramo gramos gramme grammes",
        "kg": "kg kilo kilos kilogram kilograms kilogramm",
        "l": "l liter liters litre litres litro litros",
        "ml": "ml milliliter milliliters millilitre millilitres",
        "bar": "bar bars",
        "psi": "psi",
        "kPa": "kpa",
        "MPa": "mpa",
        "Pa": "pa",
        "V": "v volt volts voltios",
        "kV": "kv",
        "A": "amp amps ampere",
        "mA": "ma",
        "W": "w watt watts",
        "kW": "kw",
        "MW": "mw",
        "kWh": "kwh",
        "Hz": "hz hertz",
        "kHz": "khz",
        "dB": "db decibel decibels dezibel",
        "rpm": "rpm u/min",
        "N·m": "nm",
        "€": "€ eur euro euros",
        "$": "$ usd dollar dollars",
        "£": "£ gbp pound pounds",
        "GB": "gb",
        "MB": "mb",
        "TB": "tb",
    }.items()
    for spelling in spellings.split()
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit; the unit is empty where none is named."""

    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The quantities and names that a text states."""

    quantities: frozenset[Quantity]
    names: frozenset[str]

    def unsupported_by(self, source: "Facts") -> "Facts":
        """Give what the source does not state; a number without a unit matches any unit."""
        values = {quantity.value for quantity in source.quantities}
        bare = {quantity.value for quantity in source.quantities if not quantity.unit}
        lost = frozenset(
            quantity
            for quantity in self.quantities - source.quantities
            if quantity.value not in (bare if quantity.unit else values)
        )
        return Facts(lost, self.names - source.names)

    def __len__(self) -> int:
        """Count them."""
        return len(self.quantities) + len(self.names)


def facts(text: str) -> Facts:
    """Find the quantities and names of a text.

    A name is a word with a capital, digit or inner mark that does not open a sentence, or one
    that has a capital past its first letter (`LLMOps`).  German writes all nouns so: there the
    names are the nouns, which is stricter, not wrong.
    """
    plain = behind_amounts(unicodedata.normalize("NFC", text))
    return Facts(frozenset(_quantities(plain)), frozenset(_names(plain)))


def behind_amounts(text: str) -> str:
    """Put signs of currencies behind their amounts, where other units stand."""
    return _CURRENCY.sub(r"\2 \1", text)


def words_of(text: str) -> frozenset[str]:
    """Every word of a text, folded as names are: a name may stand in any case in the source."""
    return frozenset(_folded(match.group()) for match in _NAME.finditer(text))


def _quantities(text: str) -> Iterable[Quantity]:
    for match in _NUMBER.finditer(text):
        value = _value(match["digits"])
        if value is not None:
            negative = match["sign"] in {"-", "\u2212"}
            unit = re.sub(r"\s", "", match["unit"] or "")
            yield Quantity(-value if negative else value, UNITS.get(unit.lower(), ""))


def _value(digits: str) -> Decimal | None:
    if thousands := _THOUSANDS.match(digits):
        return Decimal(digits.replace(thousands["mark"], ""))
    plain = re.sub(r"['\u00a0\u202f]", "", digits)
    marks = [char for char in plain if char in ".,"]
    if len(set(marks)) > 1:  # 1.234,5 or 1,234.5: the last mark is the decimal one
        plain = plain.replace(marks[0], "")
    try:
        return Decimal(plain.replace(",", ".")).normalize() + 0
    except ArithmeticError:  # InvalidOperation, and Overflow for a million digits
        return None  # a version or a date such as 1.2.3: compared as a name


def _names(text: str) -> Iterable[str]:
    for match in _NAME.finditer(text):
        word = match.group()
        inner = any(char.isupper() for char in word[1:])
        mixed = any(char.isdigit() for char in word)
        opens = _SENTENCE_START.search(text[max(match.start() - 4, 0) : match.start()])
        if inner or mixed or (word[0].isupper() and not opens):
            yield _folded(word)


def _folded(word: str) -> str:
    return word.casefold().removesuffix("'s").removesuffix("\u2019s")
