"""Scores, intervals, figures and tracking: reads the store, never a model."""
