"""Recipes trained one after the other, each from the weights of the one before."""
