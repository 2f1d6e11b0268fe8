"""Built-in tasks with exact answers: `apothecary` for the half that compares."""
