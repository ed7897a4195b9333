"""Model cards and the checkpoints they describe."""
