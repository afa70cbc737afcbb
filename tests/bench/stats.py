"""Medians with distribution-free confidence intervals, and the table."""

import math


def median(values):
    v = sorted(values)
    n = len(v)
    return v[n // 2] if n % 2 else (v[n // 2 - 1] + v[n // 2]) / 2


def median_interval(values, z=1.96):
    """95 % interval of the median by order statistics: no assumption about the shape of the noise."""
    v = sorted(values)
    n = len(v)
    half = z * math.sqrt(n) / 2
    low = max(0, int(math.floor(n / 2 - half)))
    high = min(n - 1, int(math.ceil(n / 2 + half)))
    return v[low], v[high]


def table(headings, rows):
    widths = [max(len(str(r[i])) for r in [headings] + rows) for i in range(len(headings))]
    lines = ["| " + " | ".join(str(c).ljust(w) for c, w in zip(r, widths)) + " |" for r in [headings] + rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
