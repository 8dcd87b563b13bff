"""Making a network small: pruning, shared weights, entropy coding, low rank, ternary weights."""
