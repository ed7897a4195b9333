"""Who asks, how much they may, and what it costs. Below the record and HTTP."""
