"""Everything that touches Ray: a thin shell around training and evaluation, which know nothing of it."""
