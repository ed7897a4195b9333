"""One turn of the circle, as a row with a state that survives every crash."""
