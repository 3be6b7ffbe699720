"""All that happened, in PostgreSQL: projected from the events topic, each event once."""
