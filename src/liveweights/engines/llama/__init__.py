"""llama.cpp: a child process per checkpoint."""
