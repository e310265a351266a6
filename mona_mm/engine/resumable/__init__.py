"""Training that ends in good order and goes on where it was."""
