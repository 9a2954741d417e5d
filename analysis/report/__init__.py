"""Results as pages and files: of a sweep (`sweep_report`), and what all kinds of results share."""
