"""Two or more models of your own: how far they are the same model."""
