"""Learning from unlabelled images: clusters, pseudo labels, and what of both can be trusted; knows
no model.
"""
