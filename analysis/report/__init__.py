"""Reports as HTML pages, from the templates in templates/."""
