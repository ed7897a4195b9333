"""Which local models are in memory, where not all may be at once."""
