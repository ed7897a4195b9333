"""Who asks, how much they may, and what it costs, and what is owed. Below the record and HTTP."""
