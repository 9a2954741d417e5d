"""Training of cohorts: models of one shape, stacked as one network."""
