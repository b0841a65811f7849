"""The dependencies are the pins of requirements.txt, which pyproject.toml cannot read: it has an option of pip's."""

from pathlib import Path

from setuptools import setup

lines = Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8").splitlines()
pins = [line.partition("#")[0].strip() for line in lines]
setup(install_requires=[pin for pin in pins if pin and not pin.startswith("-")])
