"""vLLM: processes of ours, or servers that run already."""
