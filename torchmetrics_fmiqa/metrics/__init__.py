"""Metrics: torchmetrics' own contract over the corridor; no arithmetic of their own."""
