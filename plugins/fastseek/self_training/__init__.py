"""Learning from unlabelled photos: clusters, pseudo labels, and what of both can be trusted; knows
no model.
"""
