"""The command line: one file a verb. Only here are arguments read and results printed."""
