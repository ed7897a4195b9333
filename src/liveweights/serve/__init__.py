"""Serving: the API over models of ours, the gateway over a server of yours, and the router."""
