"""Altostratus deploys an OpenStack cloud whose services run in instances of another."""
