"""Pages for halls, kiosks, desks, doctors' rooms and phones: the gateway's first client."""
