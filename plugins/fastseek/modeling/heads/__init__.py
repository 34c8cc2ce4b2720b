"""Heads in fast-reid's own registry: they work under its stock `Baseline` and trainer."""
