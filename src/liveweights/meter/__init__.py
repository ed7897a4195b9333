"""Who asks, how much they may, and what it costs. Pure, and below the record and HTTP."""
