"""Find what is wrong with a config and its data before training starts."""
