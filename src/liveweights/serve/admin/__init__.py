"""The operator's way, over HTTP, to what is otherwise done with commands: keys and tenants."""
