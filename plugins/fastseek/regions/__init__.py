"""Parts of images by a network's attention: subjects, foreground, where to crop.

NumPy only, no network.
"""
