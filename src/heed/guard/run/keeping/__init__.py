"""What a guarded run keeps: checkpoints to go on from, the environment where it stood, and the card of its guard."""
