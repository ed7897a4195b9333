"""Candidate against incumbent: evidence in, PASS, FAIL or INCONCLUSIVE out."""
