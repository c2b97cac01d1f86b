"""Grid artefacts: patterns that repeat with a whole number of pixels and that the target does not have."""
