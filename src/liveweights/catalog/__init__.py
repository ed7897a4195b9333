"""What is known of a model: its card, its chat template, its routers, whether it can be served."""
