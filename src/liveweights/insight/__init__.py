"""Questions about live data: one SQL file each, answered from what the last commit left."""
