"""How much open models are used: by this service, and by the world as published."""
