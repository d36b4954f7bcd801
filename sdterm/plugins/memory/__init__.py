"""Memory optimizers: ways to draw the same picture, or nearly the same, with less memory or in less time."""
