"""What branches, losses and heads share: mathematics, precision, classes; nothing here registers
itself.
"""
