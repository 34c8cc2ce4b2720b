"""Benchmarks: a data set and a model by name -> the figures of its protocol."""
