"""SPIPS-style scores: quality maps, streams of deep features, and a small head that fuses them into one number."""
