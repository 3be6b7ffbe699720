"""What is decided: the pure model, and its twin, the slot store in Redis."""
