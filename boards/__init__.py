"""Boards: named targets, one for each size of accelerator that fits a known board or use."""

from tilewright.boards.targets import TARGETS, get_target

__all__ = ["TARGETS", "get_target"]
