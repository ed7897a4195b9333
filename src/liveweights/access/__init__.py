"""Who may use the console: users and roles, passwords, sessions, and what was changed by whom."""
