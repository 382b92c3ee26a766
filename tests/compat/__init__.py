"""`make compat`: the tests on other releases, Pythons and architectures."""
