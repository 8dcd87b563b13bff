"""Boards: ready-made targets."""
