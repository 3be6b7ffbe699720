"""The front door: commands in and outcomes out over HTTP, for those who have no Kafka."""
