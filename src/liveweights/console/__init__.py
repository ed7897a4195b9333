"""The pages: what answers, what it was made from, and the way back."""
