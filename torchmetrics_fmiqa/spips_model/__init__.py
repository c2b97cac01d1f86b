"""The SPIPS model: quality maps, two streams of deep features, and a small head that fuses them.

The package is not named ``spips``, because it would hide the function of that name.
"""
