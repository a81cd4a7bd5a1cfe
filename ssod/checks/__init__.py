"""What is wrong with a config and its data, said before anyone trains."""
