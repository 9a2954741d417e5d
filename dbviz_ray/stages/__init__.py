"""The stages of a sweep: each finds what is missing and does it."""
