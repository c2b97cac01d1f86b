"""Metrics against human opinion: agreement, who beats whom, and reports of them."""
