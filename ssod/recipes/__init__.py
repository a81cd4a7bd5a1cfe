"""What is a published method's own and nobody else's, one file each; docs/recipes.md tells more."""
