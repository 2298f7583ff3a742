"""From predictions to positions and their returns."""
