"""Bytes, counts and times as people read them."""

from __future__ import annotations


def bytes_text(count: float) -> str:
    """Such as "3.77 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def count_text(count: float) -> str:
    """To three figures, such as "0.354", "1,520" or "13.2 million"."""
    for size, name in ((1e9, " billion"), (1e6, " million")):
        if count >= size:
            return f"{count / size:,.3g}{name}"
    return f"{float(f'{count:.3g}'):,.0f}" if count >= 100 else f"{count:.3g}"


def duration_text(seconds: float) -> str:
    """Such as "90 s", "45 min" or "12.5 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def estimate_text(seconds: float) -> str:
    """No more exact than an estimate is: "about 30 s", "about 4 min", "about 2.5 h"."""
    steps = ((57, 5), (115, 10), (570, 60), (5700, 300), (34200, 1800))
    step = next((step for below, step in steps if seconds < below), 3600)
    rounded = max(step, round(seconds / step) * step)
    if rounded < 120:
        return f"about {rounded} s"
    return f"about {rounded // 60} min" if rounded < 6000 else f"about {rounded / 3600:g} h"
