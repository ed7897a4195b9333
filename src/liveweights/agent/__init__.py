"""Tools that the server runs while it answers: which there are, and when a model has to stop."""
