"""Fractions in specs are text, since floats do not survive every client unchanged."""

from typing import Annotated

from pydantic import Field

Share = Annotated[str, Field(max_length=8, pattern=r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$")]
"""A decimal number from 0 to 1, for instance `0.25`."""

Temperature = Annotated[str, Field(max_length=8, pattern=r"^([01](\.[0-9]{1,6})?|2(\.0{1,6})?)$")]
"""A decimal number from 0 to 2."""

LearningRate = Annotated[
    str, Field(max_length=12, pattern=r"^(0\.[0-9]{1,8}|[1-9](\.[0-9]{1,3})?e-[1-9])$")
]
"""A decimal number below 1, plain (`0.0002`) or with an exponent (`2e-4`)."""
