"""What is trained on what: datasets, models and optimizers by name, put together as a problem."""
