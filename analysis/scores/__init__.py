"""From label maps, predictions and margins to scores."""
