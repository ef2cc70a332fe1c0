"""Poses of tags, boards and bundles by maximum likelihood, with covariance."""
