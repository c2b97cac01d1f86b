"""Pairs of images on disk."""
