"""Models: backbones, branches, losses, heads for fast-reid's architectures, and `Seeker`, our one
meta-architecture.
"""
