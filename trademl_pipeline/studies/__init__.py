"""Study declarations: what a user edits to add a study."""
