"""The loss and the metric in the registries of other packages: one module for each package, imported to register."""
