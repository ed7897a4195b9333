"""What a service stands on: whose models carry its traffic, and what breaks if one goes away."""
