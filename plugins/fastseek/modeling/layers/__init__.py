"""The mathematics that branches, losses and heads share; nothing here registers itself."""
