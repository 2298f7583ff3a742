"""Pages of the reports: templates, style sheet and script, and how they become one HTML file."""
