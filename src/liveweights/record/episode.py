"""What names an episode, and how long one may be."""

EPISODE = "episode"
"""The key of a generation's metadata that names its episode."""
LONGEST = 1000
"""Steps that an episode may have, for what is said of all of them."""
