"""fast-reid's own trainer, with FastSeek's parts."""

from fastseek.training import WithParts

from fastreid.engine import DefaultTrainer


class Trainer(WithParts, DefaultTrainer):
    """fast-reid's step, checkpoints and writers; FastSeek's loader, schedule and evaluation."""
