"""How the schema of the outbox came to be."""
