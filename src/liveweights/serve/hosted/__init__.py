"""Models that run elsewhere, answered for under this service's names, limits and record."""
