"""Packages a bundle for a machine without a network: model, runtime, engine, installer, in one archive."""
