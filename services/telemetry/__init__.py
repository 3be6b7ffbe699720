"""What the services tell of themselves: metrics for Prometheus, traces for OpenTelemetry."""
