# SPDX-License-Identifier: Apache-2.0
"""Rows, medians and ratios: how every report of the bench speaks."""

import dataclasses
import statistics

MISSING = "–"


@dataclasses.dataclass
class Row:
    """One line of the table. `values` are figures by server, in `unit`; `judged` is what the
    target bounds, in the target's own terms, or None where weir was not measured."""

    title: str
    unit: str
    values: dict
    target: str = MISSING
    judged: float | None = None
    bound: float | None = None
    judged_text: str = ""
    at_least: bool = False  # the bound is a lower one

    def verdict(self):
        if self.bound is None:
            return MISSING
        if self.judged is None:
            return "not measured"
        good = self.judged >= self.bound if self.at_least else self.judged <= self.bound
        return "reached" if good else "**missed**"


def median(values):
    return statistics.median(values) if values else None


def medians(samples, take):
    return {kind: median([take(sample) for sample in taken])
            for kind, taken in samples.items() if taken}


def ratio(above, below):
    return above / below if above is not None and below else None


def number(value):
    if value is None:
        return MISSING
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def times(value):
    return MISSING if value is None else f"{number(value)} x"


def line(cells):
    return "| " + " | ".join(cells) + " |"
