"""Estimates, intervals, tests and advice, whatever the score."""
