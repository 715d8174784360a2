# sh tools/run_tests.sh WORKERS [pytest's arguments]: every test. First a file to each of WORKERS processes of one thread,
# the pages in a browser included; then, alone, what is held to seconds. Either part may have nothing to do when the
# arguments name a few tests; if neither has, that is a failure. Files are given out in the order of lib/tests/conftest.py
# (xdist would sort them by their number of tests, and a long file with few would end alone).
workers=$1
shift
python=.venv/bin/python

OMP_NUM_THREADS=1 $python -m pytest -n "$workers" --dist loadfile --no-loadscope-reorder -m "not alone" "$@"
first=$?
test $first -eq 0 || test $first -eq 5 || exit $first
$python -m pytest -m alone "$@"
second=$?
test $first -eq 0 && test $second -eq 5 && exit 0
exit $second
