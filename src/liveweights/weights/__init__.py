"""Files of weights: finding, naming by content, converting, storing, signing."""
