"""In front of any OpenAI-compatible server: record what passes, take feedback, change nothing."""
