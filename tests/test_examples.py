"""The examples in the docstrings of the method run, and print what they say."""

import doctest
import importlib.resources

import pytest

METHOD = ("masklets", "refiner", "isam2", "classifier", "metrics", "intervals", "boundary")


@pytest.mark.parametrize("name", METHOD)
def test_examples_of(name):
    module = importlib.import_module(f"lib.{name}")
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed
    text = importlib.resources.files("lib").joinpath(f"{name}.py").read_text()
    assert tried == text.count(">>> "), "an example that is not run"


def test_the_examples_of_boundary_are_seen():
    assert doctest.testmod(importlib.import_module("lib.boundary")).attempted >= 5
