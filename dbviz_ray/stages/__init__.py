"""The stages of a sweep: each finds what is missing and does it."""

STAGES = ("train", "evaluate", "analyse", "report")
"""In the order in which a sweep runs them."""
