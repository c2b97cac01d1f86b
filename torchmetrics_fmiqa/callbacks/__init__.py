"""ImageQualityMonitor: image quality inside a Lightning run, on a module that knows nothing of it."""
