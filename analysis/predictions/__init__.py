"""What models predict, without the models: predictions in files, their comparison, and the gate for a release."""
