"""What the services tell of themselves, and what is made of it in `deploy/`."""
