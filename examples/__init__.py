"""Commands that make the sample crops and the pictures of the docs."""
