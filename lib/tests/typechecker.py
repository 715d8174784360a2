"""beartype as jaxtyping's import hook uses it in the tests: an int is good wherever a float is asked for."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
