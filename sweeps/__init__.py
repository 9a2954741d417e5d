"""One YAML file for each sweep that ships with the package."""
