"""How model families write a call of a tool into their answers."""
