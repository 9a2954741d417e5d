"""Trainings by a user's own command, in any framework: which there are, running one, and what it wrote."""
