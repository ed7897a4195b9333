"""Databases for agents: made in a moment, walled off from each other, thrown away after."""
