"""Scripts that print the numbers of the docs; anyone can run them."""
