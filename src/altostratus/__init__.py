"""Altostratus deploys an OpenStack cloud whose services run in instances of another."""

__version__ = "0.1.0"
