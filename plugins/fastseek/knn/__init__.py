"""Comparing vectors exactly in bounded memory: what search, enhancing, re-ranking and metrics stand
on.
"""
