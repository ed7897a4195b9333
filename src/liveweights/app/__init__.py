"""Where the parts are wired together, and nowhere else: processes, server, supervisor."""
