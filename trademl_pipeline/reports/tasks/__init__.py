"""Report pages of tasks: what only one of them has, found by its name in `pages`."""
