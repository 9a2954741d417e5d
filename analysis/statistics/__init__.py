"""Estimates, intervals, tests and advice for any score: arrays in, numbers out."""
