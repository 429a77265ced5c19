"""Geometry of the report's plots: numbers in, coordinates of SVG out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nexus_evaluation.decision import Comparison, SliceCheck

WIDTH, ROW = 640, 26
_LEFT, _RIGHT = 190, 570  # the plotted range, beside the labels
_BINS = 21


@dataclass(frozen=True, slots=True)
class Mark:
    """One row: a point, perhaps with a bar, on an axis of gains."""

    label: str
    y: float
    x: float
    low: float | None
    high: float | None
    text: str
    alarm: bool


@dataclass(frozen=True, slots=True)
class Forest:
    """Gains over production: all items first, then each slice."""

    marks: tuple[Mark, ...]
    zero: float
    height: int
    ticks: tuple[tuple[float, str], ...]
    limits: tuple[tuple[float, str], ...]  # (x, name): least gain, margin of slices


@dataclass(frozen=True, slots=True)
class Span:
    """A gain with its interval, for one row of a plot; bounds are None where none can be told."""

    label: str
    gain: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the histogram."""

    x: float
    y: float
    width: float
    height: float
    label: str
    kind: str  # better, worse or same


def forest(
    comparison: Comparison, slices: Sequence[SliceCheck], *, least: float, margin: float
) -> Forest:
    """Lay out the gains; the axis reaches as far as the widest value."""
    values = [comparison.lower, comparison.upper, *(one.gain for one in slices), least, -margin]
    reach, place = _axis(values)
    rows = [
        Mark(
            "all items",
            ROW * 1.5,
            place(comparison.gain),
            place(comparison.lower),
            place(comparison.upper),
            f"{comparison.gain:+.3f}",
            alarm=False,
        )
    ]
    for number, one in enumerate(slices, start=2):
        rows.append(
            Mark(
                f"{one.dimension}: {one.value} ({one.items})",
                ROW * (number + 0.5),
                place(one.gain),
                None,
                None,
                f"{one.gain:+.3f}",
                alarm=one.vetoes,
            )
        )
    return Forest(
        tuple(rows),
        place(0.0),
        ROW * (len(rows) + 2),
        _ticks(reach, place),
        ((place(least), "least gain"), (place(-margin), "slice margin")),
    )


def spans(rows: Sequence[Span]) -> Forest:
    """Lay out gains over a baseline, one row each, in their order."""
    bounds = [bound for row in rows for bound in (row.lower, row.upper) if bound is not None]
    reach, place = _axis([*bounds, *(row.gain for row in rows)])
    marks = tuple(
        Mark(
            row.label,
            ROW * (number + 0.5),
            place(row.gain),
            None if row.lower is None else place(row.lower),
            None if row.upper is None else place(row.upper),
            f"{row.gain:+.3f}",
            alarm=False,
        )
        for number, row in enumerate(rows, start=1)
    )
    return Forest(marks, place(0.0), ROW * (len(rows) + 2), _ticks(reach, place), ())


def _axis(values: Iterable[float]) -> tuple[float, Callable[[float], float]]:
    """Return how far the axis reaches, and where a gain lies on it."""
    reach = max(0.05, *(abs(value) for value in values)) * 1.1
    return reach, lambda gain: round(_LEFT + (gain + reach) / (2 * reach) * (_RIGHT - _LEFT), 1)


def _ticks(reach: float, place: Callable[[float], float]) -> tuple[tuple[float, str], ...]:
    return tuple((place(part * reach), f"{part * reach:+.2f}") for part in (-1, -0.5, 0, 0.5, 1))


def histogram(differences: Iterable[float]) -> tuple[Bar, ...]:
    """Count differences from -1 to 1 in equal bins, the middle one around 0; heights to 120."""
    counts = [0] * _BINS
    for value in differences:
        counts[min(int((value + 1) / 2 * _BINS), _BINS - 1)] += 1
    largest, width = max(*counts, 1), (WIDTH - 40) / _BINS
    bars = []
    for number, count in enumerate(counts):
        middle = (number + 0.5) / _BINS * 2 - 1
        height = round(120 * count / largest, 1)
        kind = "same" if number == _BINS // 2 else "better" if middle > 0 else "worse"
        label = f"{count} items around {middle:+.2f}"
        bars.append(
            Bar(
                round(20 + number * width, 1),
                130 - height,
                round(width - 2, 1),
                height,
                label,
                kind,
            )
        )
    return tuple(bars)
