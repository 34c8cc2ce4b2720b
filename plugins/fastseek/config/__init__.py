"""Recipes: the keys, where each value came from, whether it can work, and changes to it."""
