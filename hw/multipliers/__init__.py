"""The array's cells and their multipliers: one meaning, one implementation a family."""
