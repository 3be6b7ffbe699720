"""What runs: the allocator and everything around it."""
