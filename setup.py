"""Everything about the package is in pyproject.toml; this is for tools that need a setup.py."""

from setuptools import setup

setup()
