"""Cart pole, of Gymnasium: a fallen pole, or a cart off its track, is a catastrophe."""
