"""Parts of photos by a network's attention: subjects, foreground, where to crop.

NumPy only, no network.
"""
