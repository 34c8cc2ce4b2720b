"""What every change to a recipe is worth, step by step, with its interval."""
