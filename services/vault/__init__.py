"""Who patients are: the only place that knows, each patient encrypted under a key of their own."""
