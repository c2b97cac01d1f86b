"""SPIPS, and what it is made of: quality maps, two streams of deep features, and a small head that fuses them.

The room is not called ``spips``, since the package's function of that name would be hidden behind it.
"""
